//! A bit rate over the last moments of some clock.
use super::Bitrate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One bucket. Two frames of a screen share at 5 frames/s are 200 ms apart: ten buckets hold two and a half of them.
const BUCKET_US: i64 = 50_000;
const BUCKETS: usize = 10;
/// The latest moments: 150 to 200 ms; and the octets from which on a packet more or less does not matter in them.
const RECENT: usize = 4;
const ENOUGH: u64 = 8 * 1200;

/// Octets of the last half second, in buckets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RateWindow {
    octets: [u32; BUCKETS],
    /// The newest bucket, counted from the clock's zero.
    newest: i64,
    /// The first bucket that ever held something, and the newest time.
    began: Option<i64>,
    latest: i64,
}

impl RateWindow {
    /// So many octets at this time, in microseconds. What is older than the window is not counted.
    #[inline]
    pub fn add(&mut self, at: i64, octets: u32) {
        self.advance(at);
        let bucket = at.div_euclid(BUCKET_US);
        if bucket > self.newest - BUCKETS as i64 {
            let bucket = &mut self.octets[bucket.rem_euclid(BUCKETS as i64) as usize];
            *bucket = bucket.saturating_add(octets);
        }
    }

    /// Time passes.
    pub fn advance(&mut self, at: i64) {
        let bucket = at.div_euclid(BUCKET_US);
        if self.began.is_none() {
            self.began = Some(at);
            self.newest = bucket;
            self.latest = at;
        }
        self.latest = self.latest.max(at);
        let steps = bucket.saturating_sub(self.newest);
        for step in 1..=steps.min(BUCKETS as i64) {
            self.octets[(self.newest + step).rem_euclid(BUCKETS as i64) as usize] = 0;
        }
        self.newest = self.newest.max(bucket);
    }

    /// Bit rate of the window; `None` until it has been open for half of its length.
    pub fn rate(&self) -> Option<Bitrate> {
        self.rate_of(BUCKETS)
    }

    /// Bit rate of the latest moments, if they saw enough. Behind a queue it is what the way takes, whatever was sent before.
    pub fn recent(&self) -> Option<Bitrate> {
        self.rate_of(RECENT).filter(|_| self.octets_of(RECENT) >= ENOUGH)
    }

    fn octets_of(&self, buckets: usize) -> u64 {
        let first = self.newest - (buckets as i64 - 1);
        (first..=self.newest).map(|bucket| u64::from(self.octets[bucket.rem_euclid(BUCKETS as i64) as usize])).sum()
    }

    fn rate_of(&self, buckets: usize) -> Option<Bitrate> {
        let first = self.newest - (buckets as i64 - 1);
        let open = (self.latest - first * BUCKET_US).min(self.latest - self.began?);
        let octets = self.octets_of(buckets);
        let enough = open >= BUCKET_US * buckets as i64 / 2;
        enough.then(|| Bitrate::of(octets, Duration::from_micros(open as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_second() {
        let mut window = RateWindow::default();
        for at in 0..200 {
            window.add(at * 10_000, 1250);
            assert_eq!(window.rate().is_some(), at >= 25, "{at}");
        }
        let rate = window.rate().map_or(0, |rate| rate.0);
        assert!((980_000..1_050_000).contains(&rate), "{rate}");
        window.add(2_000_000, 12_500);
        let recent = window.recent().map_or(0, |recent| recent.0);
        assert!(recent > 1_400_000 && recent < 1_700_000, "{recent}");
        let rate = window.rate().map_or(0, |rate| rate.0);
        window.add(2_000_000 - 10_000_000, 1_000_000);
        assert_eq!(window.rate().map(|rate| rate.0), Some(rate), "the past is past");
        window.advance(10_000_000);
        assert_eq!(window.rate(), Some(Bitrate::ZERO));
    }
}
