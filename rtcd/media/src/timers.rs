//! Deadlines of many: a heap with stale entries left in it, each owner having one that counts.
use crate::footprint::Footprint;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The deadlines of all owners of one kind, by their keys.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K: Ord> Timers<K> {
    /// `key` wants to be woken at `at`; `scheduled` is its own note of the entry that counts.
    pub fn schedule(&mut self, key: K, at: Option<Instant>, scheduled: &mut Option<Instant>) {
        let Some(at) = at else { return };
        // A later deadline needs no entry: the earlier one fires, finds nothing and schedules again.
        if scheduled.is_none_or(|known| at < known) {
            *scheduled = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The next entry that is due. It counts only if its owner's own note says so.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
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

/// Their keys hold nothing.
impl<K> Footprint for Timers<K> {
    fn heap_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(Instant, K)>>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_earlier_deadline_counts_and_a_later_one_waits_for_the_one_that_is_noted() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let (mut timers, mut note) = (Timers::default(), None);
        timers.schedule('a', Some(at(20)), &mut note);
        timers.schedule('a', Some(at(50)), &mut note);
        timers.schedule('a', None, &mut note);
        assert_eq!((timers.next(), note), (Some(at(20)), Some(at(20))));
        timers.schedule('a', Some(at(10)), &mut note);
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!((timers.pop_due(at(30)), note), (Some((at(10), 'a')), Some(at(10))));
        assert_eq!(timers.pop_due(at(30)), Some((at(20), 'a')), "stale: the note says another");
        assert_eq!(timers.next(), None);
    }
}
