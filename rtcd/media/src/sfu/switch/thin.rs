//! As many whole frames of a layer as fit for a receiver that cannot carry all of it. A decoder cannot do without a frame
//! in between, so that what follows a frame that was left out waits for the next key frame.
use crate::sfu::Meta;
use crate::sfu::bandwidth::Bitrate;
use crate::sfu::pacer::FrameBudget;
use std::time::Instant;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// It goes out.
    Goes,
    /// It goes out as the first one after something was left out: the numbering goes on without a hole.
    Begins,
    /// It is left out.
    LeftOut,
}

/// Which frames of one outgoing stream go out.
#[derive(Debug)]
pub(super) struct Thin {
    budget: FrameBudget,
    /// The timestamp of the frame that is being sent or left out, and whether it goes out.
    frame: Option<(u32, bool)>,
    /// A frame was left out, and no key frame has gone out since.
    is_broken: bool,
}

impl Thin {
    /// `is_broken`: the receiver waits for a key frame already.
    pub fn new(now: Instant, is_broken: bool) -> Self {
        Self { budget: FrameBudget::new(now), frame: None, is_broken }
    }

    pub fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        self.budget.set_rate(now, rate);
    }

    /// Whether the receiver waits for a key frame.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether there is room for a frame: the time to ask for a key frame if the receiver waits for one.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.budget.admits(now)
    }

    /// What becomes of a packet of a frame.
    pub fn admit(&mut self, now: Instant, meta: &Meta, len: usize) -> Passage {
        let passage = match self.frame {
            Some((timestamp, true)) if timestamp == meta.timestamp => Passage::Goes,
            Some((timestamp, false)) if timestamp == meta.timestamp => Passage::LeftOut,
            // Of an earlier frame, repaired: the rewriter knows whether that went out.
            Some((timestamp, _)) if (meta.timestamp.wrapping_sub(timestamp) as i32) < 0 => return Passage::Goes,
            _ => {
                let goes = (!self.is_broken || meta.keyframe) && self.budget.admits(now);
                self.frame = Some((meta.timestamp, goes));
                let begins = std::mem::replace(&mut self.is_broken, !goes) && goes;
                match (goes, begins) {
                    (false, _) => Passage::LeftOut,
                    (true, false) => Passage::Goes,
                    (true, true) => Passage::Begins,
                }
            }
        };
        if passage != Passage::LeftOut {
            self.budget.charge(len);
        }
        passage
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_frame_goes_out_whole_and_after_one_that_did_not_comes_a_key_frame() {
        let start = Instant::now();
        let mut thin = Thin::new(start, true);
        thin.set_rate(start, Bitrate::kbit(80));
        let mut admit = |ms: u64, timestamp: u32, keyframe: bool| {
            let meta = Meta { timestamp, keyframe, ..Meta::default() };
            thin.admit(start + Duration::from_millis(ms), &meta, 1000)
        };
        assert_eq!(admit(0, 1, false), Passage::LeftOut, "it waits for a key frame");
        assert_eq!(admit(1, 2, true), Passage::Begins);
        assert_eq!(admit(1, 2, false), Passage::Goes, "the rest of that frame");
        assert_eq!(admit(100, 3, false), Passage::LeftOut, "2000 octets take 200 ms");
        assert_eq!(admit(300, 4, false), Passage::LeftOut, "there is room, but no frame before it");
        assert_eq!(admit(300, 2, false), Passage::Goes, "repaired: the rewriter has the last word");
        assert_eq!(admit(500, 5, true), Passage::Begins);
    }
}
