//! What goes out to a receiver whose way loses packets goes out twice, the second time beside the next packet, as far as
//! the way has room. Voice, since most clients never ask for it again, and its sender protects it (RFC 7587, in-band FEC)
//! only against losses on its own way: where the estimate has room for it once more, and always in calls without pictures,
//! which have no estimate. The second packet is byte for byte the first: whoever has got that drops it as a replay.
//! Pictures, in their RTX stream, where the estimate has room for everything twice: what has to be asked for is late, and
//! what is lost twice is a freeze.
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// A way that loses more than this part, in 1/256, is worth the double bit rate of voice: 3 %.
const WORTH_IT: u8 = 8;
/// What is lost of packets that were sent twice has been lost twice in a row: any such loss says that it goes on.
const GOES_ON: u8 = 1;
/// How long it goes on after the last sign of loss. Receiver reports on voice come every five seconds at most.
const HOLDS: Duration = Duration::from_secs(30);

/// Whether packets go out twice.
#[serde_as]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::sfu::switch) struct Repetition {
    #[serde_as(as = "Option<Age>")]
    until: Option<Instant>,
}

impl Repetition {
    /// Whether it does now.
    #[inline]
    pub fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// A receiver report on voice: the part lost in 1/256, of packets that went out once or twice.
    pub fn handle_report(&mut self, now: Instant, fraction_lost: u8) {
        let least = if self.is_on(now) { GOES_ON } else { WORTH_IT };
        if fraction_lost >= least {
            self.until = Some(now + HOLDS);
        }
    }

    /// The part lost of everything that is sent, as far as that is known; pictures go out once.
    pub fn handle_loss(&mut self, now: Instant, lost: f32) {
        if lost * 256.0 >= f32::from(WORTH_IT) {
            self.until = Some(now + HOLDS);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    #[test]
    fn a_lossy_way_gets_everything_twice_until_nothing_is_lost_any_more() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut repeat = Repetition::default();
        repeat.handle_report(start, WORTH_IT - 1);
        repeat.handle_loss(start, 0.02);
        assert!(!repeat.is_on(start));
        repeat.handle_report(at(5), 26);
        assert!(repeat.is_on(at(10)));
        repeat.handle_report(at(30), GOES_ON);
        assert!(repeat.is_on(at(59)), "a tenth of a tenth is lost still");
        repeat.handle_report(at(60), GOES_ON);
        assert!(!repeat.is_on(at(61)), "one percent of packets sent once is nothing");
        repeat.handle_loss(at(70), 0.05);
        assert!(repeat.is_on(at(71)));
    }
}
