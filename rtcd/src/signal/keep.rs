//! What signalling writes down while it works, for whoever goes on when the process has died.
use super::signalling::Signalling;
use crate::handover::control::ControlMemory;
use crate::logging::Once;
use std::time::{Duration, Instant};

/// Writings are at least so far apart, and so many times what they take.
const INTERVAL: Duration = Duration::from_millis(50);
const COST: u32 = 50;

pub(super) struct Keep {
    memory: ControlMemory,
    is_changed: bool,
    next: Instant,
    failing: Once,
}

impl Keep {
    pub(super) fn new(memory: ControlMemory) -> Self {
        Self { memory, is_changed: false, next: Instant::now(), failing: Once::new() }
    }

    /// Something has happened.
    pub(super) fn changed(&mut self) {
        self.is_changed = true;
    }

    /// When there is something to be written down.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.is_changed.then_some(self.next)
    }

    /// Writes down what has changed: at once, if nothing has for a while.
    pub(super) fn turn(&mut self, now: Instant, signalling: &Signalling) {
        if !self.is_changed || now < self.next {
            return;
        }
        self.is_changed = false;
        let written = self.memory.keep_signalling(&signalling.outline(now), now);
        self.next = now + INTERVAL.max(now.elapsed() * COST);
        match written {
            Ok(()) => drop(self.failing.works()),
            Err(error) if self.failing.failed() => {
                tracing::error!(%error, "sessions cannot be written down: a crash will end those of late");
            }
            Err(_) => {}
        }
    }
}
