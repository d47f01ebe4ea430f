//! A worker whose time is limited: each datagram that it sends takes some, and what comes meanwhile waits.
use super::World;
use crate::network::Datagram;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Datagrams that the kernel keeps for it.
const BUFFER: usize = 2000;
/// And that it reads in one turn.
const TURN: usize = 256;

pub struct Slow {
    /// What each datagram takes that goes out.
    pub cost: Duration,
    free_at: Instant,
    pub unread: VecDeque<Datagram>,
    /// The work of the last turn.
    worked: Duration,
    /// Datagrams that there was no room for.
    pub lost: u64,
    /// Datagrams that went out.
    pub sent: u64,
}

impl Slow {
    pub fn new(cost: Duration, now: Instant) -> Self {
        Self { cost, free_at: now, unread: VecDeque::new(), worked: Duration::ZERO, lost: 0, sent: 0 }
    }

    /// A datagram waits for the worker.
    pub(super) fn push(&mut self, datagram: Datagram) {
        if self.unread.len() < BUFFER {
            self.unread.push_back(datagram);
        } else {
            self.lost += 1;
        }
    }

    /// So many datagrams go out in the turn that is now.
    pub(super) fn send(&mut self, now: Instant, count: usize) {
        let work = self.cost * count as u32;
        self.free_at = self.free_at.max(now) + work;
        self.worked += work;
        self.sent += count as u64;
    }
}

impl World {
    /// Whether the worker is in the middle of a turn.
    pub(super) fn is_busy(&self) -> bool {
        self.slow.as_ref().is_some_and(|slow| slow.free_at > self.now)
    }

    /// The worker's turn, if it is free: it reads what waits.
    pub(super) fn read_what_waits(&mut self) {
        if self.is_busy() {
            return;
        }
        let Some(slow) = &mut self.slow else { return };
        let worked = std::mem::take(&mut slow.worked);
        let count = slow.unread.len().min(TURN);
        let turn: Vec<Datagram> = slow.unread.drain(..count).collect();
        self.switches[0].0.note_work(self.now, worked);
        turn.into_iter().for_each(|datagram| self.deliver(datagram));
    }
}
