//! A network of values: no socket, no clock, and the same seed gives the same losses again.
//!
//! A datagram waits in the queue of its link for the link's rate, is lost or copied there, travels, and arrives. Drain
//! [`Network::poll`] whenever the time of [`Network::next_timeout`] has come.
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Octets of IPv4 and UDP headers, which a link carries, too.
pub const HEADERS: usize = 28;

/// What a link does to datagrams. The default carries everything at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Part of the datagrams that is lost, each by itself.
    pub loss: f64,
    /// Losses that come in bursts.
    pub burst: Option<Burst>,
    /// One way.
    pub delay: Duration,
    /// Up to so much more, evenly distributed; the order stays.
    pub jitter: Duration,
    /// Part of the datagrams that arrives `REORDERED` later than it should, behind its successors.
    pub reorder: f64,
    /// Part of the datagrams that arrives twice.
    pub duplicate: f64,
    /// Bit/s, headers included.
    pub rate: Option<u64>,
    /// A datagram that would wait longer than this for the rate is dropped.
    pub queue: Duration,
    /// Longest datagram without headers; longer ones are dropped.
    pub mtu: usize,
    /// Nothing passes.
    pub blackout: bool,
}

/// How late a reordered datagram is.
const REORDERED: Duration = Duration::from_millis(15);

impl Default for Conditions {
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            duplicate: 0.0,
            rate: None,
            queue: Duration::from_millis(300),
            mtu: 1472,
            blackout: false,
        }
    }
}

impl Conditions {
    /// A way of this length that loses packets each by itself.
    pub fn lossy(loss: f64, delay: Duration) -> Self {
        Self { loss, delay, ..Self::default() }
    }
}

/// The model of Gilbert and Elliott: a good state without losses and a bad one, changed between at each datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Probability to turn bad.
    pub begin: f64,
    /// Probability to turn good again.
    pub end: f64,
    /// Part that is lost in the bad state.
    pub loss: f64,
}

/// A datagram that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// What the network did with datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub delivered: u64,
    pub lost: u64,
    /// Dropped, since the queue was full.
    pub queue_full: u64,
    pub too_long: u64,
    pub duplicated: u64,
    /// Sent to an address behind which nobody is (any more).
    pub unreachable: u64,
}

#[derive(Debug, Default)]
struct Link {
    conditions: Conditions,
    is_bad: bool,
    queue: VecDeque<(Datagram, usize)>,
    /// When the head of the queue will have left, once it has begun to.
    head_leaves: Option<Instant>,
    last_arrival: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct InFlight {
    arrives: Instant,
    number: u64,
    datagram: Datagram,
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap's greatest is what arrives first.
        (other.arrives, other.number).cmp(&(self.arrives, self.number))
    }
}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Link(SocketAddr, SocketAddr, Conditions),
    Rebind(SocketAddr, SocketAddr),
}

