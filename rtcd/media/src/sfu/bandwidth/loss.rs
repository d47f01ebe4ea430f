//! The loss-based limit. Loss means congestion only if it goes away when less is sent: what stays is the way's own, as on
//! many radio links, and gives no reason to send less.
use super::Bitrate;
use serde::{Deserialize, Serialize};

/// Loss is judged over at least so many packets and microseconds.
const MIN_PACKETS: f64 = 20.0;
const INTERVAL_US: i64 = 500_000;
/// Weight of the past at each judgement, and packets that must stand behind a limit.
const MEMORY: f64 = 0.7;
const MIN_EVIDENCE: f64 = 50.0;
/// More than this is acted upon (some more than the draft's 10 %), or so much more than the way's own, ...
const TOLERATED: f64 = 0.12;
const TOLERATED_ABOVE_INHERENT: f64 = 0.08;
/// ... and so many standard deviations more than that: few packets prove little.
const CHANCE: f64 = 2.0;
/// More than this is never taken for the way's own.
const MAX_INHERENT: f64 = 0.35;
/// What is left of the arriving bit rate.
const DECREASE: f64 = 0.95;
/// The least limit: voice fits.
const MIN_LIMIT: Bitrate = Bitrate::kbit(80);
/// Time after which a limit must have shown its effect.
const EFFECT_US: i64 = 1_500_000;
/// Part of a probe that must arrive, besides what the way always loses, for it to prove something.
const COMPLETE: f64 = 0.9;
/// Growth of the limit per second.
const INCREASE: f64 = 1.08;

/// Loss of one receiver's packets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LossControl {
    limit: Option<Bitrate>,
    /// When the limit was set, in microseconds. Packets that were sent before say nothing about it.
    limited: i64,
    inherent: f64,
    /// Packets since the last judgement, and the smoothed ones before: received, lost.
    fresh: (f64, f64),
    smoothed: (f64, f64),
    judged: i64,
}

impl LossControl {
    /// No more than this, if loss says so.
    pub fn limit(&self) -> Option<Bitrate> {
        self.limit
    }

    /// Part that is lost.
    pub fn loss(&self) -> f64 {
        let (received, lost) = (self.smoothed.0 + self.fresh.0, self.smoothed.1 + self.fresh.1);
        if received + lost > 0.0 { lost / (received + lost) } else { 0.0 }
    }

    /// A packet that was sent then has arrived or is lost.
    pub fn count(&mut self, sent: i64, is_lost: bool) {
        if sent >= self.limited {
            let counted = if is_lost { &mut self.fresh.1 } else { &mut self.fresh.0 };
            *counted += 1.0;
        }
    }

    /// Judges what was counted. `acknowledged` is what arrives, `sent` what is sent, `estimate` what delays allow.
    pub fn update(&mut self, now: i64, acknowledged: Option<Bitrate>, sent: Option<Bitrate>, estimate: Bitrate) {
        let elapsed = now - self.judged;
        if elapsed < INTERVAL_US || self.fresh.0 + self.fresh.1 < MIN_PACKETS {
            return;
        }
        self.judged = now;
        let (received, lost) = std::mem::take(&mut self.fresh);
        self.smoothed = (self.smoothed.0 * MEMORY + received, self.smoothed.1 * MEMORY + lost);
        let loss = self.loss();
        if loss < self.inherent {
            self.inherent += (loss - self.inherent) * (1.0 - MEMORY);
        }
        if loss > self.tolerated() {
            let (Some(acknowledged), Some(sent)) = (acknowledged, sent) else { return };
            if self.smoothed.0 + self.smoothed.1 >= MIN_EVIDENCE {
                self.too_much(now, loss, acknowledged, sent);
            }
        } else if let Some(limit) = self.limit {
            let grown = limit.times(INCREASE.powf(elapsed.min(2_000_000) as f64 / 1e6));
            self.limit = Some(grown).filter(|grown| *grown < estimate.times(INCREASE));
        }
    }

    fn tolerated(&self) -> f64 {
        let expected = self.inherent.max(TOLERATED);
        let packets = (self.smoothed.0 + self.smoothed.1).max(1.0);
        let chance = CHANCE * (expected * (1.0 - expected) / packets).sqrt();
        TOLERATED.max(self.inherent + TOLERATED_ABOVE_INHERENT) + chance
    }

    /// A probe of which such a part has arrived has got this much through.
    pub fn raise(&mut self, proven: Bitrate, arrived: f64) {
        if arrived >= COMPLETE * (1.0 - self.inherent) {
            self.limit = self.limit.map(|limit| limit.max(proven));
        }
    }

    fn too_much(&mut self, now: i64, loss: f64, acknowledged: Bitrate, sent: Bitrate) {
        match self.limit {
            Some(_) if now - self.limited < EFFECT_US => {}
            Some(limit) if sent <= limit.times(1.1) && loss <= MAX_INHERENT => {
                // Less is sent, and as much is lost.
                self.inherent = loss;
                self.limit = None;
            }
            _ => {
                let arrives = acknowledged.times(DECREASE).max(MIN_LIMIT);
                self.limit = Some(self.limit.map_or(arrives, |limit| limit.min(arrives)));
                self.limited = now;
                self.smoothed = (0.0, 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds at 100 packets/s of 1000 octets scaled to the limit; `lost` gives the part lost at a bit rate.
    fn run(control: &mut LossControl, begin: i64, wanted: Bitrate, lost: impl Fn(Bitrate) -> f64) -> Bitrate {
        let mut owed = 0.0;
        for at in 0..1000 {
            let now = begin + at * 10_000;
            let sent = control.limit().map_or(wanted, |limit| wanted.min(limit));
            let part = lost(sent);
            owed += part;
            control.count(now, owed >= 1.0);
            owed -= f64::from(owed >= 1.0);
            control.update(now, Some(sent.times(1.0 - part)), Some(sent), wanted);
        }
        control.limit().map_or(wanted, |limit| wanted.min(limit))
    }

    #[test]
    fn loss_that_less_does_not_cure_is_the_ways_own() {
        let mut control = LossControl::default();
        assert_eq!(run(&mut control, 0, Bitrate::kbit(2500), |_| 0.2), Bitrate::kbit(2500));
        let more = run(&mut control, 10_000_000, Bitrate::kbit(2500), |_| 0.5);
        assert!(more <= Bitrate::kbit(1250), "that much is nobody's own: {more}");
    }

    #[test]
    fn loss_of_a_way_that_takes_no_more_limits_what_is_sent() {
        let mut control = LossControl::default();
        let way = Bitrate::kbit(1000);
        let lost = |sent: Bitrate| sent.less(way).0 as f64 / sent.0 as f64;
        let sent = run(&mut control, 0, Bitrate::kbit(2500), lost);
        assert!(sent > Bitrate::kbit(850) && sent < Bitrate::kbit(1200), "{sent}");
        let sent = run(&mut control, 10_000_000, Bitrate::kbit(2500), |_| 0.0);
        assert!(sent > Bitrate::kbit(1700), "8 % a second more: {sent}");
    }

    #[test]
    fn some_loss_is_tolerated() {
        let mut control = LossControl::default();
        run(&mut control, 0, Bitrate::kbit(2500), |_| 0.1);
        assert_eq!(control.limit(), None);
        assert!((control.loss() - 0.1).abs() < 0.02);
    }
}
