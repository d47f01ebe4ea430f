//! How far apart turns are, by what came of it.
use std::time::Duration;

/// Turns begin at least so far apart where pauses pay: what comes within this time is read at once.
const TURN: Duration = Duration::from_millis(1);
/// The same where there is always something. Beside the 20 ms that a packet of voice holds, nobody hears this.
const BUSY_TURN: Duration = Duration::from_millis(2);
/// Weight of the newest turn: some hundred of them count.
const WEIGHT: f32 = 1.0 / 64.0;
/// A pause costs the way to sleep and back, half of what a turn for one report does: it pays where it spares every second turn.
const PAYS: f32 = 0.5;
const PAYS_NO_MORE: f32 = 0.35;
/// Nearly every pause gathers something: longer ones spare turns as well.
const ALWAYS: f32 = 0.95;
const ALWAYS_NO_MORE: f32 = 0.8;

/// The pace of a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The part of the turns that had something to do at the end of the pause before them, or would have had.
    gathered: f32,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Each packet is read when it comes.
    AtOnce,
    /// [`TURN`].
    Short,
    /// [`BUSY_TURN`].
    Long,
}

impl Pace {
    /// Of a worker that has nothing to do.
    pub(super) fn new() -> Self {
        Self { gathered: 0.0, step: Step::AtOnce }
    }

    /// Whether things are left to gather after a turn.
    pub(super) fn pauses(&self) -> bool {
        self.step != Step::AtOnce
    }

    /// How far apart turns are where there are pauses.
    pub(super) fn turn(&self) -> Duration {
        if self.step == Step::Long { BUSY_TURN } else { TURN }
    }

    /// A turn begins: whether the pause before it has gathered something, or would have if there had been one.
    pub(super) fn note(&mut self, has_gathered: bool) {
        self.gathered += (f32::from(u8::from(has_gathered)) - self.gathered) * WEIGHT;
        self.step = match self.step {
            Step::AtOnce if self.gathered > PAYS => Step::Short,
            Step::Short if self.gathered < PAYS_NO_MORE => Step::AtOnce,
            Step::Short if self.gathered > ALWAYS => Step::Long,
            Step::Long if self.gathered < ALWAYS_NO_MORE => Step::Short,
            step => step,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand turns, of which so many in ten had something to do after a pause.
    fn after(pace: &mut Pace, of_ten: u32) -> Option<Duration> {
        (0..1000).for_each(|turn| pace.note(turn * 7 % 10 < of_ten));
        pace.pauses().then(|| pace.turn())
    }

    #[test]
    fn pauses_are_made_where_they_pay_and_long_ones_where_there_is_always_something() {
        let mut pace = Pace::new();
        assert!(!pace.pauses(), "nothing is known yet");
        assert_eq!(after(&mut pace, 2), None, "two voices in a large call: each packet goes out at once");
        assert_eq!(after(&mut pace, 7), Some(TURN));
        assert_eq!(after(&mut pace, 4), Some(TURN), "it does not go to and fro");
        assert_eq!(after(&mut pace, 10), Some(BUSY_TURN));
        assert_eq!(after(&mut pace, 9), Some(BUSY_TURN));
        assert_eq!(after(&mut pace, 7), Some(TURN));
        assert_eq!(after(&mut pace, 0), None);
    }
}
