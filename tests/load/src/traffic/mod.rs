//! What participants send: voices, screens and cameras of the size and in the rhythm of browsers.
mod source;
mod vp8;

pub use source::Source;
pub use vp8::begins_key_frame;

use crate::trailer::Kind;
use std::time::Duration;

/// Opus: 20 ms of speech at some 36 kbit/s.
const VOICE_BYTES: usize = 90;
/// Chromium fills packets to about this much payload.
const MAX_PAYLOAD: usize = 1150;

/// How much a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What it carries.
    pub kind: Kind,
    /// 0 without simulcast.
    pub layer: u8,
    /// Its name in simulcast.
    pub rid: Option<&'static str>,
    bits_per_second: u64,
    pictures_per_second: u64,
}

impl Shape {
    /// Somebody who speaks.
    pub const VOICE: Self =
        Self { kind: Kind::Voice, layer: 0, rid: None, bits_per_second: 0, pictures_per_second: 50 };
    /// A screen in one encoding.
    pub const SCREEN: Self =
        Self { kind: Kind::Screen, layer: 0, rid: None, bits_per_second: 1_600_000, pictures_per_second: 20 };
    /// A screen in two, as the clients of Calls send it.
    pub const SCREEN_LAYERS: [Self; 2] = [
        Self { kind: Kind::Screen, layer: 1, rid: Some("l"), bits_per_second: 500_000, pictures_per_second: 5 },
        Self { kind: Kind::Screen, layer: 2, rid: Some("h"), bits_per_second: 2_500_000, pictures_per_second: 20 },
    ];
    /// A camera.
    pub const CAMERA: Self =
        Self { kind: Kind::Camera, layer: 0, rid: None, bits_per_second: 600_000, pictures_per_second: 20 };

    /// A picture does not leave at once: so many packets, then a pause. Chromium's pacer sends at 2.5 times the target rate;
    /// three packets every 5 ms are 5.5 Mbit/s, that of a picture which is somewhat larger than the average.
    pub const BURST: usize = 3;
    /// The pause.
    pub const BURST_EVERY: Duration = Duration::from_millis(5);

    /// Packets of a picture, or of 20 ms of a voice, and the bytes of each.
    pub fn packets(&self) -> (usize, usize) {
        if self.kind == Kind::Voice {
            return (1, VOICE_BYTES);
        }
        let packets = self.picture_bytes().div_ceil(MAX_PAYLOAD);
        (packets, self.picture_bytes() / packets)
    }

    /// Time between two pictures, or packets of a voice.
    pub fn every(&self) -> Duration {
        Duration::from_micros(1_000_000 / self.pictures_per_second)
    }

    fn picture_bytes(&self) -> usize {
        usize::try_from(self.bits_per_second / 8 / self.pictures_per_second).unwrap_or(usize::MAX)
    }
}

/// Packets that were sent while it was measured, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// When it is measured, in nanoseconds of [`crate::clock`].
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// From here on.
    pub start: u64,
    /// Before this.
    pub end: u64,
}

impl Window {
    /// Not yet.
    pub const NEVER: Self = Self { start: u64::MAX, end: u64::MAX };

    /// Whether something that was sent then is measured.
    pub fn holds(&self, sent: u64) -> bool {
        (self.start..self.end).contains(&sent)
    }
}
