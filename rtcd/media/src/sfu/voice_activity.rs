//! Voice activity from the audio level extension (contract, section 5): how much the level varies tells speech from
//! silence and from steady noise.
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// Levels looked at: one second of 20 ms packets.
const WINDOW: usize = 50;
/// Voice begins above this standard deviation, in dB.
const ON_ABOVE: f32 = 10.0;
/// Voice ends below this standard deviation, in dB.
const OFF_BELOW: f32 = 4.0;
/// Voice does not end sooner than this after its last activation.
const HOLD: Duration = Duration::from_secs(2);
/// What one level stands for.
const STEP: Duration = Duration::from_millis(20);
/// A pause longer than this is none of the network: the sender has nothing to say (DTX sends a packet every 400 ms) or
/// sends no more. The level is then what it was, for each step.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a voice that is on is looked at, packets or not.
const LOOK: Duration = Duration::from_millis(250);

/// The detector of one voice track.
#[serde_as]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VoiceActivity {
    #[serde_as(as = "[_; WINDOW]")]
    levels: [u8; WINDOW],
    len: usize,
    next: usize,
    sum: u32,
    sum_of_squares: u32,
    #[serde_as(as = "Option<Age>")]
    active_since: Option<Instant>,
    /// The last level, and until when it has been counted.
    #[serde_as(as = "Option<(_, Age)>")]
    last: Option<(u8, Instant)>,
}

impl Default for VoiceActivity {
    fn default() -> Self {
        Self { levels: [0; WINDOW], len: 0, next: 0, sum: 0, sum_of_squares: 0, active_since: None, last: None }
    }
}

