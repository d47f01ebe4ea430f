//! One screen or camera of the model call: what the receiver is granted of it, and what it sees.
use rtcd_media::sfu::Layer;
use rtcd_media::sfu::allocation::{Grant, Kind};
use rtcd_media::sfu::pacer::FrameBudget;
use std::time::{Duration, Instant};

/// A key frame comes so long after it was asked for.
const KEYFRAME_DELAY: Duration = Duration::from_millis(150);

pub struct Track {
    pub kind: Kind,
    pub grant: Grant,
    /// The layer that the receiver sees, and when the key frame of another comes.
    pub current: Option<Layer>,
    pub keyframe_at: Option<Instant>,
    pub next_frame: [Instant; 2],
    pub frame: u32,
    pub budget: FrameBudget,
    pub received: Vec<(u32, u16)>,
    /// Complete frames: when.
    pub pictures: Vec<Duration>,
    /// Layer changes as the receiver sees them.
    pub changes: Vec<(Duration, Option<Layer>)>,
}

impl Track {
    pub fn new(kind: Kind, start: Instant) -> Self {
        Self {
            kind,
            grant: Grant::Paused,
            current: None,
            keyframe_at: None,
            next_frame: [start; 2],
            frame: 0,
            budget: FrameBudget::new(start),
            received: Vec::new(),
            pictures: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub fn set_grant(&mut self, now: Instant, start: Instant, grant: Grant) {
        if let Grant::Thin(_, rate) = grant {
            self.budget.set_rate(now, rate);
        }
        let before = std::mem::replace(&mut self.grant, grant);
        match grant.layer() {
            None if before.layer().is_some() => {
                self.current = None;
                self.keyframe_at = None;
                self.changes.push((now - start, None));
            }
            layer if layer == self.current => self.keyframe_at = None,
            layer if layer != before.layer() || self.keyframe_at.is_none() => {
                self.keyframe_at = Some(now + KEYFRAME_DELAY)
            }
            _ => {}
        }
    }

    pub fn receive(&mut self, at: Duration, frame: u32, of: u16) {
        let known = self.received.iter_mut().find(|(known, _)| *known == frame);
        let count = match known {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                if self.received.len() >= 64 {
                    self.received.remove(0);
                }
                self.received.push((frame, 1));
                1
            }
        };
        if count == of {
            self.pictures.push(at);
        }
    }
}
