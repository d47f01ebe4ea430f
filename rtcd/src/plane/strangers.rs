//! Connections of those who have not shown that they belong to a session: shares by source address, so that one source that
//! wants everything takes only from itself.
use rtcd_media::source::Source;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Connections of strangers per worker.
pub const MAX_STRANGERS: usize = 512;

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

    /// When the next one's time is over.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// The next whose time is over; it may have left already.
    pub fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        self.deadlines.front().filter(|(at, _)| *at <= now)?;
        self.deadlines.pop_front().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;

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
}