impl VoiceActivity {
    /// A level has come: -dBov, 0 (loudest) to 127 (silence). `Some` when voice has begun or ended.
    pub fn handle_level(&mut self, now: Instant, level: u8) -> Option<bool> {
        let ended = self.pass(now);
        let level = level & 0x7f;
        self.last = Some((level, now));
        self.count(level);
        // Voice that ends and begins within one step has not ended.
        self.judge(now).or(ended)
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come. `Some` when voice has ended.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<bool> {
        self.pass(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout): voice that is on may end without a packet.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.active_since?;
        self.last.map(|(_, counted)| counted + LOOK)
    }

    /// Counts the steps of a pause.
    fn pass(&mut self, now: Instant) -> Option<bool> {
        let (level, counted) = self.last?;
        let silent = now.saturating_duration_since(counted);
        if silent < PAUSE {
            return None;
        }
        let steps = (silent.as_millis() / STEP.as_millis()) as usize;
        // More than a window of the same level changes nothing any more; the hold is by the clock.
        for step in 0..steps.min(2 * WINDOW) {
            self.count(level);
            self.judge_activation(counted + STEP * step as u32);
        }
        self.last = Some((level, counted + STEP * steps as u32));
        self.judge(now).filter(|active| !active)
    }

    fn count(&mut self, level: u8) {
        if self.len == WINDOW {
            let old = u32::from(self.levels[self.next]);
            self.sum -= old;
            self.sum_of_squares -= old * old;
        } else {
            self.len += 1;
        }
        self.levels[self.next] = level;
        self.next = (self.next + 1) % WINDOW;
        self.sum += u32::from(level);
        self.sum_of_squares += u32::from(level) * u32::from(level);
    }

    /// Voice that is on and still varies is kept on.
    fn judge_activation(&mut self, at: Instant) {
        if self.active_since.is_some() && self.deviation() > ON_ABOVE {
            self.active_since = Some(at);
        }
    }

    fn judge(&mut self, now: Instant) -> Option<bool> {
        if self.len < WINDOW {
            return None;
        }
        let deviation = self.deviation();
        if deviation > ON_ABOVE {
            let begun = self.active_since.is_none();
            self.active_since = Some(now);
            return begun.then_some(true);
        }
        let since = self.active_since?;
        if deviation < OFF_BELOW && now.saturating_duration_since(since) >= HOLD {
            self.active_since = None;
            return Some(false);
        }
        None
    }

    fn deviation(&self) -> f32 {
        let mean = self.sum as f32 / WINDOW as f32;
        (self.sum_of_squares as f32 / WINDOW as f32 - mean * mean).max(0.0).sqrt()
    }

    /// Muted: forget everything. Whether voice has ended by it.
    pub fn reset(&mut self) -> bool {
        let was_active = self.active_since.is_some();
        *self = Self::default();
        was_active
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    /// Feeds a level every 20 ms; returns the changes.
    fn feed(detector: &mut VoiceActivity, now: &mut Instant, levels: impl Iterator<Item = u8>) -> Vec<bool> {
        levels
            .filter_map(|level| {
                *now += Duration::from_millis(20);
                detector.handle_level(*now, level)
            })
            .collect()
    }

    #[test]
    fn speech_turns_it_on_and_silence_turns_it_off_after_the_hold() {
        let mut detector = VoiceActivity::default();
        let mut now = Instant::now();
        assert_eq!(feed(&mut detector, &mut now, (0..200).map(|_| 127)), []);
        assert_eq!(feed(&mut detector, &mut now, (0..100).map(|at| if at % 10 < 5 { 30 } else { 80 })), [true]);
        assert_eq!(feed(&mut detector, &mut now, (0..99).map(|_| 127)), [], "held for 2 s");
        assert_eq!(feed(&mut detector, &mut now, (0..100).map(|_| 127)), [false]);
    }

    #[test]
    fn a_steady_noise_is_no_voice() {
        let mut detector = VoiceActivity::default();
        assert_eq!(feed(&mut detector, &mut Instant::now(), (0..500).map(|at| 40 + at as u8 % 3)), []);
    }

    /// Speaks for two seconds.
    fn speaking(now: &mut Instant) -> VoiceActivity {
        let mut detector = VoiceActivity::default();
        assert_eq!(feed(&mut detector, now, (0..100).map(|at| if at % 10 < 5 { 30 } else { 80 })), [true]);
        detector
    }

    /// Fires the timer until voice ends; how long that took.
    fn ends_by_itself(detector: &mut VoiceActivity, now: Instant) -> Duration {
        for _ in 0..100 {
            let due = detector.next_timeout().expect("it is on");
            if detector.handle_timeout(due) == Some(false) {
                return due - now;
            }
        }
        panic!("voice never ends");
    }

    #[test]
    fn a_voice_whose_packets_stop_ends_by_the_clock() {
        let mut now = Instant::now();
        let took = ends_by_itself(&mut speaking(&mut now), now);
        assert!(took >= HOLD && took < Duration::from_secs(4), "{took:?}");
    }

    #[test]
    fn silence_of_a_sender_that_saves_packets_ends_voice_in_seconds() {
        let mut now = Instant::now();
        let mut detector = speaking(&mut now);
        let begun = now;
        // The levels of comfort noise, each 400 ms.
        let ended = (0..100).find(|_| {
            now += Duration::from_millis(400);
            detector.handle_level(now, 72) == Some(false)
        });
        assert!(ended.is_some() && now - begun < Duration::from_secs(5), "{:?}", now - begun);
        assert_eq!(detector.next_timeout(), None);
        let again = (0..100).find_map(|_| {
            now += Duration::from_millis(400);
            detector.handle_level(now, 72)
        });
        assert_eq!(again, None, "noise alone is no voice");
    }

    #[test]
    fn a_voice_that_goes_on_is_not_ended_by_its_timer() {
        let mut now = Instant::now();
        let mut detector = speaking(&mut now);
        for at in 0..500 {
            now += Duration::from_millis(20);
            assert_eq!(detector.handle_level(now, if at % 10 < 5 { 30 } else { 80 }), None);
            if detector.next_timeout().is_some_and(|due| due <= now) {
                assert_eq!(detector.handle_timeout(now), None);
            }
        }
    }

    #[test]
    fn muting_ends_voice_at_once() {
        let mut detector = VoiceActivity::default();
        feed(&mut detector, &mut Instant::now(), (0..60).map(|at| if at % 2 == 0 { 10 } else { 90 }));
        assert!(detector.reset());
        assert!(!detector.reset());
    }
}
