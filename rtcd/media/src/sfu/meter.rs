//! How much a layer of a track has carried of late, and whether it still runs.
use super::bandwidth::Bitrate;
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// The window: two seconds hold ten frames of a screen's low layer.
const BUCKETS: usize = 16;
const BUCKET: Duration = Duration::from_millis(125);
/// A layer that has just begun with a key frame is not as large as that.
const LEAST_WINDOW: Duration = Duration::from_secs(1);
/// A layer that is silent for so long while another one runs has been stopped. Screens that do not change are sent once a
/// second, in all layers at once.
const STOPPED_AFTER: Duration = Duration::from_millis(1200);

/// Octets of the last two seconds.
#[serde_as]
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Meter {
    octets: [u32; BUCKETS],
    /// The newest bucket, counted from `began`.
    newest: u64,
    #[serde_as(as = "Age")]
    began: Instant,
    #[serde_as(as = "Age")]
    last: Instant,
}

impl Meter {
    /// A layer whose first packet has come.
    pub fn new(now: Instant) -> Self {
        Self { octets: [0; BUCKETS], newest: 0, began: now, last: now }
    }

    /// A packet of the layer.
    #[inline]
    pub fn add(&mut self, now: Instant, octets: usize) {
        self.advance(now);
        self.last = now;
        let bucket = &mut self.octets[self.newest as usize % BUCKETS];
        *bucket = bucket.saturating_add(octets as u32);
    }

    fn advance(&mut self, now: Instant) {
        let bucket = (now.saturating_duration_since(self.began).as_micros() / BUCKET.as_micros()) as u64;
        for passed in self.newest + 1..=bucket.min(self.newest + BUCKETS as u64) {
            self.octets[passed as usize % BUCKETS] = 0;
        }
        self.newest = self.newest.max(bucket);
    }

    /// The bit rate of the window that ends now.
    pub fn rate(&self, now: Instant) -> Bitrate {
        let mut meter = *self;
        meter.advance(now);
        let open = now.saturating_duration_since(meter.began).min(BUCKET * BUCKETS as u32).max(LEAST_WINDOW);
        Bitrate::of(meter.octets.iter().map(|octets| u64::from(*octets)).sum(), open)
    }

    /// Whether the layer still runs, when the newest packet of any layer of its track came at `newest`.
    pub fn is_alive(&self, newest: Instant) -> bool {
        newest.saturating_duration_since(self.last) < STOPPED_AFTER
    }

    /// Whether it has been watched long enough to know its rate.
    pub fn is_settled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= LEAST_WINDOW
    }

    /// When the newest packet came.
    pub fn last(&self) -> Instant {
        self.last
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_two_seconds() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for at in 0..50 {
            meter.add(start + Duration::from_millis(200 * at), 12_500);
        }
        let now = start + Duration::from_secs(10);
        let rate = meter.rate(now).0;
        assert!((450_000..=550_000).contains(&rate), "{rate}");
        assert_eq!(meter.rate(now + Duration::from_secs(3)), Bitrate::ZERO);
    }

    #[test]
    fn a_key_frame_at_the_beginning_is_not_taken_for_a_rate() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.add(start, 40_000);
        assert_eq!(meter.rate(start + Duration::from_millis(50)), Bitrate::kbit(320));
    }

    #[test]
    fn a_layer_has_stopped_when_others_go_on_without_it() {
        let start = Instant::now();
        let meter = Meter::new(start);
        assert!(meter.is_alive(start), "all of them are silent: the picture does not change");
        assert!(meter.is_alive(start + Duration::from_secs(1)));
        assert!(!meter.is_alive(start + STOPPED_AFTER));
    }
}
