//! As many whole frames of a layer as fit for a receiver that cannot carry all of it. A decoder cannot do without a frame
//! in between, so that what follows a frame that was left out waits for the next key frame.
use crate::sfu::Meta;
use crate::sfu::bandwidth::Bitrate;
use crate::sfu::pacer::FrameBudget;
use crate::sfu::rewrite::Rewriter;
use std::time::Instant;

/// Which frames of one outgoing stream go out.
#[derive(Debug)]
pub(super) struct Thin {
    budget: FrameBudget,
    /// The timestamp of the frame that is being sent or left out, and whether it goes out.
    frame: Option<(u32, bool)>,
}

impl Thin {
    pub fn new(now: Instant) -> Self {
        Self { budget: FrameBudget::new(now), frame: None }
    }

    pub fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        self.budget.set_rate(now, rate);
    }

    /// Whether there is room for a frame: the time to ask for a key frame if the receiver waits for one.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.budget.admits(now)
    }

    /// Whether a packet goes out. The first one that does not suspends the stream.
    pub fn admits(&mut self, now: Instant, meta: &Meta, len: usize, rewriter: &mut Rewriter) -> bool {
        let admitted = match self.frame {
            Some((timestamp, admitted)) if timestamp == meta.timestamp => admitted,
            // Of an earlier frame, repaired: the rewriter knows whether that went out.
            Some((timestamp, _)) if (meta.timestamp.wrapping_sub(timestamp) as i32) < 0 => return true,
            _ => {
                let decodable = rewriter.current().is_some() || meta.keyframe;
                let admitted = decodable && self.budget.admits(now);
                if !admitted {
                    rewriter.suspend();
                }
                self.frame = Some((meta.timestamp, admitted));
                admitted
            }
        };
        if admitted {
            self.budget.charge(len);
        }
        admitted
    }
}
