//! What all threads see.
use crate::participant::Spec;
use crate::signal::Who;
use crate::traffic::Window;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Failures that are kept in words.
const MAX_FAILURES: usize = 10;

/// What all threads see.
#[derive(Debug)]
pub struct Shared {
    pub(super) start: AtomicU64,
    pub(super) end: AtomicU64,
    pub(super) opened: AtomicU32,
    pub(super) ready: AtomicU32,
    pub(super) delivered: AtomicU64,
    failed: AtomicU32,
    failures: Mutex<Vec<String>>,
    next_number: AtomicU32,
}

impl Shared {
    pub(super) fn new(total: u32) -> Self {
        Self {
            start: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(u64::MAX),
            opened: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU32::new(0),
            failures: Mutex::default(),
            next_number: AtomicU32::new(total),
        }
    }
    /// When it is measured, as far as that is known.
    pub fn window(&self) -> Window {
        Window { start: self.start.load(Ordering::Relaxed), end: self.end.load(Ordering::Relaxed) }
    }
    /// Participants have got in.
    pub fn opened(&self, count: u32) {
        self.opened.fetch_add(count, Ordering::Relaxed);
    }
    /// All that participants send flows.
    pub fn ready(&self, count: u32) {
        self.ready.fetch_add(count, Ordering::Relaxed);
    }
    /// Packets have arrived.
    pub fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::Relaxed);
    }
    /// A participant, or all of them, cannot go on.
    pub fn fail(&self, reason: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MAX_FAILURES {
            failures.push(reason);
        }
    }
    /// Somebody new in the call of one who has left.
    pub fn successor(&self, spec: &Spec) -> Spec {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-after", spec.who.session_id.split("-after").next().unwrap_or_default());
        let who = Who {
            call_id: spec.who.call_id.clone(),
            user_id: format!("user-of-{name}-{number}"),
            session_id: format!("{name}-{number}"),
        };
        Spec { number, who: Arc::new(who), ..spec.clone() }
    }
    pub(super) fn failures(&self) -> (u32, Vec<String>) {
        let words = self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.failed.load(Ordering::Relaxed), words)
    }
}
