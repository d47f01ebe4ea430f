//! The least round trip of late: what a way takes when nothing waits in front of it.
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Halves of the window: a way that has become longer is known for what it is after ten to twenty seconds.
const HALF_US: i64 = 10_000_000;

/// The least of the last ten to twenty seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LeastRoundTrip {
    /// Of this half and of the one before, and when this one began.
    halves: [Option<Duration>; 2],
    began: i64,
}

impl LeastRoundTrip {
    /// A round trip, at a time in microseconds.
    pub fn note(&mut self, at: i64, round_trip: Duration) {
        if at - self.began >= HALF_US {
            self.halves = [None, self.halves[0]];
            self.began = at;
        }
        self.halves[0] = Some(self.halves[0].map_or(round_trip, |least| least.min(round_trip)));
    }

    /// The least one, once there is any.
    pub fn get(&self) -> Option<Duration> {
        self.halves.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_forgotten_in_time() {
        let mut least = LeastRoundTrip::default();
        assert_eq!(least.get(), None);
        for (at, ms) in [(0, 50), (1, 20), (9, 90), (12, 80)] {
            least.note(at * 1_000_000, Duration::from_millis(ms));
            assert!(least.get().is_some_and(|found| found.as_millis() <= 50));
        }
        assert_eq!(least.get(), Some(Duration::from_millis(20)));
        least.note(23_000_000, Duration::from_millis(85));
        assert_eq!(least.get(), Some(Duration::from_millis(80)));
    }
}
