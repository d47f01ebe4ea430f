//! The estimate for a receiver that knows receiver reports only: more and more until it loses (draft-ietf-rmcat-gcc-02,
//! section 6).
use super::{Bitrate, MAX_ESTIMATE};
use serde::{Deserialize, Serialize};

/// Acted upon at most once in so many microseconds: each stream has its own block in a report.
const INTERVAL_US: i64 = 900_000;
/// Loss below this lets the estimate grow, above that it shrinks.
const GROWS_BELOW: f64 = 0.02;
const SHRINKS_ABOVE: f64 = 0.10;
/// Growth before the first loss of note, and per second after it: up to so many times what is sent, and beyond that, where it
/// is a guess that costs the receiver a second of its voice each time that it is wrong.
const FAST: f64 = 2.0;
const SLOW: f64 = 1.08;
const KNOWN: f64 = 1.5;
const GUESSED: f64 = 1.02;
/// Loss alone never takes it below this: pictures now and then, and voice.
const MIN_LIMIT: Bitrate = Bitrate::kbit(150);

/// The estimate, and what the reports since it was last changed have said.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReportControl {
    limit: Bitrate,
    worst: f64,
    acted: Option<i64>,
    has_shrunk: bool,
}

impl ReportControl {
    pub fn new(limit: Bitrate) -> Self {
        Self { limit, worst: 0.0, acted: None, has_shrunk: false }
    }

    pub fn limit(&self) -> Bitrate {
        self.limit
    }

    /// A block has come: the part lost, what is sent, and what would be sent if there were room.
    pub fn handle(&mut self, now: i64, lost: f64, sent: Option<Bitrate>, wanted: Bitrate) {
        self.worst = self.worst.max(lost);
        let last = *self.acted.get_or_insert(now);
        if now - last < INTERVAL_US {
            return;
        }
        self.acted = Some(now);
        let lost = std::mem::take(&mut self.worst);
        if lost > SHRINKS_ABOVE {
            self.has_shrunk = true;
            let base = sent.map_or(self.limit, |sent| self.limit.min(sent));
            self.limit = base.times(1.0 - lost / 2.0).max(MIN_LIMIT.min(self.limit));
        } else if lost < GROWS_BELOW && self.limit < wanted.times(1.2) {
            let seconds = (now - last).min(5_000_000) as f64 / 1e6;
            let is_known = sent.is_some_and(|sent| self.limit < sent.times(KNOWN));
            let slow = if is_known { SLOW } else { GUESSED };
            self.limit = self.limit.times(if self.has_shrunk { slow.powf(seconds) } else { FAST }).min(MAX_ESTIMATE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_what_is_wanted_and_shrinks_with_loss() {
        let wanted = Bitrate::kbit(2500);
        let mut control = ReportControl::new(Bitrate::kbit(300));
        for second in 0..20 {
            control.handle(second * 1_000_000, 0.0, Some(Bitrate::kbit(300)), wanted);
        }
        assert_eq!(control.limit(), Bitrate::kbit(4800), "doubled until it was enough");
        control.handle(20_000_000, 0.5, Some(Bitrate::kbit(2500)), wanted);
        assert_eq!(control.limit(), Bitrate::kbit(1875));
        control.handle(21_000_000, 0.05, Some(Bitrate::kbit(1800)), wanted);
        assert_eq!(control.limit(), Bitrate::kbit(1875), "some loss: it stays");
        control.handle(22_000_000, 0.0, Some(Bitrate::kbit(1800)), wanted);
        assert_eq!(control.limit(), Bitrate::kbit(2025));
        control.handle(23_000_000, 0.0, Some(Bitrate::kbit(540)), wanted);
        assert_eq!(control.limit(), Bitrate(2_065_500), "so much is not sent");
    }

    #[test]
    fn blocks_of_one_report_count_once_and_the_worst_of_them() {
        let mut control = ReportControl::new(Bitrate::kbit(1000));
        control.handle(0, 0.0, None, Bitrate::kbit(900));
        control.handle(500_000, 0.4, None, Bitrate::kbit(900));
        control.handle(1_000_000, 0.0, None, Bitrate::kbit(900));
        control.handle(1_000_001, 0.4, None, Bitrate::kbit(900));
        assert_eq!(control.limit(), Bitrate::kbit(800));
    }

    #[test]
    fn loss_never_takes_all() {
        let mut control = ReportControl::new(Bitrate::kbit(1000));
        for second in 0..60 {
            control.handle(second * 1_000_000, 1.0, Some(Bitrate::kbit(40)), Bitrate::kbit(900));
        }
        assert_eq!(control.limit(), MIN_LIMIT);
    }
}
