//! Checks that have come before their transport was announced: kept for a moment, fairly by source address.
use crate::footprint::{Footprint, flat_queue, flat_table};
use crate::source::Source;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Checks that wait for their transport, per worker and of one source: an office behind one address that joins at once.
/// With what is kept of each they are 300 KiB.
const MAX_EARLY: usize = 512;
const MAX_EARLY_OF_SOURCE: usize = 128;
/// A check of a participant is some 100 bytes; a username may have 513 (RFC 8489, section 14.3).
const MAX_EARLY_LEN: usize = 600;
/// How long a check waits: the answer with our credentials reaches the participant a moment before the command does
/// its worker; the check would be repeated after 250 ms.
const EARLY_WAIT: Duration = Duration::from_millis(150);

/// A check whose transport this worker has not heard of.
#[derive(Debug, PartialEq, Eq)]
pub struct Early<P> {
    /// The way it came.
    pub path: P,
    /// Our ufrag in it.
    pub ufrag: Box<str>,
    /// The whole of it.
    pub bytes: Box<[u8]>,
    source: Source,
    since: Instant,
}

/// Checks that have come before their transport was announced, the oldest first.
#[derive(Debug)]
pub struct EarlyChecks<P> {
    waiting: VecDeque<Early<P>>,
    of_source: HashMap<Source, usize>,
}

impl<P> Default for EarlyChecks<P> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), of_source: HashMap::new() }
    }
}

impl<P> EarlyChecks<P> {
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a check for a moment; returns how many are refused for it: older ones of the same source, of the source
    /// that has most, or this one.
    pub fn hold(&mut self, now: Instant, path: P, from: SocketAddr, ufrag: &str, bytes: &[u8]) -> u64 {
        if bytes.len() > MAX_EARLY_LEN {
            return 1;
        }
        let source = Source::from(from);
        let mut refused = 0;
        let share = self.of_source.get(&source).copied().unwrap_or_default();
        if share >= MAX_EARLY_OF_SOURCE {
            refused += self.drop_oldest_of(source);
        } else if self.waiting.len() >= MAX_EARLY
            && let Some((heaviest, _)) = self.of_source.iter().max_by_key(|(_, count)| **count)
        {
            // A source with less than others takes the place of one of theirs, one with as much that of its own.
            refused += self.drop_oldest_of(*heaviest);
        }
        *self.of_source.entry(source).or_default() += 1;
        self.waiting.push_back(Early { path, ufrag: ufrag.into(), bytes: bytes.into(), source, since: now });
        refused
    }

    /// Takes those whose ufrag is known now.
    pub fn take(&mut self, is_known: impl Fn(&str) -> bool) -> Vec<Early<P>> {
        let mut known = Vec::new();
        for _ in 0..self.waiting.len() {
            let Some(early) = self.waiting.pop_front() else { break };
            if is_known(&early.ufrag) {
                self.forget(early.source);
                known.push(early);
            } else {
                self.waiting.push_back(early);
            }
        }
        known
    }

    /// Drops those that have waited long enough; how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        while self.waiting.front().is_some_and(|early| now.saturating_duration_since(early.since) >= EARLY_WAIT) {
            if let Some(early) = self.waiting.pop_front() {
                self.forget(early.source);
                expired += 1;
            }
        }
        expired
    }

    /// A path has closed.
    pub fn forget_path(&mut self, path: &P)
    where
        P: PartialEq,
    {
        while let Some(at) = self.waiting.iter().position(|early| early.path == *path) {
            if let Some(early) = self.waiting.remove(at) {
                self.forget(early.source);
            }
        }
    }

    /// When [`expire`](Self::expire) has something to drop.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|early| early.since + EARLY_WAIT)
    }

    fn drop_oldest_of(&mut self, source: Source) -> u64 {
        let Some(at) = self.waiting.iter().position(|early| early.source == source) else { return 0 };
        self.waiting.remove(at);
        self.forget(source);
        1
    }

    fn forget(&mut self, source: Source) {
        if let Some(count) = self.of_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&source);
            }
        }
    }
}

impl<P> Footprint for EarlyChecks<P> {
    fn heap_bytes(&self) -> usize {
        let all: usize = self.waiting.iter().map(|check| check.ufrag.len() + check.bytes.len()).sum();
        all + flat_queue(&self.waiting) + flat_table(&self.of_source)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    fn v4(last: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, last], port).into()
    }

    #[test]
    fn an_early_check_waits_for_its_ufrag_and_not_for_ever() {
        let now = Instant::now();
        let mut early = EarlyChecks::default();
        assert_eq!(early.hold(now, 1, v4(1, 1), "ours", b"one"), 0);
        assert_eq!(early.hold(now, 2, v4(1, 2), "other", b"two"), 0);
        assert_eq!(early.hold(now, 3, v4(1, 3), "ours", b"three"), 0);
        let known: Vec<i32> = early.take(|ufrag| ufrag == "ours").into_iter().map(|early| early.path).collect();
        assert_eq!(known, [1, 3], "in order");
        assert_eq!(early.expire(now + EARLY_WAIT / 2), 0);
        assert_eq!(early.expire(now + EARLY_WAIT), 1);
        assert!(early.is_empty() && early.of_source.is_empty());
        assert_eq!(early.hold(now, 4, v4(1, 1), "x", &[0; MAX_EARLY_LEN + 1]), 1, "too long");
    }

    #[test]
    fn a_flood_of_checks_takes_the_places_of_its_own() {
        let now = Instant::now();
        let mut early = EarlyChecks::default();
        early.hold(now, 0, v4(1, 1), "honest", b"check");
        let refused: u64 = (0..10_000).map(|port| early.hold(now, 1, v4(2, port), "flood", b"check")).sum();
        assert_eq!(refused, 10_000 - MAX_EARLY_OF_SOURCE as u64);
        for source in 3..100 {
            for port in 0..20 {
                early.hold(now, 1, v4(source, port), "flood", b"check");
            }
        }
        assert!(early.waiting.len() <= MAX_EARLY);
        assert_eq!(early.take(|ufrag| ufrag == "honest").len(), 1, "it has waited through all of that");
    }
}
