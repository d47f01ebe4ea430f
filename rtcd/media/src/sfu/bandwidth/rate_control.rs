//! The delay-based estimate: up slowly while the queue is steady, down to what arrives when it grows
//! (draft-ietf-rmcat-gcc-02, section 5.5).
use super::trendline::Usage;
use super::{Bitrate, MAX_ESTIMATE, MIN_ESTIMATE};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is left of the arriving bit rate when the queue grows, so that it drains.
const DECREASE: f64 = 0.85;
/// Growth per second far from where it was last too much.
const INCREASE: f64 = 1.08;
/// The estimate does not grow beyond this many times what arrives: beyond that it would be a guess.
const MAX_OVER_ACKNOWLEDGED: f64 = 1.5;
/// And this much more, so that it can grow from nothing.
const HEADROOM: Bitrate = Bitrate::kbit(10);
/// Time in which a change shows, besides the round trip: the receiver reports some ten times a second.
const RESPONSE: Duration = Duration::from_millis(100);
/// Near a known capacity the estimate grows by one such packet per response.
const PACKET_BITS: f64 = 1200.0 * 8.0;
/// Less than this part of the estimate is sent: the sender has nothing more to send.
const APPLICATION_LIMITED: f64 = 0.65;
/// Of what such a sender sends so much must arrive, else it is the way that is the limit.
const ARRIVES: f64 = 0.7;
/// Weight of the newest overuse in the known capacity, and from which factor on it is forgotten.
const CAPACITY_WEIGHT: f64 = 0.3;
const CAPACITY_OUTGROWN: f64 = 1.3;

/// What the control looks at.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The delays.
    pub usage: Usage,
    /// What arrived in the last half second, once it is known.
    pub acknowledged: Option<Bitrate>,
    /// What arrived in the last moments.
    pub recent: Option<Bitrate>,
    /// What was sent in the last half second.
    pub sent: Option<Bitrate>,
    /// From a packet to the feedback on it.
    pub round_trip: Duration,
}

/// The estimate and its state.
#[derive(Debug, Serialize, Deserialize)]
pub struct RateControl {
    estimate: Bitrate,
    /// Nothing grows between an overuse and the first steady queue after it.
    holds: bool,
    /// Where overuse began, smoothed.
    capacity: Option<Bitrate>,
    /// When it was last looked at, when it last fell: microseconds.
    updated: Option<i64>,
    decreased: Option<i64>,
}

impl RateControl {
    pub fn new(estimate: Bitrate) -> Self {
        Self { estimate, holds: false, capacity: None, updated: None, decreased: None }
    }

    pub fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// When it last fell because of overuse.
    pub fn decreased(&self) -> Option<i64> {
        self.decreased
    }

    /// Sets it to what something better than delays has shown.
    pub fn set(&mut self, estimate: Bitrate) {
        self.estimate = estimate.clamp(MIN_ESTIMATE, MAX_ESTIMATE);
    }

    /// Feedback has come.
    pub fn update(&mut self, now: i64, observation: &Observation) {
        let elapsed = now - self.updated.replace(now).unwrap_or(now);
        match observation.usage {
            Usage::Over => self.decrease(now, observation),
            Usage::Under => self.holds = true,
            Usage::Normal if self.holds => self.holds = false,
            Usage::Normal => self.increase(elapsed, observation),
        }
    }

    fn decrease(&mut self, now: i64, observation: &Observation) {
        self.holds = true;
        let response = (observation.round_trip + RESPONSE).as_micros() as i64;
        if self.decreased.is_some_and(|last| now - last < response) {
            return;
        }
        // While a queue grows what arrives is what the way takes, in any window: a higher layer that has just begun is not in
        // the longer one.
        let acknowledged = observation.acknowledged.max(observation.recent).unwrap_or(self.estimate);
        let sent = observation.sent.unwrap_or(acknowledged);
        // Who sends little cannot tell how much there is room for: step by step instead of down to the little.
        let is_idle = self.is_idle(observation) && acknowledged >= sent.times(ARRIVES);
        let base = if is_idle { self.estimate.max(acknowledged) } else { acknowledged };
        if !is_idle {
            let known = self.capacity.filter(|known| acknowledged > known.times(0.5)).unwrap_or(acknowledged);
            self.capacity = Some(known.times(1.0 - CAPACITY_WEIGHT) + acknowledged.times(CAPACITY_WEIGHT));
        }
        self.decreased = Some(now);
        self.set(self.estimate.min(base.times(DECREASE)));
    }

