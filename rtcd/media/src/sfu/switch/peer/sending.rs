//! What a peer that receives pictures can be sent: the estimate, the pace, and who waits for it.
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::allocation::{Allocation, Demand, Grant};
use crate::sfu::bandwidth::{Bandwidth, Sent};
use crate::sfu::command::TrackId;
use crate::sfu::pacer::Pacer;
use crate::sfu::{Epoch, Layer};
use std::time::{Duration, Instant};

/// How often layers are chosen when nothing else asks for it.
pub(in crate::sfu::switch) const DECIDE_INTERVAL: Duration = Duration::from_millis(200);
/// Octets of IPv4, UDP, SRTP tag and the like, which the way carries beside a packet.
const OVERHEAD: usize = 28 + 16 + 8;
/// So long after its first picture a receiver is taken to carry what it is sent: until then nothing is known of it.
const SETTLES_AFTER: Duration = Duration::from_secs(2);

/// A packet that waits for its turn: where it is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sfu::switch) enum Held {
    /// A picture's, in the cache of its layer.
    Picture { track: TrackId, ssrc: Ssrc, layer: Layer, epoch: Epoch, seq: SeqNo },
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
pub(in crate::sfu::switch) struct Sending {
    pub bandwidth: Bandwidth,
    pub pacer: Pacer<Held>,
    pub allocation: Allocation,
    /// When layers are to be chosen again.
    pub decide_at: Instant,
    /// When the first picture went out.
    began: Option<Instant>,
    /// Kept so that nothing is allocated per decision.
    pub demands: Vec<Demand>,
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

    /// A picture goes out.
    pub fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Whether the estimate is more than a guess.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now.saturating_duration_since(began) >= SETTLES_AFTER)
    }

    /// When something of this is due.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let own = [self.bandwidth.next_timeout(), self.pacer.next_timeout(now), Some(self.decide_at)];
        own.into_iter().flatten().min()
    }
}
