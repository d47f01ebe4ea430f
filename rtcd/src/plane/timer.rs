//! Deadlines of peers: a heap with stale entries left in it, each peer having one that counts.
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The deadlines of one worker's peers.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    /// The peer at `key` wants to be woken at `at`; `scheduled` is its own note of the entry that counts.
    pub fn schedule(&mut self, key: usize, at: Option<Instant>, scheduled: &mut Option<Instant>) {
        let Some(at) = at else { return };
        // A later deadline needs no entry: the earlier one fires, finds nothing and schedules again.
        if scheduled.is_none_or(|known| at < known) {
            *scheduled = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The next entry that is due. It counts only if the peer's own note says so.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When the next entry is due.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
