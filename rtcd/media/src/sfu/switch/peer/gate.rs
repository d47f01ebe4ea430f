//! The mute gate of one stream. What it swallows leaves no hole: numbering goes on where it stopped.
use crate::rtp::SeqNo;
use serde::{Deserialize, Serialize};

/// How the numbers of one stream are shifted by what was swallowed. Whether it is open is the track's business.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Gate {
    /// A packet was swallowed since the last one that passed.
    swallowed: bool,
    /// Subtracted from sequence numbers.
    shift: u64,
    /// The first number since the gate last opened, and the newest that passed.
    first: SeqNo,
    newest: Option<SeqNo>,
}

impl Gate {
    /// The number to go on with, and whether this is the first one after a pause; `None`: swallowed.
    pub(super) fn pass(&mut self, open: bool, seq: SeqNo) -> Option<(SeqNo, bool)> {
        if !open {
            self.swallowed = true;
            return None;
        }
        let resumed = std::mem::take(&mut self.swallowed);
        if resumed {
            let next = self.newest.map_or(seq.0, |newest| newest.0 - self.shift + 1);
            self.shift = seq.0.saturating_sub(next);
            self.first = seq;
        }
        if seq < self.first {
            return None;
        }
        self.newest = self.newest.max(Some(seq));
        Some((SeqNo(seq.0 - self.shift), resumed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_leaves_no_hole_in_the_numbering() {
        let mut gate = Gate::default();
        let mut pass = |open, seq| gate.pass(open, SeqNo(seq)).map(|(seq, resumed)| (seq.0, resumed));
        assert_eq!(pass(true, 100), Some((100, false)));
        assert_eq!(pass(true, 101), Some((101, false)));
        assert_eq!(pass(false, 102), None);
        assert_eq!(pass(false, 110), None);
        assert_eq!(pass(true, 111), Some((102, true)));
        assert_eq!(pass(true, 109), None, "late, from the pause");
        assert_eq!(pass(true, 113), Some((104, false)));
        assert_eq!(pass(true, 112), Some((103, false)));
    }

    #[test]
    fn a_gate_that_was_never_open_begins_with_the_first_packet_that_passes() {
        let mut gate = Gate::default();
        assert_eq!(gate.pass(false, SeqNo(5)), None);
        assert_eq!(gate.pass(true, SeqNo(9)), Some((SeqNo(9), true)));
    }
}
