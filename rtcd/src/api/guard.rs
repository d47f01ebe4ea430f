//! Who is connected: strangers make room for newcomers, so that no number of silent connections keeps anybody out.
use crate::auth::Source;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How far a connection has come; the first to go have the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
enum Rank {
    /// Connected, and has not sent a whole request.
    Silent,
    /// It has asked something.
    Asked,
    /// Its credentials were right: it stays.
    Known,
}

/// One connection, as those who answer its requests know it.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    source: Source,
    /// It has come over the control socket.
    local: bool,
    rank: AtomicU8,
    dropped: Notify,
}

impl Peer {
    /// Who was let in at the control socket.
    pub fn local() -> Self {
        let (dropped, rank) = (Notify::new(), AtomicU8::new(Rank::Known as u8));
        Self(Arc::new(Connection { source: Source::default(), local: true, rank, dropped }))
    }
    /// Somebody from there, who has asked nothing yet.
    fn from(source: Source) -> Self {
        let (dropped, rank) = (Notify::new(), AtomicU8::new(Rank::Silent as u8));
        Self(Arc::new(Connection { source, local: false, rank, dropped }))
    }
    /// The same, for tests.
    #[cfg(test)]
    pub fn of(source: Source) -> Self {
        Self::from(source)
    }
    /// Whether it was let in at the control socket: it needs no key to be the admin.
    pub fn is_local(&self) -> bool {
        self.0.local
    }
    /// Where it comes from.
    pub fn source(&self) -> Source {
        self.0.source
    }
    /// It has sent the head of a request.
    pub fn asked(&self) {
        self.raise(Rank::Asked);
    }
    /// Its credentials were right.
    pub fn known(&self) {
        self.raise(Rank::Known);
    }
    /// Waits until it has to make room.
    pub async fn dropped(&self) {
        self.0.dropped.notified().await;
    }
    fn raise(&self, rank: Rank) {
        self.0.rank.fetch_max(rank as u8, Ordering::Relaxed);
    }
}

/// All connections but those that have become WebSockets.
#[derive(Debug)]
pub struct Guard {
    max: usize,
    table: Mutex<Table>,
    empty: Notify,
}

#[derive(Debug, Default)]
struct Table {
    connections: HashMap<u64, Peer>,
    next: u64,
}

/// A place in the table, for as long as the connection lives.
#[derive(Debug)]
pub struct Place {
    guard: Arc<Guard>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.guard.table();
        table.connections.remove(&self.id);
        if table.connections.is_empty() {
            self.guard.empty.notify_waiters();
        }
    }
}

impl Guard {
    /// Room for so many.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default(), empty: Notify::new() })
    }

    /// A newcomer, and whether somebody had to make room. `None`: all the others are known.
    pub fn enter(self: &Arc<Self>, source: Source) -> Option<(Peer, Place, bool)> {
        let mut table = self.table();
        let full = table.connections.len() >= self.max;
        if full && !table.drop_one(self.max) {
            return None;
        }
        let peer = Peer::from(source);
        let id = table.next;
        table.next += 1;
        table.connections.insert(id, peer.clone());
        Some((peer, Place { guard: self.clone(), id }, full))
    }

    /// A stranger makes room, if there is one.
    pub fn make_room(&self) -> bool {
        self.table().drop_one(self.max)
    }

    /// How many there may be.
    #[cfg(test)]
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table().connections.len()
    }

    /// Waits until nobody is left.
    pub async fn empty(&self) {
        loop {
            let empty = self.empty.notified();
            if self.table().connections.is_empty() {
                return;
            }
            empty.await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The oldest of the lowest rank, of the address that has the most of these: each address has its share. Who is known
    /// stays, unless one address has more than half of all places.
    fn drop_one(&mut self, max: usize) -> bool {
        let rank = |peer: &Peer| peer.0.rank.load(Ordering::Relaxed);
        let Some(lowest) = self.connections.values().map(rank).min() else { return false };
        let mut shares: HashMap<Source, (usize, u64)> = HashMap::new();
        for (id, peer) in self.connections.iter().filter(|(_, peer)| rank(peer) == lowest) {
            let share = shares.entry(peer.source()).or_insert((0, u64::MAX));
            *share = (share.0 + 1, share.1.min(*id));
        }
        let largest = shares.values().max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
        let largest = largest.filter(|(count, _)| lowest < Rank::Known as u8 || *count > max / 2);
        let Some(peer) = largest.and_then(|(_, oldest)| self.connections.remove(oldest)) else { return false };
        peer.0.dropped.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::net::IpAddr;

    fn source(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn the_oldest_silent_stranger_of_the_greediest_address_makes_room() {
        let guard = Guard::new(4);
        let enter = |last| guard.enter(source(last)).expect("room");
        let known = enter(1);
        known.0.known();
        let (first, second, other) = (enter(1), enter(1), enter(2));
        assert!(!other.2);
        let (newcomer, _place, made_room) = enter(3);
        assert!(made_room && first.0.dropped().now_or_never().is_some());
        // One each is left: the oldest goes.
        newcomer.asked();
        let _fifth = enter(4);
        assert!(second.0.dropped().now_or_never().is_some() && other.0.dropped().now_or_never().is_none());
        // Who has asked goes after the silent ones, and who is known never.
        let _more = (enter(5), enter(6));
        assert!(newcomer.dropped().now_or_never().is_none() && known.0.dropped().now_or_never().is_none());
    }

    #[test]
    fn an_address_that_is_known_does_not_take_all_places_for_that() {
        let guard = Guard::new(4);
        let places: Vec<_> = (0..4).map(|_| guard.enter(source(1)).expect("room")).collect();
        places.iter().for_each(|(peer, ..)| peer.known());
        let (newcomer, _place, made_room) = guard.enter(source(2)).expect("room");
        newcomer.known();
        assert!(made_room && places[0].0.dropped().now_or_never().is_some());
        assert!(places[1].0.dropped().now_or_never().is_none());
    }

    #[tokio::test]
    async fn when_all_are_known_a_newcomer_waits_outside() {
        let guard = Guard::new(2);
        let places: Vec<_> = (1..3).map(|last| guard.enter(source(last)).expect("room")).collect();
        places.iter().for_each(|(peer, ..)| peer.known());
        assert!(guard.enter(source(3)).is_none() && !guard.make_room());
        assert!(guard.empty().now_or_never().is_none());
        drop(places);
        guard.empty().await;
        assert!(guard.enter(source(2)).is_some());
    }
}
