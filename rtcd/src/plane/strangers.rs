//! What those get who have not shown that they belong to a session: shares by source address, so that one source that
//! wants everything takes only from itself.
use crate::source::Source;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections of strangers per worker.
pub const MAX_STRANGERS: usize = 512;
/// Checks that wait for their transport, per worker and of one source: an office behind one address that joins at once.
/// With what is kept of each they are 300 KiB.
const MAX_EARLY: usize = 512;
const MAX_EARLY_OF_SOURCE: usize = 128;
/// A check of a participant is some 100 bytes; a username may have 513 (RFC 8489, section 14.3).
const MAX_EARLY_LEN: usize = 600;
/// How long a check waits: the answer with our credentials reaches the participant a moment before the command does
/// its worker; the check would be repeated after 250 ms.
const EARLY_WAIT: Duration = Duration::from_millis(150);

/// Connections that have carried no authentic check, the oldest of each source first.
#[derive(Debug, Default)]
pub struct Strangers {
    by_source: HashMap<Source, VecDeque<u32>>,
    /// In order of their deadlines; those that have left are passed over.
    deadlines: VecDeque<(Instant, u32)>,
    count: usize,
}

impl Strangers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A connection comes. Deadlines must not go backwards.
    pub fn insert(&mut self, source: Source, id: u32, deadline: Instant) {
        self.by_source.entry(source).or_default().push_back(id);
        self.deadlines.push_back((deadline, id));
        self.count += 1;
    }

    /// A connection is no stranger's any more, or closed; whether it was one.
    pub fn remove(&mut self, source: Source, id: u32) -> bool {
        let Some(ids) = self.by_source.get_mut(&source) else { return false };
        let Some(at) = ids.iter().position(|known| *known == id) else { return false };
        ids.remove(at);
        if ids.is_empty() {
            self.by_source.remove(&source);
        }
        self.count -= 1;
        if self.deadlines.len() > 2 * MAX_STRANGERS + self.count {
            let by_source = &self.by_source;
            self.deadlines.retain(|(_, id)| by_source.values().any(|ids| ids.contains(id)));
        }
        true
    }

    /// Who is to go for a newcomer: the oldest of the source that has most.
    pub fn heaviest(&self) -> Option<u32> {
        let (_, ids) = self.by_source.iter().max_by_key(|(_, ids)| ids.len())?;
        // Where many sources have the same, the oldest of all goes.
        let most = ids.len();
        let oldest = |ids: &VecDeque<u32>| ids.front().copied();
        self.by_source.values().filter(|ids| ids.len() == most).filter_map(oldest).min()
    }

    /// The next whose time is over; it may have left already.
    pub fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        self.deadlines.front().filter(|(at, _)| *at <= now)?;
        self.deadlines.pop_front().map(|(_, id)| id)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, last], port).into()
    }

    #[test]
    fn a_subscriber_is_one_source_however_many_addresses_it_has() {
        let source = |text: &str| Source::from(text.parse::<SocketAddr>().expect("an address"));
        assert_eq!(source("[2001:db8:1:2::1]:1"), source("[2001:db8:1:2:ffff::9]:7"));
        assert_ne!(source("[2001:db8:1:2::1]:1"), source("[2001:db8:1:3::1]:1"));
        assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:2"), "as a socket for both families sees it");
        assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
    }

    #[test]
    fn the_oldest_of_the_source_that_has_most_goes_first() {
        let now = Instant::now();
        let mut strangers = Strangers::default();
        strangers.insert(v4(1, 1).into(), 0, now);
        for id in 1..100 {
            strangers.insert(v4(2, id as u16).into(), id, now);
        }
        for expected in 1..99 {
            let id = strangers.heaviest().expect("there is one");
            assert_eq!(id, expected);
            assert!(strangers.remove(v4(2, 0).into(), id));
        }
        assert_eq!((strangers.count(), strangers.heaviest()), (2, Some(0)), "of equals the oldest");
        assert!(!strangers.remove(v4(1, 1).into(), 77), "never seen");
    }

    #[test]
    fn a_stranger_expires_once_and_what_is_kept_of_those_that_left_is_bounded() {
        let (mut now, mut strangers) = (Instant::now(), Strangers::default());
        for id in 0..100_000 {
            now += Duration::from_millis(1);
            strangers.insert(v4(1, 1).into(), id, now);
            assert!(strangers.remove(v4(1, 1).into(), id));
        }
        assert!(strangers.deadlines.len() <= 3 * MAX_STRANGERS && strangers.by_source.is_empty());
        strangers.insert(v4(1, 1).into(), 7, now + Duration::from_secs(1));
        let due = |now, strangers: &mut Strangers| std::iter::from_fn(|| strangers.pop_expired(now)).last();
        assert_ne!(due(now, &mut strangers), Some(7));
        assert_eq!(due(now + Duration::from_secs(1), &mut strangers), Some(7));
        assert_eq!(due(now + Duration::from_secs(9), &mut strangers), None);
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
