//! Whether the queue on the way grows: a line through the latest delays, against a threshold that adapts itself
//! (draft-ietf-rmcat-gcc-02, sections 5.3 and 5.4, with a least squares line in place of the Kalman filter).
use super::groups::Variation;
use serde::{Deserialize, Serialize};

/// Groups that the line goes through.
const WINDOW: usize = 20;
/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// The slope is multiplied by the number of groups seen, up to this, and by the gain, to be compared with milliseconds.
const MAX_GROUPS: u64 = 60;
const GAIN: f64 = 4.0;
/// The threshold: at first, and its bounds.
const FIRST_THRESHOLD_MS: f64 = 12.5;
const MIN_THRESHOLD_MS: f64 = 6.0;
const MAX_THRESHOLD_MS: f64 = 600.0;
/// How fast it follows upwards and downwards, per millisecond.
const RISE: f64 = 0.0087;
const FALL: f64 = 0.039;
/// A slope this far above the threshold is a sudden event that it does not follow.
const MAX_FOLLOW_MS: f64 = 15.0;
/// Time since the last group that counts for following.
const MAX_FOLLOW_STEP_MS: f64 = 100.0;
/// A queue that grows for less long is none.
const OVERUSE_MS: f64 = 10.0;

/// What the delays say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Usage {
    /// The queue stays as it is.
    #[default]
    Normal,
    /// The queue grows: more is sent than the way takes.
    Over,
    /// The queue drains.
    Under,
}

/// The detector.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trendline {
    /// Arrival and smoothed delay, in milliseconds, a ring.
    points: [(f64, f64); WINDOW],
    seen: u64,
    zero: i64,
    accumulated_ms: f64,
    smoothed_ms: f64,
    threshold_ms: f64,
    last_slope: f64,
    followed: Option<i64>,
    /// For how long, and at how many groups, the slope has been above the threshold.
    over_ms: Option<(f64, u32)>,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            points: [(0.0, 0.0); WINDOW],
            seen: 0,
            zero: 0,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            threshold_ms: FIRST_THRESHOLD_MS,
            last_slope: 0.0,
            followed: None,
            over_ms: None,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    /// The verdict on all that was handled.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Two groups have arrived.
    pub fn handle(&mut self, variation: Variation) {
        if self.seen == 0 {
            self.zero = variation.at;
        }
        self.accumulated_ms += (variation.arrived - variation.sent) as f64 / 1000.0;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        self.points[(self.seen % WINDOW as u64) as usize] =
            ((variation.at - self.zero) as f64 / 1000.0, self.smoothed_ms);
        self.seen += 1;
        if self.seen >= WINDOW as u64 {
            self.judge(variation);
        }
    }

    /// Slope of the least squares line: milliseconds of delay per millisecond.
    fn slope(&self) -> Option<f64> {
        let count = WINDOW as f64;
        let (sum_x, sum_y) = self.points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (above, below) = self.points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
            (above + (x - mean_x) * (y - mean_y), below + (x - mean_x).powi(2))
        });
        (below > 0.0).then(|| above / below)
    }

    fn judge(&mut self, variation: Variation) {
        let slope = self.slope().unwrap_or(self.last_slope);
        let trend = self.seen.min(MAX_GROUPS) as f64 * slope * GAIN;
        if trend > self.threshold_ms {
            let step = variation.sent as f64 / 1000.0;
            // The first time we assume that half of the interval was like this.
            let (over, groups) = self.over_ms.map_or((step / 2.0, 1), |(over, groups)| (over + step, groups + 1));
            self.over_ms = Some((over, groups));
            if over > OVERUSE_MS && groups > 1 && slope >= self.last_slope {
                self.over_ms = None;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = None;
            self.usage = if trend < -self.threshold_ms { Usage::Under } else { Usage::Normal };
        }
        self.last_slope = slope;
        self.follow(trend.abs(), variation.at);
    }

    fn follow(&mut self, trend: f64, at: i64) {
        let elapsed = (at - self.followed.replace(at).unwrap_or(at)) as f64 / 1000.0;
        if trend > self.threshold_ms + MAX_FOLLOW_MS {
            return;
        }
        let speed = if trend < self.threshold_ms { FALL } else { RISE };
        self.threshold_ms += speed * (trend - self.threshold_ms) * elapsed.clamp(0.0, MAX_FOLLOW_STEP_MS);
        self.threshold_ms = self.threshold_ms.clamp(MIN_THRESHOLD_MS, MAX_THRESHOLD_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups 20 ms apart whose queue grows by `growth` microseconds at each.
    fn usage_after(
        trendline: &mut Trendline,
        at: &mut i64,
        groups: usize,
        growth: impl Fn(usize) -> i64,
    ) -> Vec<Usage> {
        let step = |group| {
            *at += 20_000 + growth(group);
            trendline.handle(Variation { sent: 20_000, arrived: 20_000 + growth(group), at: *at });
            trendline.usage()
        };
        (0..groups).map(step).collect()
    }

    #[test]
    fn a_growing_queue_is_overuse_and_a_draining_one_underuse() {
        let (mut trendline, mut at) = (Trendline::default(), 0);
        let steady = usage_after(&mut trendline, &mut at, 100, |_| 0);
        assert!(steady.iter().all(|usage| *usage == Usage::Normal));
        let growing = usage_after(&mut trendline, &mut at, 30, |_| 2000);
        let after = growing.iter().position(|usage| *usage == Usage::Over);
        assert!(after.is_some_and(|groups| groups < 15), "within 300 ms: {after:?}");
        let draining = usage_after(&mut trendline, &mut at, 60, |_| -2000);
        assert!(draining.contains(&Usage::Under));
        let steady = usage_after(&mut trendline, &mut at, 100, |_| 0);
        assert_eq!(steady.last(), Some(&Usage::Normal));
    }

    #[test]
    fn jitter_without_growth_is_not_overuse() {
        let (mut trendline, mut at) = (Trendline::default(), 0);
        let usages = usage_after(&mut trendline, &mut at, 500, |group| if group % 2 == 0 { 8000 } else { -8000 });
        let over = usages.iter().filter(|usage| **usage == Usage::Over).count();
        assert_eq!(over, 0);
    }
}
