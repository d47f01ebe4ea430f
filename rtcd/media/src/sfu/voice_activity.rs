//! Voice activity from the audio level extension (contract, section 5): how much the level varies tells speech from
//! silence and from steady noise.
use std::time::{Duration, Instant};

/// Levels looked at: one second of 20 ms packets.
const WINDOW: usize = 50;
/// Voice begins above this standard deviation, in dB.
const ON_ABOVE: f32 = 10.0;
/// Voice ends below this standard deviation, in dB.
const OFF_BELOW: f32 = 4.0;
/// Voice does not end sooner than this after its last activation.
const HOLD: Duration = Duration::from_secs(2);

/// The detector of one voice track.
#[derive(Debug, Clone)]
pub struct VoiceActivity {
    levels: [u8; WINDOW],
    len: usize,
    next: usize,
    sum: u32,
    sum_of_squares: u32,
    active_since: Option<Instant>,
}

impl Default for VoiceActivity {
    fn default() -> Self {
        Self { levels: [0; WINDOW], len: 0, next: 0, sum: 0, sum_of_squares: 0, active_since: None }
    }
}

impl VoiceActivity {
    /// A level has come: -dBov, 0 (loudest) to 127 (silence). `Some` when voice has begun or ended.
    pub fn handle_level(&mut self, now: Instant, level: u8) -> Option<bool> {
        let level = level & 0x7f;
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

    #[test]
    fn muting_ends_voice_at_once() {
        let mut detector = VoiceActivity::default();
        feed(&mut detector, &mut Instant::now(), (0..60).map(|at| if at % 2 == 0 { 10 } else { 90 }));
        assert!(detector.reset());
        assert!(!detector.reset());
    }
}
