//! How a stream goes on when the process that wrote it has died: behind everything that may have been used, see
//! [`reserve`](crate::reserve).
use super::{Newest, Rewriter};
use crate::reserve::{MAX_UNHEARD, RTP_LEAP};
use crate::rtp::{SeqNo, Ssrc};
use crate::srtp::ReplayWindow;
use serde::{Deserialize, Serialize};

/// Pictures between two writings, more than a second's worth, and less than half of the 128 that a short picture id counts.
const PICTURES: u8 = 40;

/// Up to where the numbers of a stream may be used.
#[derive(Debug)]
pub(super) struct Ceiling {
    /// Only below this one.
    below: SeqNo,
    /// How often the stream has leapt since a packet of it went out.
    leaps: u8,
    /// Something could not go out.
    is_missed: bool,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Reach {
    next: SeqNo,
    /// It may not be used before the next writing: whoever goes on need not leap.
    is_idle: bool,
    leaps: u8,
}

impl Default for Ceiling {
    /// Of whoever writes nothing down, and leaves its keys to nobody.
    fn default() -> Self {
        Self { below: SeqNo(u64::MAX), leaps: 0, is_missed: false }
    }
}

impl Ceiling {
    /// Whether a packet may go out under this number.
    #[inline]
    pub(super) fn admits(&mut self, seq: SeqNo) -> bool {
        let admitted = seq < self.below;
        if admitted {
            self.leaps = 0;
        }
        self.is_missed |= !admitted;
        admitted
    }

    fn is_short(&self, next: SeqNo) -> bool {
        self.is_missed || (next < self.below && self.below.0 - next.0 < RTP_LEAP / 2)
    }

    /// Whether nothing is reserved by the next writing. A receiver takes a number 2^15 ahead for an old one: a stream that has
    /// leapt often enough without a packet waits until there is one.
    fn stays_idle(&self) -> bool {
        self.leaps >= MAX_UNHEARD && !self.is_missed
    }

    fn reach(&self, next: SeqNo) -> Reach {
        Reach { next, is_idle: self.stays_idle(), leaps: self.leaps }
    }

    fn raise(&mut self, next: SeqNo) {
        let idle = self.stays_idle();
        self.below = if idle { next } else { SeqNo(next.0 + RTP_LEAP) };
        self.is_missed = false;
    }

    /// Where whoever goes on begins.
    fn leap(&mut self, written: Reach) -> SeqNo {
        let next = if written.is_idle { written.next } else { SeqNo(written.next.0 + RTP_LEAP) };
        *self = Self { below: next, leaps: written.leaps + u8::from(!written.is_idle), is_missed: false };
        next
    }
}

/// How far a stream and its RTX stream are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StreamNumbers {
    /// Which stream.
    pub ssrc: Ssrc,
    stream: Reach,
    /// The latest of what went out.
    newest: Option<Newest>,
    rtx: Reach,
}

impl Rewriter {
    fn next(&self) -> SeqNo {
        self.newest.map_or(self.first_seq, |newest| SeqNo(newest.seq.0 + 1))
    }

    /// How far it is.
    pub fn stream_numbers(&self) -> StreamNumbers {
        let (stream, rtx) = &self.ceilings;
        StreamNumbers {
            ssrc: self.ssrc,
            stream: stream.reach(self.next()),
            newest: self.newest,
            rtx: rtx.reach(self.rtx_seq),
        }
    }

    /// Whether it waits for the next writing, or soon will.
    #[inline]
    pub fn is_short(&self) -> bool {
        self.ceilings.0.is_short(self.next()) || self.ceilings.1.is_short(self.rtx_seq)
    }

    /// What [`stream_numbers`](Self::stream_numbers) gives is written down: some more may be used.
    pub fn reserve(&mut self) {
        let next = self.next();
        self.ceilings.0.raise(next);
        self.ceilings.1.raise(self.rtx_seq);
    }

    /// Nothing may go out until it is [reserved](Self::reserve).
    pub fn hold(&mut self) {
        self.ceilings.0.below = self.next();
        self.ceilings.1.below = self.rtx_seq;
    }

    /// Goes on behind whoever died, of whom this was written down last. The receiver's timeline goes on with the next key frame;
    /// nothing may go out until it is [reserved](Self::reserve).
    pub fn leap(&mut self, written: &StreamNumbers) {
        let next = self.ceilings.0.leap(written.stream);
        self.rtx_seq = self.ceilings.1.leap(written.rtx);
        self.newest = written.newest.map(|newest| Newest {
            seq: SeqNo(next.0 - 1),
            picture_id: newest.picture_id.wrapping_add(PICTURES.into()),
            tl0: newest.tl0.wrapping_add(PICTURES),
            ..newest
        });
        if self.newest.is_none() {
            self.first_seq = next;
            self.current = None;
        }
        // A stream that begins at 0 has nothing before it.
        self.sent = next.0.checked_sub(1).map_or_else(ReplayWindow::default, |last| ReplayWindow::after(SeqNo(last)));
        self.history.clear();
        self.suspended = true;
    }
}
