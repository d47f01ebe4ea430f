//! Which packets of a track's layers are meant for one receiver: those of one layer, until a key frame of the wanted one
//! begins; and where not all of it fits, as many whole frames as fit. What follows a frame that was left out waits for the
//! next key frame, since a decoder cannot do without a frame in between.
//!
//! Packets are admitted when they come, and may have to wait for their turn after that: the rewriter sees them when they
//! leave.
use crate::sfu::bandwidth::Bitrate;
use crate::sfu::pacer::FrameBudget;
use crate::sfu::{Layer, Meta};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// It is left out.
    LeftOut,
    /// It goes out.
    Goes,
    /// It goes out as the first one of another layer.
    Switches,
    /// It goes out as the first one after something was left out: the numbering goes on without a hole.
    Begins,
}

/// The choice of packets for one receiver of one track.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Admission {
    target: Layer,
    /// The layer that is admitted; `None`: a key frame of the target is waited for.
    layer: Option<Layer>,
    /// Not all of the layer fits.
    budget: Option<FrameBudget>,
    /// The timestamp of the newest frame.
    frame: Option<u32>,
}

impl Admission {
    /// Waits for a key frame of the lowest layer.
    pub fn new() -> Self {
        Self { target: Layer(0), layer: None, budget: None, frame: None }
    }

    /// The layer that is wanted.
    pub fn target(&self) -> Layer {
        self.target
    }

    /// Wants another layer from its next key frame on; whether that is news.
    pub fn set_target(&mut self, layer: Layer) -> bool {
        std::mem::replace(&mut self.target, layer) != layer
    }

    /// All frames fit, or as many as fit into a rate.
    pub fn set_limit(&mut self, now: Instant, limit: Option<Bitrate>) {
        match limit {
            None => self.budget = None,
            Some(rate) => self.budget.get_or_insert_with(|| FrameBudget::new(now)).set_rate(now, rate),
        }
    }

    /// Whether not all frames fit.
    pub fn is_limited(&self) -> bool {
        self.budget.is_some()
    }

    /// Whether a key frame of the target is waited for.
    pub fn awaits_keyframe(&self) -> bool {
        self.layer != Some(self.target)
    }

    /// Whether nothing goes out until it comes.
    pub fn is_broken(&self) -> bool {
        self.layer.is_none()
    }

    /// Whether there is room for a frame now.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.budget.as_mut().is_none_or(|budget| budget.admits(now))
    }

    /// Something that was admitted has not gone out: nothing does until the next key frame.
    pub fn interrupt(&mut self) {
        self.layer = None;
    }

    /// What becomes of a packet.
    #[inline]
    pub fn admit(&mut self, now: Instant, meta: &Meta, len: usize) -> Passage {
        let passage = if self.layer == Some(meta.layer) { self.go_on(now, meta) } else { self.begin(now, meta) };
        if passage != Passage::LeftOut
            && let Some(budget) = &mut self.budget
        {
            budget.charge(len);
        }
        passage
    }

    /// A packet of a layer that does not run yet.
    fn begin(&mut self, now: Instant, meta: &Meta) -> Passage {
        if meta.layer != self.target || !meta.keyframe || !self.has_room(now) {
            return Passage::LeftOut;
        }
        self.frame = Some(meta.timestamp);
        match self.layer.replace(meta.layer) {
            Some(_) => Passage::Switches,
            None => Passage::Begins,
        }
    }

    fn go_on(&mut self, now: Instant, meta: &Meta) -> Passage {
        // The rest of the frame, or of an earlier one that was repaired: the rewriter knows whether that went out.
        if self.frame.is_some_and(|frame| (meta.timestamp.wrapping_sub(frame) as i32) <= 0) {
            return Passage::Goes;
        }
        self.frame = Some(meta.timestamp);
        if self.has_room(now) {
            return Passage::Goes;
        }
        self.layer = None;
        Passage::LeftOut
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;
    use std::time::Duration;

    fn packet(layer: u8, timestamp: u32, keyframe: bool) -> Meta {
        Meta { layer: Layer(layer), timestamp, keyframe, ..Meta::default() }
    }

    #[test]
    fn the_old_layer_goes_on_until_a_key_frame_of_the_wanted_one() {
        let now = Instant::now();
        let mut admission = Admission::new();
        let admit = |admission: &mut Admission, packet| admission.admit(now, &packet, 1000);
        assert_eq!(admit(&mut admission, packet(0, 1, false)), Passage::LeftOut, "nothing to begin with");
        assert_eq!(admit(&mut admission, packet(1, 1, true)), Passage::LeftOut, "of another layer");
        assert_eq!(admit(&mut admission, packet(0, 2, true)), Passage::Begins);
        assert!(admission.set_target(Layer(1)) && admission.awaits_keyframe());
        assert_eq!(admit(&mut admission, packet(1, 3, false)), Passage::LeftOut);
        assert_eq!(admit(&mut admission, packet(0, 3, false)), Passage::Goes);
        assert_eq!(admit(&mut admission, packet(1, 4, true)), Passage::Switches);
        assert_eq!(admit(&mut admission, packet(1, 4, false)), Passage::Goes);
        assert_eq!(admit(&mut admission, packet(0, 5, true)), Passage::LeftOut, "that layer is over");
        admission.interrupt();
        assert_eq!(admit(&mut admission, packet(1, 6, false)), Passage::LeftOut);
        assert_eq!(admit(&mut admission, packet(1, 7, true)), Passage::Begins);
    }

    #[test]
    fn a_frame_goes_out_whole_and_after_one_that_did_not_comes_a_key_frame() {
        let start = Instant::now();
        let mut admission = Admission::new();
        admission.set_limit(start, Some(Bitrate::kbit(80)));
        let mut admit = |ms: u64, timestamp: u32, keyframe: bool| {
            admission.admit(start + Duration::from_millis(ms), &packet(0, timestamp, keyframe), 1000)
        };
        assert_eq!(admit(0, 1, false), Passage::LeftOut, "it waits for a key frame");
        assert_eq!(admit(1, 2, true), Passage::Begins);
        assert_eq!(admit(1, 2, false), Passage::Goes, "the rest of that frame");
        assert_eq!(admit(100, 3, false), Passage::LeftOut, "2000 octets take 200 ms");
        assert_eq!(admit(300, 4, false), Passage::LeftOut, "there is room, but no frame before it");
        assert_eq!(admit(500, 5, true), Passage::Begins);
        assert_eq!(admit(500, 2, false), Passage::Goes, "repaired: the rewriter has the last word");
    }
}