    fn is_idle(&self, observation: &Observation) -> bool {
        observation.sent.is_some_and(|sent| sent < self.estimate.times(APPLICATION_LIMITED))
    }

    fn increase(&mut self, elapsed: i64, observation: &Observation) {
        let Some(acknowledged) = observation.acknowledged else { return };
        // What gets through while the queue is steady fits, whatever was thought before: a newcomer is sent more than the
        // estimate. No more than an overuse would leave of it, so that nothing is taken back that one has taken.
        let fits = observation.sent.map_or(acknowledged, |sent| sent.min(acknowledged)).times(DECREASE);
        if fits > self.estimate {
            return self.set(fits);
        }
        let most = acknowledged.times(MAX_OVER_ACKNOWLEDGED) + HEADROOM;
        if self.estimate >= most || self.is_idle(observation) {
            return;
        }
        if self.capacity.is_some_and(|known| acknowledged > known.times(CAPACITY_OUTGROWN)) {
            self.capacity = None;
        }
        let seconds = elapsed.clamp(0, 1_000_000) as f64 / 1e6;
        let grown = if self.capacity.is_some() {
            let response = (observation.round_trip + RESPONSE).as_secs_f64();
            self.estimate + Bitrate((PACKET_BITS * (seconds / response).min(1.0)) as u64)
        } else {
            self.estimate.times(INCREASE.powf(seconds)) + Bitrate::kbit(1)
        };
        self.set(grown.min(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(usage: Usage, acknowledged: u64, sent: u64) -> Observation {
        let (acknowledged, sent) = (Some(Bitrate::kbit(acknowledged)), Some(Bitrate::kbit(sent)));
        Observation { usage, acknowledged, recent: acknowledged, sent, round_trip: Duration::from_millis(50) }
    }

    #[test]
    fn overuse_leaves_less_than_what_arrives_once_per_response() {
        let mut control = RateControl::new(Bitrate::kbit(3000));
        control.update(0, &seen(Usage::Over, 1000, 2500));
        assert_eq!(control.estimate(), Bitrate::kbit(850));
        control.update(100_000, &seen(Usage::Over, 500, 800));
        assert_eq!(control.estimate(), Bitrate::kbit(850), "the change cannot have shown yet");
        control.update(200_000, &seen(Usage::Over, 500, 800));
        assert_eq!(control.estimate(), Bitrate::kbit(425));
    }

    #[test]
    fn a_sender_of_little_does_not_lose_all_of_its_estimate() {
        let mut control = RateControl::new(Bitrate::kbit(3000));
        control.update(0, &seen(Usage::Over, 40, 40));
        assert_eq!(control.estimate(), Bitrate::kbit(2550));
        control.update(1_000_000, &seen(Usage::Over, 300, 540));
        assert_eq!(control.estimate(), Bitrate::kbit(255), "what is sent does not arrive");
    }

    #[test]
    fn what_gets_through_while_the_queue_is_steady_fits() {
        let mut control = RateControl::new(Bitrate::kbit(300));
        // Nothing is known yet of what arrives.
        let unknown = |usage| Observation { acknowledged: None, recent: None, sent: None, ..seen(usage, 0, 0) };
        control.update(0, &unknown(Usage::Over));
        control.update(200_000, &unknown(Usage::Over));
        assert!(control.estimate() < Bitrate::kbit(220), "{}", control.estimate());
        control.update(400_000, &seen(Usage::Normal, 1600, 1800));
        assert!(control.estimate() < Bitrate::kbit(220), "the queue may still drain");
        control.update(500_000, &seen(Usage::Normal, 1600, 1800));
        assert_eq!(control.estimate(), Bitrate::kbit(1360));
        control.update(600_000, &seen(Usage::Normal, 1900, 200));
        assert!(control.estimate() < Bitrate::kbit(1400), "what had waited comes at once: {}", control.estimate());
    }

    #[test]
    fn a_steady_queue_lets_it_grow_as_far_as_is_known() {
        let mut control = RateControl::new(Bitrate::kbit(500));
        for at in 0..100 {
            control.update(at * 100_000, &seen(Usage::Normal, 500, 500));
        }
        let grown = control.estimate();
        assert!(grown > Bitrate::kbit(740) && grown <= Bitrate::kbit(760), "{grown}");
        control.update(10_000_000, &seen(Usage::Under, 500, 500));
        control.update(10_100_000, &seen(Usage::Normal, 5000, 5000));
        assert_eq!(control.estimate(), grown, "it holds until the queue is steady");
    }
}
