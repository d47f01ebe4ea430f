//! Whose message is handled next. What participants say about descriptions costs milliseconds: they are read beside the
//! actor, a few at a time, and whoever has used least of late comes first. Pure: no clock, no task.
//!
//! Messages of one session keep their order. A session that has used more than its share waits; what waits is bounded, and
//! what exceeds the bounds is refused.
use crate::ids::ConnId;
use crate::signal::data_channel::PeerMessage;
use crate::signal::message::RtcMessage;
use crate::signal::reading::SignalingChannel;
use rtcd_media::footprint::{Footprint, flat_queue, flat_table};
use rtcd_media::sfu::command::TransportId;
use rtcd_media::token_bucket::TokenBucket;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Part of a core that one session may keep busy. An offer with 200 sections takes some 30 ms, twice that unoptimized:
/// ten of them at once, then one or two a second.
const SESSION_SHARE: f64 = 0.1;
/// What a session may use at once.
const SESSION_BURST: Duration = Duration::from_secs(1);
/// What a connection may use at once: it is never refused anything.
const CONNECTION_BURST: Duration = Duration::ZERO;
/// What a WebSocket connection has used is forgotten at this rate; it only decides who comes first.
const CONNECTION_SHARE: f64 = 0.5;
/// Messages of one session that may wait.
const MAX_WAITING: usize = 64;
/// Bytes of one session that may wait: two of the longest descriptions.
const MAX_SESSION_BYTES: usize = 2 * 1024 * 1024 + 64 * 1024;
/// Bytes of all sessions that may wait.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// A message this short is taken beyond that: a newcomer's first offer has 2 KiB.
const SHORT: usize = 32 * 1024;
const MAX_BYTES_WITH_SHORT: usize = MAX_BYTES + 16 * 1024 * 1024;

/// Something to be done for a session, in the order of its messages.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Work {
    /// A description: JSON, or zlib of it when it came over the data channel. To be read beside the actor.
    Describe { channel: SignalingChannel, bytes: Vec<u8> },
    /// Another message of the data channel.
    Channel(PeerMessage),
    /// Another message of the WebSocket.
    Rtc(RtcMessage),
}

impl Work {
    fn len(&self) -> usize {
        match self {
            Self::Describe { bytes, .. } => bytes.len(),
            Self::Channel(_) => 0,
            Self::Rtc(message) => message.data.len(),
        }
    }
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    /// The session has said more than it may have waiting.
    #[error("more messages than a session may have waiting")]
    Session,
    /// All sessions together have.
    #[error("too much of all sessions is waiting")]
    All,
}

impl Excess {
    /// The label of a metric.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::All => "all",
        }
    }
}

/// What becomes of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    /// It is its turn.
    Now(Work),
    /// [`Intake::next`] will give it.
    Waits,
    /// It is dropped, for this reason; counted by the caller.
    Refused(Excess),
}

#[derive(Debug)]
struct Item {
    work: Work,
    conn: Option<ConnId>,
    since: Instant,
    number: u64,
}

#[derive(Debug)]
struct Queue {
    /// Seconds of a core.
    account: TokenBucket,
    waiting: VecDeque<Item>,
    bytes: usize,
    /// A description of it is being read; what follows waits for that.
    reading: bool,
}

impl Queue {
    fn may_go_on(&self, now: Instant) -> bool {
        !self.reading && self.account.balance(now) >= 0.0
    }
}

#[derive(Debug)]
pub(super) struct Intake {
    sessions: HashMap<TransportId, Queue>,
    /// Those of them that have something waiting.
    waiting: BTreeSet<TransportId>,
    /// Seconds of a core that each has used.
    connections: HashMap<ConnId, TokenBucket>,
    /// Descriptions that may be read at the same time, and how many are.
    readers: usize,
    reading: usize,
    bytes: usize,
    next_number: u64,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) id: TransportId,
    pub(super) work: Work,
    /// How long it has waited.
    pub(super) waited: Duration,
}

impl Footprint for Intake {
    fn heap_bytes(&self) -> usize {
        let queues: usize = self.sessions.values().map(|queue| flat_queue(&queue.waiting) + queue.bytes).sum();
        queues + flat_table(&self.sessions) + flat_table(&self.connections)
    }
}

impl Intake {
    pub(super) fn new(readers: usize) -> Self {
        Self {
            sessions: HashMap::new(),
            waiting: BTreeSet::new(),
            connections: HashMap::new(),
            readers: readers.max(1),
            reading: 0,
            bytes: 0,
            next_number: 0,
        }
    }

