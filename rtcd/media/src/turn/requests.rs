//! Requests that wait for their answers, and when they are said again (RFC 8489, section 6.2.1).
use super::message::Ask;
use crate::stun::TransactionId;
use std::time::{Duration, Instant};

/// First wait for an answer, doubled up to [`LONGEST_WAIT`]: a server that has just been restarted is to be noticed soon.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// So often a request is said, in 7.5 s.
const MAX_SENDS: u32 = 8;
/// Over TCP, which repeats by itself.
const RELIABLE_WAIT: Duration = Duration::from_millis(7500);

/// A request under way.
#[derive(Debug)]
pub struct Request {
    /// In the request and in its answer.
    pub id: TransactionId,
    /// What it asks for.
    pub ask: Ask,
    /// How often the same was asked before and came back with another challenge.
    pub challenged: u32,
    /// Under which it was signed, if it was.
    pub nonce: Option<Box<[u8]>>,
    bytes: Box<[u8]>,
    first: Instant,
    due: Instant,
    sends: u32,
}

/// What is due of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// To be said again.
    Again(Box<[u8]>),
    /// It was said often enough.
    Silence,
}

/// All requests of one relay.
#[derive(Debug)]
pub struct Requests {
    waiting: Vec<Request>,
    reliable: bool,
}

impl Requests {
    /// None yet; `reliable`: the transport repeats what gets lost.
    pub fn new(reliable: bool) -> Self {
        Self { waiting: Vec::new(), reliable }
    }

    /// Notes a request that is being sent.
    pub fn insert(
        &mut self,
        now: Instant,
        id: TransactionId,
        ask: Ask,
        challenged: u32,
        nonce: Option<Box<[u8]>>,
        bytes: &[u8],
    ) {
        let due = now + if self.reliable { RELIABLE_WAIT } else { FIRST_WAIT };
        self.waiting.push(Request { id, ask, challenged, nonce, bytes: bytes.into(), first: now, due, sends: 1 });
    }

    /// The request of an answer, which waits no longer; and the round trip if it was said once.
    pub fn answered(&mut self, now: Instant, id: &TransactionId) -> Option<(Request, Option<Duration>)> {
        let at = self.waiting.iter().position(|request| request.id == *id)?;
        let request = self.waiting.swap_remove(at);
        let round_trip = (request.sends == 1).then(|| now.saturating_duration_since(request.first));
        Some((request, round_trip))
    }

    /// The request of this id.
    pub fn get(&self, id: &TransactionId) -> Option<&Request> {
        self.waiting.iter().find(|request| request.id == *id)
    }

    /// How many of them ask for such a thing.
    pub fn count(&self, of: impl Fn(&Ask) -> bool) -> usize {
        self.waiting.iter().filter(|request| of(&request.ask)).count()
    }

    /// The next that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let request = self.waiting.iter_mut().find(|request| request.due <= now)?;
        if self.reliable || request.sends >= MAX_SENDS {
            return Some(Due::Silence);
        }
        let wait = (FIRST_WAIT * 2u32.pow(request.sends.min(8))).min(LONGEST_WAIT);
        request.sends += 1;
        request.due = now + wait;
        Some(Due::Again(request.bytes.clone()))
    }

    /// When [`pop_due`](Self::pop_due) has one.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.waiting.iter().map(|request| request.due).min()
    }
}
