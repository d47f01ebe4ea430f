//! Extended sequence numbers and the replay window of one stream (RFC 3711, sections 3.3.1 and 3.3.2).

use crate::rtp::SeqNo;
use serde::{Deserialize, Serialize};

/// Packets that may arrive behind the newest one. A retransmission comes a round trip or two late: at 2.5 Mbit/s
/// (265 packets/s) 1024 packets reach back 3.9 s, in 128 bytes.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// Which sequence numbers of one stream have been seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayWindow {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { newest: None, seen: [0; WORDS] }
    }
}

impl ReplayWindow {
    /// A window of which only the newest number is known: all up to it count as seen.
    pub fn after(newest: SeqNo) -> Self {
        Self { newest: Some(newest.0), seen: [u64::MAX; WORDS] }
    }

    /// The highest number seen.
    pub fn newest(&self) -> Option<SeqNo> {
        self.newest.map(SeqNo)
    }

    /// The full number of a packet with the given wire number: the one closest to the newest seen.
    pub fn extend(&self, wire: u16) -> SeqNo {
        let Some(newest) = self.newest else { return SeqNo(u64::from(wire)) };
        let ahead = i64::from(wire.wrapping_sub(newest as u16) as i16);
        // Before the first roll-over there is nothing to step back to: a number from "before" is one from ahead.
        let extended = newest.checked_add_signed(ahead).unwrap_or(newest - (newest & 0xffff) + u64::from(wire));
        SeqNo(extended)
    }

    /// Whether the packet is new and not too old.
    pub fn is_fresh(&self, seq: SeqNo) -> bool {
        match self.newest {
            Some(newest) if seq.0 <= newest => newest - seq.0 < WINDOW && !self.bit(seq.0),
            _ => true,
        }
    }

    /// Marks an authenticated packet as seen.
    pub fn commit(&mut self, seq: SeqNo) {
        let first_to_clear = match self.newest {
            Some(newest) if seq.0 <= newest => None,
            Some(newest) if seq.0 - newest < WINDOW => Some(newest + 1),
            _ => {
                self.seen = [0; WORDS];
                Some(seq.0)
            }
        };
        if let Some(first) = first_to_clear {
            for skipped in first..=seq.0 {
                self.seen[Self::word(skipped)] &= !Self::mask(skipped);
            }
            self.newest = Some(seq.0);
        }
        self.seen[Self::word(seq.0)] |= Self::mask(seq.0);
    }

    fn word(seq: u64) -> usize {
        ((seq / 64) % WORDS as u64) as usize
    }
    fn mask(seq: u64) -> u64 {
        1 << (seq % 64)
    }
    fn bit(&self, seq: u64) -> bool {
        self.seen[Self::word(seq)] & Self::mask(seq) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_counts_once_and_only_within_the_window() {
        let mut window = ReplayWindow::default();
        for seq in [10, 12, 11, 5000] {
            assert!(window.is_fresh(SeqNo(seq)));
            window.commit(SeqNo(seq));
            assert!(!window.is_fresh(SeqNo(seq)));
        }
        assert!(!window.is_fresh(SeqNo(5000 - WINDOW)), "too old");
        assert!(window.is_fresh(SeqNo(5001 - WINDOW)), "just young enough");
        window.commit(SeqNo(5000 + WINDOW - 1));
        assert!(!window.is_fresh(SeqNo(5000)), "still remembered after a jump inside the window");
        assert!(window.is_fresh(SeqNo(5001)), "a gap is open to late packets");
    }

    #[test]
    fn the_roll_over_is_followed_in_both_directions() {
        let mut window = ReplayWindow::default();
        window.commit(window.extend(65_534));
        let after = window.extend(2);
        assert_eq!(after, SeqNo(65_538));
        window.commit(after);
        assert_eq!(window.extend(65_535), SeqNo(65_535), "late, from before the roll-over");
        assert_eq!(after.roll_over(), 1);
        assert_eq!(after.wire(), 2);
    }

    #[test]
    fn a_late_packet_before_the_first_roll_over_does_not_underflow() {
        let mut window = ReplayWindow::default();
        window.commit(window.extend(1));
        assert_eq!(window.extend(65_530), SeqNo(65_530));
    }
}