    /// A message of a session has come; `conn` when it came over a WebSocket.
    pub(super) fn admit(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, work: Work) -> Admission {
        let len = work.len();
        let most = if len <= SHORT { MAX_BYTES_WITH_SHORT } else { MAX_BYTES };
        let fits_all = self.bytes + len <= most;
        let queue = self.queue(now, id);
        if !matches!(work, Work::Describe { .. }) && queue.waiting.is_empty() && queue.may_go_on(now) {
            return Admission::Now(work);
        }
        if queue.waiting.len() >= MAX_WAITING || queue.bytes + len > MAX_SESSION_BYTES {
            return Admission::Refused(Excess::Session);
        }
        if !fits_all {
            return Admission::Refused(Excess::All);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += len;
        let queue = self.queue(now, id);
        queue.bytes += len;
        queue.waiting.push_back(Item { work, conn: conn.cloned(), since: now, number });
        self.waiting.insert(id);
        Admission::Waits
    }

    fn queue(&mut self, now: Instant, id: TransportId) -> &mut Queue {
        self.sessions.entry(id).or_insert_with(|| Queue {
            account: TokenBucket::new(SESSION_SHARE, SESSION_BURST.as_secs_f64(), now),
            waiting: VecDeque::new(),
            bytes: 0,
            reading: false,
        })
    }

    /// What is to be done now. A description is then being read, until [`finished`](Self::finished).
    pub(super) fn next(&mut self, now: Instant) -> Option<Next> {
        let may_read = self.reading < self.readers;
        let used_by = |conn: &ConnId| self.connections.get(conn).map_or(0.0, |account| account.used(now));
        let candidate = |id: &TransportId| {
            let queue = self.sessions.get(id)?;
            let item = queue.waiting.front().filter(|_| queue.may_go_on(now))?;
            let describes = matches!(item.work, Work::Describe { .. });
            if describes && !may_read {
                return None;
            }
            let used = queue.account.used(now) + item.conn.as_ref().map_or(0.0, used_by);
            // What costs next to nothing first.
            Some((describes, used, item.number, *id))
        };
        let order = |a: &(bool, f64, u64, TransportId), b: &(bool, f64, u64, TransportId)| {
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        let (describes, .., id) = self.waiting.iter().filter_map(candidate).min_by(order)?;
        let queue = self.sessions.get_mut(&id)?;
        let item = queue.waiting.pop_front()?;
        queue.bytes -= item.work.len();
        queue.reading = describes;
        if queue.waiting.is_empty() {
            self.waiting.remove(&id);
            // Most sessions never have anything waiting again.
            queue.waiting.shrink_to_fit();
        }
        self.bytes -= item.work.len();
        self.reading += usize::from(describes);
        Some(Next { id, work: item.work, waited: now.saturating_duration_since(item.since) })
    }

    /// The description of a session that was being read has been read.
    pub(super) fn finished(&mut self, id: TransportId) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(queue) = self.sessions.get_mut(&id) {
            queue.reading = false;
        }
    }

    /// Time was used for a session.
    pub(super) fn charge(&mut self, now: Instant, id: TransportId, conn: Option<&ConnId>, cost: Duration) {
        self.queue(now, id).account.charge(now, cost.as_secs_f64());
        // A connection that has ended has no account any more, though sessions of it go on.
        if let Some(account) = conn.and_then(|conn| self.connections.get_mut(conn)) {
            account.charge(now, cost.as_secs_f64());
        }
    }

    /// All that waits, in its order, for another process.
    pub(super) fn drain(&mut self) -> Vec<(TransportId, Work)> {
        self.bytes = 0;
        let mut items: Vec<(u64, TransportId, Work)> = Vec::new();
        for id in std::mem::take(&mut self.waiting) {
            let Some(queue) = self.sessions.get_mut(&id) else { continue };
            queue.bytes = 0;
            items.extend(queue.waiting.drain(..).map(|item| (item.number, id, item.work)));
        }
        items.sort_by_key(|(number, ..)| *number);
        items.into_iter().map(|(_, id, work)| (id, work)).collect()
    }

    /// Whether no description is being read.
    pub(super) fn is_idle(&self) -> bool {
        self.reading == 0
    }

    /// Whether the session has not used more than its share of late.
    pub(super) fn is_within_share(&self, now: Instant, id: TransportId) -> bool {
        self.sessions.get(&id).is_none_or(|queue| queue.account.balance(now) >= 0.0)
    }

    /// Whether a description of the session waits or is being read.
    pub(super) fn describes(&self, id: TransportId) -> bool {
        let waits = |item: &Item| matches!(item.work, Work::Describe { .. });
        self.sessions.get(&id).is_some_and(|queue| queue.reading || queue.waiting.iter().any(waits))
    }

    /// The session has ended.
    pub(super) fn forget(&mut self, id: TransportId) {
        self.waiting.remove(&id);
        if let Some(queue) = self.sessions.remove(&id) {
            self.bytes -= queue.bytes;
        }
    }

    /// A WebSocket connection has come.
    pub(super) fn connect(&mut self, now: Instant, conn: ConnId) {
        let account = TokenBucket::new(CONNECTION_SHARE, CONNECTION_BURST.as_secs_f64(), now);
        self.connections.insert(conn, account);
    }

    /// The connection has ended.
    pub(super) fn forget_connection(&mut self, conn: &ConnId) {
        self.connections.remove(conn);
    }

    /// When [`next`](Self::next) may have something that it has not now.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.iter().filter_map(|id| self.sessions.get(id)).filter(|queue| !queue.reading);
        let in_debt = waiting.map(|queue| queue.account.time_until(now, 0.0));
        in_debt.filter(|wait| !wait.is_zero()).min().map(|wait| now + wait + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests;