/// All links; one that nobody has set up has the default [`Conditions`].
pub struct Network {
    random: fastrand::Rng,
    links: HashMap<(SocketAddr, SocketAddr), Link>,
    in_flight: BinaryHeap<InFlight>,
    changes: BTreeMap<(Instant, u64), Change>,
    /// Public addresses of hosts behind a NAT, by their own.
    public: HashMap<SocketAddr, SocketAddr>,
    /// Public addresses that a NAT has given away.
    gone: Vec<SocketAddr>,
    number: u64,
    pub counts: Counts,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            links: HashMap::new(),
            in_flight: BinaryHeap::new(),
            changes: BTreeMap::new(),
            public: HashMap::new(),
            gone: Vec::new(),
            number: 0,
            counts: Counts::default(),
        }
    }

    /// From `at` on the link between two hosts (by their own addresses) has these conditions, in this direction.
    pub fn set(&mut self, at: Instant, from: SocketAddr, to: SocketAddr, conditions: Conditions) {
        self.number += 1;
        self.changes.insert((at, self.number), Change::Link(from, to, conditions));
    }

    /// From `at` on a NAT shows a host under this address, and the one before leads nowhere.
    pub fn rebind(&mut self, at: Instant, host: SocketAddr, public: SocketAddr) {
        self.number += 1;
        self.changes.insert((at, self.number), Change::Rebind(host, public));
    }

    /// A host sends a datagram from its own address.
    pub fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.advance(now);
        self.counts.sent += 1;
        if self.gone.contains(&to) {
            self.counts.unreachable += 1;
            return;
        }
        let host = self.public.iter().find(|(_, public)| **public == to).map_or(to, |(host, _)| *host);
        let shown = self.public.get(&from).copied().unwrap_or(from);
        let link = self.links.entry((from, host)).or_default();
        let conditions = link.conditions;
        if bytes.len() > conditions.mtu {
            self.counts.too_long += 1;
            return;
        }
        if conditions.blackout || link.loses(&mut self.random) {
            self.counts.lost += 1;
            return;
        }
        let waiting: usize = link.queue.iter().map(|(_, len)| len).sum();
        if conditions.rate.is_some_and(|rate| time_for(waiting, rate) > conditions.queue) {
            self.counts.queue_full += 1;
            return;
        }
        let len = bytes.len() + HEADERS;
        link.queue.push_back((Datagram { from: shown, to: host, bytes }, len));
        if link.head_leaves.is_none() {
            link.head_leaves = Some(now + conditions.rate.map_or(Duration::ZERO, |rate| time_for(len, rate)));
        }
        self.advance(now);
    }

    /// When the next datagram arrives, or something else is to happen.
    pub fn next_timeout(&self) -> Option<Instant> {
        let leaves = self.links.values().filter_map(|link| link.head_leaves);
        let arrives = self.in_flight.peek().map(|datagram| datagram.arrives);
        leaves.chain(arrives).chain(self.changes.keys().next().map(|(at, _)| *at)).min()
    }

    /// The next datagram that has arrived, and when.
    pub fn poll(&mut self, now: Instant) -> Option<(Instant, Datagram)> {
        self.advance(now);
        let first = self.in_flight.peek_mut().filter(|first| first.arrives <= now)?;
        let InFlight { arrives, datagram, .. } = std::collections::binary_heap::PeekMut::pop(first);
        self.counts.delivered += 1;
        Some((arrives, datagram))
    }

    /// Does what is due, in the order of time.
    fn advance(&mut self, now: Instant) {
        loop {
            let change = self.changes.keys().next().copied().filter(|(at, _)| *at <= now);
            let leaves = self.links.iter().filter_map(|(key, link)| Some((link.head_leaves?, *key)));
            let leaves = leaves.min().filter(|(at, _)| *at <= now);
            match (change, leaves) {
                (Some(key), leaves) if leaves.is_none_or(|(at, _)| key.0 <= at) => self.apply(key),
                (_, Some((at, key))) => self.leave(at, key),
                _ => return,
            }
        }
    }

    fn apply(&mut self, key: (Instant, u64)) {
        match self.changes.remove(&key) {
            Some(Change::Link(from, to, conditions)) => {
                self.links.entry((from, to)).or_default().conditions = conditions
            }
            Some(Change::Rebind(host, public)) => {
                let before = self.public.insert(host, public).unwrap_or(host);
                self.gone.push(before);
                self.gone.retain(|address| *address != public);
            }
            None => {}
        }
    }

    fn leave(&mut self, at: Instant, key: (SocketAddr, SocketAddr)) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let conditions = link.conditions;
        let Some((datagram, _)) = link.queue.pop_front() else { return };
        let rate = conditions.rate;
        link.head_leaves =
            link.queue.front().map(|(_, len)| at + rate.map_or(Duration::ZERO, |rate| time_for(*len, rate)));
        let on_the_way = conditions.delay + conditions.jitter.mul_f64(self.random.f64());
        let in_order = link.last_arrival.map_or(at + on_the_way, |last| last.max(at + on_the_way));
        let arrives = if self.random.f64() < conditions.reorder {
            in_order + REORDERED
        } else {
            link.last_arrival = Some(in_order);
            in_order
        };
        let copies = 1 + u64::from(self.random.f64() < conditions.duplicate);
        self.counts.duplicated += copies - 1;
        for _ in 0..copies {
            self.number += 1;
            self.in_flight.push(InFlight { arrives, number: self.number, datagram: datagram.clone() });
        }
    }
}

impl Link {
    fn loses(&mut self, random: &mut fastrand::Rng) -> bool {
        let mut loss = self.conditions.loss;
        if let Some(burst) = self.conditions.burst {
            let turns = if self.is_bad { burst.end } else { burst.begin };
            self.is_bad ^= random.f64() < turns;
            if self.is_bad {
                loss = loss.max(burst.loss);
            }
        }
        random.f64() < loss
    }
}

fn time_for(len: usize, rate: u64) -> Duration {
    Duration::from_nanos(len as u64 * 8 * 1_000_000_000 / rate.max(1))
}

#[cfg(test)]
mod tests;
