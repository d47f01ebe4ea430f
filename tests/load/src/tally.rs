//! What a participant hears, counted by the trailers.
use crate::clock;
use crate::traffic::Window;
use crate::trailer::{StreamKey, Trailer};
use std::time::Instant;

/// Numbers behind the highest one that are remembered, to know a copy from a late packet.
const REMEMBERED: u32 = 128;

/// How a packet came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When it was read from the socket.
    pub at: Instant,
    /// It came as a retransmission of its own kind (RFC 4588).
    pub retransmitted: bool,
    /// It begins a key frame: what is missing before it is not missed.
    pub key_frame: bool,
    /// The last feedback to the server that could have asked for it, if it is asked for at all.
    pub asked_at: Option<Instant>,
}

/// One stream of another participant.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Whose.
    pub key: StreamKey,
    highest: u32,
    /// Bit n: `highest - n` has come.
    seen: u128,
    /// When a hole was seen last.
    hole_at: Option<Instant>,
    /// Another layer came in between: what is missing until now was not meant for us.
    switched: bool,
    /// Packets that were sent in the window and came, each once.
    pub received: u64,
    /// Those that were sent in the window as far as the ones that came tell: the first, the last and all between.
    pub expected: u64,
    /// Copies.
    pub duplicates: u64,
    /// Behind a later one, and not because it was sent again.
    pub reordered: u64,
    /// Behind a later one because it was sent again.
    pub repaired: u64,
}

/// What a packet was.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For us, in the window: so old in microseconds.
    Measured {
        /// From the sender's socket to ours.
        latency: u64,
        /// A picture.
        video: bool,
    },
    /// For us, and not measured.
    Heard,
    /// Of another call, or our own.
    WrongReceiver,
}

/// All that one participant hears.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By stream.
    pub streams: Vec<Heard>,
    /// Where the last packet was counted.
    last: usize,
    /// Packets of another call, or our own.
    pub wrong: u64,
    /// Packets that no sender of ours has made.
    pub unreadable: u64,
}

impl Tally {
    /// Counts a packet that the participant `me` in `call` has got.
    pub fn count(&mut self, (call, me): (u32, u32), trailer: Trailer, arrival: Arrival, window: Window) -> Verdict {
        if trailer.stream.call != call || trailer.stream.sender == me {
            self.wrong += 1;
            return Verdict::WrongReceiver;
        }
        let measured = window.holds(trailer.sent);
        self.find(trailer);
        let heard = &mut self.streams[self.last];
        if !heard.take(trailer.sequence, arrival, measured) || !measured {
            return Verdict::Heard;
        }
        let latency = clock::nanos(arrival.at).saturating_sub(trailer.sent) / 1000;
        Verdict::Measured { latency, video: trailer.stream.kind.is_video() }
    }

    fn find(&mut self, trailer: Trailer) {
        let key = trailer.stream;
        if self.streams.get(self.last).is_none_or(|heard| heard.key != key) {
            self.last = self.streams.iter().position(|heard| heard.key == key).unwrap_or_else(|| {
                self.streams.push(Heard::new(key, trailer.sequence));
                self.streams.len() - 1
            });
        }
        if key.layer > 0 {
            let other =
                |heard: &&mut Heard| heard.key.sender == key.sender && heard.key.kind == key.kind && heard.key != key;
            self.streams.iter_mut().filter(other).for_each(|heard| heard.switched = true);
        }
    }
}

impl Heard {
    fn new(key: StreamKey, first: u32) -> Self {
        Self {
            key,
            highest: first.wrapping_sub(1),
            seen: 0,
            hole_at: None,
            switched: true,
            received: 0,
            expected: 0,
            duplicates: 0,
            reordered: 0,
            repaired: 0,
        }
    }

    /// Whether it has come for the first time.
    fn take(&mut self, sequence: u32, arrival: Arrival, measured: bool) -> bool {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead != 0 && ahead < u32::MAX / 2 {
            // Newcomers may be shown the last key frame at once, and what is live from the next one on.
            let fresh = std::mem::take(&mut self.switched) || arrival.key_frame;
            self.seen = if ahead < REMEMBERED { self.seen << ahead | 1 } else { 1 };
            self.highest = sequence;
            if ahead > 1 && !fresh {
                self.hole_at = Some(arrival.at);
            }
            if measured {
                // Of a window's first packet nobody knows how many of it were before.
                self.expected += if fresh || self.expected == 0 { 1 } else { u64::from(ahead) };
            }
        } else {
            let behind = self.highest.wrapping_sub(sequence);
            // What is too old to be known is taken for a copy.
            if behind >= REMEMBERED || self.seen & (1 << behind) != 0 {
                self.duplicates += u64::from(measured);
                return false;
            }
            self.seen |= 1 << behind;
            let again = arrival.retransmitted
                || arrival.asked_at.zip(self.hole_at).is_some_and(|(asked, hole)| asked >= hole && asked < arrival.at);
            *if again { &mut self.repaired } else { &mut self.reordered } += u64::from(measured);
        }
        self.received += u64::from(measured);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trailer::Kind;

    const ALL: Window = Window { start: 0, end: u64::MAX };

    fn hear(tally: &mut Tally, layer: u8, sequence: u32) -> Verdict {
        let stream = StreamKey { call: 1, sender: 2, kind: Kind::Screen, layer };
        let arrival = Arrival { at: Instant::now(), retransmitted: false, key_frame: false, asked_at: None };
        tally.count((1, 3), Trailer { sent: 0, stream, sequence }, arrival, ALL)
    }

    #[test]
    fn holes_copies_and_late_ones_are_told_apart() {
        let mut tally = Tally::default();
        for sequence in [5, 6, 8, 7, 7, 10] {
            hear(&mut tally, 0, sequence);
        }
        let heard = &tally.streams[0];
        assert_eq!((heard.received, heard.expected), (5, 6));
        assert_eq!((heard.duplicates, heard.reordered, heard.repaired), (1, 1, 0));
    }

    #[test]
    fn what_was_sent_while_another_layer_was_heard_is_not_lost() {
        let mut tally = Tally::default();
        for (layer, sequence) in [(1, 0), (1, 1), (2, 90), (2, 91), (1, 50), (1, 51)] {
            hear(&mut tally, layer, sequence);
        }
        assert!(tally.streams.iter().all(|heard| heard.received == heard.expected));
    }

    #[test]
    fn a_packet_of_ones_own_is_wrong() {
        let mut tally = Tally::default();
        let stream = StreamKey { call: 1, sender: 2, kind: Kind::Voice, layer: 0 };
        let arrival = Arrival { at: Instant::now(), retransmitted: false, key_frame: false, asked_at: None };
        let trailer = Trailer { sent: 0, stream, sequence: 0 };
        assert_eq!(tally.count((1, 2), trailer, arrival, ALL), Verdict::WrongReceiver);
        assert_eq!(tally.count((2, 3), trailer, arrival, ALL), Verdict::WrongReceiver);
        assert_eq!(tally.wrong, 2);
    }
}
