//! What a peer that receives pictures can be sent: the estimate, the pace, and who waits for it.
use crate::footprint::{Footprint, flat, flat_queue};
use crate::handover::Age;
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::allocation::{Allocation, Demand, Grant};
use crate::sfu::bandwidth::{Bandwidth, Bitrate, Sent};
use crate::sfu::command::TrackId;
use crate::sfu::pacer::Pacer;
use crate::sfu::switch::admission::Passage;
use crate::sfu::{Epoch, Layer};
use crate::token_bucket::TokenBucket;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often layers are chosen when nothing else asks for it.
pub(in crate::sfu::switch) const DECIDE_INTERVAL: Duration = Duration::from_millis(200);
/// A change of the estimate by less than this part of it can wait for the next choice.
const NEWS: f64 = 0.03;
/// Octets of IPv4, UDP, SRTP tag and the like, which the way carries beside a packet.
const OVERHEAD: usize = 28 + 16 + 8;
/// So long after its first picture a receiver is taken to carry what it is sent: until then nothing is known of it.
const SETTLES_AFTER: Duration = Duration::from_secs(2);

/// Part of the estimate that retransmissions may take in any case, or so many times what gets lost, and how long what they
/// do not take is saved.
const REPAIR_SHARE: f64 = 0.15;
const REPAIR_PER_LOSS: f64 = 1.5;
/// Loss below this costs nothing to speak of.
const NEGLIGIBLE_LOSS: f64 = 0.03;
const REPAIR_SAVED: Duration = Duration::from_millis(500);
/// Octets that may be sent again before anything is known of the way.
const REPAIR_AT_FIRST: f64 = 64_000.0;
/// Retransmissions that are remembered, so that a packet that is asked for twice within a round trip is sent once.
const MAX_REPAIRED: usize = 256;
/// A round trip that is not known.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// A packet that waits for its turn: where it is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sfu::switch) enum Held {
    /// A picture's, in the cache of its layer.
    Picture { track: TrackId, ssrc: Ssrc, layer: Layer, epoch: Epoch, seq: SeqNo, passage: Passage },
    /// One that the receiver has asked for again, by its outgoing number.
    Again { ssrc: Ssrc, wire: u16 },
}

impl Held {
    /// The outgoing stream that it is of.
    pub fn ssrc(&self) -> Ssrc {
        match self {
            Self::Picture { ssrc, .. } | Self::Again { ssrc, .. } => *ssrc,
        }
    }
}

/// The state of one receiver of pictures.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(in crate::sfu::switch) struct Sending {
    pub bandwidth: Bandwidth,
    pub pacer: Pacer<Held>,
    pub allocation: Allocation,
    /// When layers are to be chosen again, and the estimate that they were chosen by.
    #[serde_as(as = "Age")]
    pub decide_at: Instant,
    pub decided_by: Bitrate,
    /// The way has room for voice once more, and for everything.
    pub carries_voice_twice: bool,
    pub carries_twice: bool,
    /// Octets that may be sent again.
    repair: TokenBucket,
    /// What was sent again of late.
    #[serde_as(as = "VecDeque<(_, _, Age)>")]
    repaired: VecDeque<(Ssrc, u16, Instant)>,
    /// When the first picture went out.
    #[serde_as(as = "Option<Age>")]
    began: Option<Instant>,
    /// Kept so that nothing is allocated per decision.
    #[serde(skip)]
    pub demands: Vec<Demand>,
    #[serde(skip)]
    pub grants: Vec<Grant>,
}

impl Sending {
    pub fn new(now: Instant) -> Self {
        let bandwidth = Bandwidth::new(now);
        Self {
            pacer: Pacer::new(now, bandwidth.estimate()),
            bandwidth,
            allocation: Allocation::default(),
            decide_at: now,
            decided_by: Bitrate::ZERO,
            carries_voice_twice: false,
            carries_twice: false,
            repair: TokenBucket::new(REPAIR_AT_FIRST, REPAIR_AT_FIRST, now),
            repaired: VecDeque::new(),
            began: None,
            demands: Vec::new(),
            grants: Vec::new(),
        }
    }

    /// A packet of media with so much payload goes out, under the number that [`Bandwidth::next_number`] gave.
    #[inline]
    pub fn note_sent(&mut self, now: Instant, len: usize, what: Sent) {
        self.bandwidth.handle_sent(now, len + OVERHEAD, what);
        self.pacer.charge(now, len + OVERHEAD);
    }

    /// Retransmissions get what pictures and voice leave of the estimate, and some of it in any case.
    pub fn set_repair_rate(&mut self, now: Instant, estimate: Bitrate, voice: Bitrate, spent: Bitrate) {
        self.carries_voice_twice = estimate >= spent + voice;
        self.carries_twice = estimate >= spent.times(2.0);
        let share = REPAIR_SHARE.max(f64::from(self.bandwidth.loss()) * REPAIR_PER_LOSS);
        let rate = estimate.less(spent).max(estimate.times(share)).octets_in(Duration::from_secs(1)) as f64;
        self.repair.set_rate(now, rate, rate * REPAIR_SAVED.as_secs_f64());
    }

    /// What is left of the estimate for pictures and voice when what gets lost is sent again.
    pub fn without_repair(&self, estimate: Bitrate) -> Bitrate {
        let loss = f64::from(self.bandwidth.loss());
        if loss < NEGLIGIBLE_LOSS { estimate } else { estimate.times(1.0 - loss.min(0.5)) }
    }

    /// Whether a packet that the receiver asks for is to be sent again now: there is room for it, and it has not just been
    /// sent again.
    pub fn may_repair(&mut self, now: Instant, ssrc: Ssrc, wire: u16) -> bool {
        let round_trip = self.bandwidth.round_trip().unwrap_or(ROUND_TRIP);
        // Half of it: who asks again that soon has its own idea of the round trip, or is in a hurry.
        while self.repaired.front().is_some_and(|(.., at)| now.saturating_duration_since(*at) > round_trip / 2) {
            self.repaired.pop_front();
        }
        if self.repair.balance(now) <= 0.0 || self.repaired.iter().any(|known| (known.0, known.1) == (ssrc, wire)) {
            return false;
        }
        if self.repaired.len() == MAX_REPAIRED {
            self.repaired.pop_front();
        }
        self.repaired.push_back((ssrc, wire, now));
        true
    }

    /// A packet of so many octets has been sent again.
    pub fn note_repaired(&mut self, now: Instant, len: usize) {
        self.repair.charge(now, len as f64);
    }

    /// A picture goes out.
    pub fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Whether the estimate is more than a guess.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now.saturating_duration_since(began) >= SETTLES_AFTER)
    }

    /// Whether the estimate is another than the one that layers were chosen by, as far as it matters.
    pub fn is_news(&self) -> bool {
        let (now, then) = (self.bandwidth.estimate(), self.decided_by);
        now > then.times(1.0 + NEWS) || now < then.times(1.0 - NEWS)
    }

    /// When something of this is due.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let own = [self.bandwidth.next_timeout(), self.pacer.next_timeout(now), Some(self.decide_at)];
        own.into_iter().flatten().min()
    }
}

/// Without the bandwidth's own.
impl Footprint for Sending {
    fn heap_bytes(&self) -> usize {
        let lists = flat_queue(&self.repaired) + flat(&self.demands) + flat(&self.grants);
        self.pacer.heap_bytes() + self.allocation.heap_bytes() + lists
    }
}
