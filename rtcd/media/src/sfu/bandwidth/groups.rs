//! Packets that were sent together, and how the time between two such groups changed on the way (draft-ietf-rmcat-gcc-02,
//! sections 5.1 and 5.2).

use serde::{Deserialize, Serialize};

/// Packets sent within this of a group's first one belong to it.
const GROUP_US: i64 = 5_000;
/// Packets that arrive this close to each other after they had to wait came as a burst and belong together ...
const BURST_GAP_US: i64 = 5_000;
/// ... for at most so long.
const MAX_BURST_US: i64 = 100_000;
/// A difference between the two clocks' times that no queue explains: the receiver's clock was set, or it lies.
const MAX_VARIATION_US: i64 = 3_000_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: i64,
    last_arrival: i64,
}

/// The times between two groups, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variation {
    /// Between their departures.
    pub sent: i64,
    /// Between their arrivals.
    pub arrived: i64,
    /// When the later one had arrived, by the receiver's clock.
    pub at: i64,
}

/// The two groups under construction.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Groups {
    previous: Option<Group>,
    current: Option<Group>,
}

impl Groups {
    /// A packet's departure and arrival. Gives the variation between the last two groups when this one begins a third.
    pub fn handle(&mut self, sent: i64, arrival: i64) -> Option<Variation> {
        let begin = Group { first_sent: sent, last_sent: sent, first_arrival: arrival, last_arrival: arrival };
        let Some(current) = &mut self.current else {
            self.current = Some(begin);
            return None;
        };
        if sent < current.first_sent {
            // Reordered: its group has been judged.
            return None;
        }
        if current.takes(sent, arrival) {
            current.last_sent = current.last_sent.max(sent);
            current.last_arrival = current.last_arrival.max(arrival);
            return None;
        }
        let complete = *current;
        let previous = self.previous.replace(complete);
        self.current = Some(begin);
        let previous = previous?;
        let variation = Variation {
            sent: complete.last_sent - previous.last_sent,
            arrived: complete.last_arrival - previous.last_arrival,
            at: complete.last_arrival,
        };
        if (variation.arrived - variation.sent).abs() > MAX_VARIATION_US {
            self.reset();
            return None;
        }
        (variation.arrived >= 0).then_some(variation)
    }

    /// What comes next has nothing to do with what was.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Group {
    fn takes(&self, sent: i64, arrival: i64) -> bool {
        if sent - self.first_sent <= GROUP_US {
            return true;
        }
        let gap = arrival - self.last_arrival;
        let hurried = gap < sent - self.last_sent;
        hurried && gap <= BURST_GAP_US && arrival - self.first_arrival < MAX_BURST_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variations(packets: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let mut groups = Groups::default();
        let found = packets.iter().filter_map(|(sent, arrival)| groups.handle(sent * 1000, arrival * 1000));
        found.map(|variation| (variation.sent / 1000, variation.arrived / 1000)).collect()
    }

    #[test]
    fn packets_sent_together_count_once() {
        let packets = [(0, 50), (2, 51), (20, 70), (21, 75), (40, 95), (60, 112)];
        assert_eq!(variations(&packets), [(19, 24), (19, 20)]);
    }

    #[test]
    fn what_waited_together_and_came_at_once_is_one_group() {
        let packets = [(0, 50), (20, 70), (40, 130), (60, 131), (80, 132), (100, 150), (120, 170)];
        assert_eq!(variations(&packets), [(20, 20), (60, 62), (20, 18)]);
    }

    #[test]
    fn a_clock_that_jumps_and_packets_out_of_order_say_nothing() {
        assert_eq!(variations(&[(0, 50), (20, 70), (40, 90_000), (60, 90_020)]), [(20, 20)]);
        let packets = [(0, 50), (20, 70), (10, 71), (40, 60), (60, 110), (80, 130)];
        assert_eq!(variations(&packets), [(40, 20), (20, 40)], "what overtakes belongs to what it overtook");
    }
}
