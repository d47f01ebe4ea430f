//! The packets that went out last, by their transport-wide numbers, until the receiver has said what became of them.

use crate::footprint::Footprint;
use serde::{Deserialize, Serialize};

/// Packets kept at most, a power of two: 10 Mbit/s in packets of 1200 octets for 2 s, in 16 KiB.
const PACKETS: u64 = 2048;
/// Packets kept of a receiver that gets little, in 2 KiB.
const FEW_PACKETS: usize = 256;
/// One that was sent later is not given up while there may be more: so much is a round trip and its feedback at the worst.
const KEPT_FOR_US: u32 = 2_000_000;
const FIRST: u64 = 1 << 16;

/// One packet as the receiver reports on it for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number without wraps.
    pub number: u64,
    /// When it went out, in microseconds of our clock.
    pub sent: i64,
    /// Octets.
    pub len: u16,
    /// The probe cluster that it belongs to; 0: none.
    pub cluster: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Unknown,
    Received,
    Lost,
}

/// What is kept of a packet, in 8 octets.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Microseconds modulo 2^32, which is more than an hour.
    sent: u32,
    len: u16,
    cluster: u8,
    fate: Fate,
}

/// A ring of them, which grows with what a receiver gets, three times at most. It is written down as its next number alone:
/// what was under way is not known afterwards, and reports on it are passed over.
#[derive(Deserialize)]
#[serde(from = "Next")]
pub struct SentPackets {
    slots: Box<[Slot]>,
    /// The number that the next packet gets. It starts above a wrap, so that numbers below the first one exist.
    next: u64,
    first: u64,
    /// Everything below has been reported on, or was in feedback that never came.
    reported: u64,
}

#[derive(Serialize, Deserialize)]
struct Next(u64);

impl Serialize for SentPackets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Next(self.next).serialize(serializer)
    }
}

impl From<Next> for SentPackets {
    fn from(Next(next): Next) -> Self {
        Self::from_number(next.clamp(FIRST, u64::MAX / 2))
    }
}

impl SentPackets {
    pub fn new() -> Self {
        Self::from_number(FIRST)
    }

    /// Behind all numbers that may have been used when `next` was the next one a moment ago.
    pub fn after(next: u64) -> Self {
        Next(next.saturating_add(PACKETS)).into()
    }

    fn from_number(first: u64) -> Self {
        Self { slots: vec![Slot::default(); FEW_PACKETS].into(), next: first, first, reported: first }
    }

    /// Packets that there is room for.
    #[inline]
    fn room(&self) -> u64 {
        self.slots.len() as u64
    }

    #[inline]
    fn place(&self, number: u64) -> usize {
        (number & (self.room() - 1)) as usize
    }

    /// Whether the packet that the next one takes the place of may still be reported on.
    #[inline]
    fn is_short(&self, now: i64) -> bool {
        let oldest = &self.slots[self.place(self.next)];
        self.room() < PACKETS
            && self.next - self.first >= self.room()
            && (now as u32).wrapping_sub(oldest.sent) < KEPT_FOR_US
    }

    #[cold]
    fn grow(&mut self) {
        let grown = vec![Slot::default(); 2 * self.slots.len()].into();
        let (old, room) = (std::mem::replace(&mut self.slots, grown), self.room() / 2);
        for number in self.next - room..self.next {
            let place = self.place(number);
            self.slots[place] = old[(number & (room - 1)) as usize];
        }
    }

    /// Takes a packet in and numbers it.
    #[inline]
    pub fn record(&mut self, sent: i64, len: usize, cluster: u8) -> u64 {
        if self.is_short(sent) {
            self.grow();
        }
        let number = self.next;
        let len = len.min(usize::from(u16::MAX)) as u16;
        let place = self.place(number);
        self.slots[place] = Slot { sent: sent as u32, len, cluster, fate: Fate::Unknown };
        self.next += 1;
        number
    }

    /// The number that the next packet gets.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Everything below this has been reported on.
    pub fn reported(&self) -> u64 {
        self.reported
    }

    /// Packets that have gone out since the last one that was reported on.
    pub fn unreported(&self) -> u64 {
        self.next - self.reported
    }

    /// The packet with this number on the wire; `None` if it is too old, or has not been sent at all.
    fn find(&self, number: u16) -> Option<u64> {
        let back = u64::from((self.next as u16).wrapping_sub(number));
        let found = self.next.checked_sub(back)?;
        (back != 0 && back <= self.room() && found >= self.first).then_some(found)
    }

    fn packet(&self, number: u64, now: i64) -> Packet {
        let slot = self.slots[self.place(number)];
        let age = (now as u32).wrapping_sub(slot.sent);
        Packet { number, sent: now - i64::from(age), len: slot.len, cluster: slot.cluster }
    }

    /// A packet has arrived; `None` if that is known, or it cannot be.
    pub fn receive(&mut self, now: i64, number: u16) -> Option<Packet> {
        let number = self.find(number)?;
        let place = self.place(number);
        let slot = &mut self.slots[place];
        if slot.fate == Fate::Received {
            return None;
        }
        slot.fate = Fate::Received;
        Some(self.packet(number, now))
    }

    /// A report on `count` packets from `base` on has been read, and whoever of them was there has been
    /// [received](Self::receive). Gives the others, each once.
    pub fn lose(&mut self, now: i64, base: u16, count: u16) -> impl Iterator<Item = Packet> + '_ {
        // A report that ends in packets which were never sent is a lie as a whole.
        let end = count.checked_sub(1).and_then(|count| self.find(base.wrapping_add(count))).map_or(0, |last| last + 1);
        let begin = end.saturating_sub(u64::from(count)).max(self.reported).max(self.next.saturating_sub(self.room()));
        self.reported = self.reported.max(end);
        (begin..end).filter_map(move |number| {
            let place = self.place(number);
            let slot = &mut self.slots[place];
            if slot.fate != Fate::Unknown {
                return None;
            }
            slot.fate = Fate::Lost;
            Some(self.packet(number, now))
        })
    }
}

impl Footprint for SentPackets {
    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(packets: &mut SentPackets, base: u16, count: u16) -> Vec<u64> {
        packets.lose(0, base, count).map(|packet| packet.number - (1 << 16)).collect()
    }

    #[test]
    fn each_packet_is_received_once_or_lost_once() {
        let mut packets = SentPackets::new();
        (0..10).for_each(|at| _ = packets.record(at * 1000, 100 + at as usize, 3));
        let packet = packets.receive(20_000, 4);
        assert_eq!(packet, Some(Packet { number: (1 << 16) + 4, sent: 4000, len: 104, cluster: 3 }));
        assert_eq!(packets.receive(20_000, 4), None);
        assert_eq!(lost(&mut packets, 2, 4), [2, 3, 5]);
        assert_eq!(lost(&mut packets, 2, 4), [0u64; 0]);
        assert!(packets.receive(20_000, 3).is_some(), "it was late");
        assert_eq!(lost(&mut packets, 0, 8), [6, 7], "what the lost feedback was about stays unknown");
    }

    #[test]
    fn as_many_are_kept_as_go_out_in_the_time_of_a_report() {
        let sent_every = |micros: i64| {
            let mut packets = SentPackets::new();
            (0..10_000).for_each(|number| _ = packets.record(number * micros, 100, 0));
            let now = 10_000 * micros;
            let newest = packets.next() as u16;
            let of_now = |back: &u16| packets.receive(now, newest.wrapping_sub(*back)).is_some();
            ((1..4096).take_while(of_now).count(), packets.heap_bytes())
        };
        assert_eq!(sent_every(20_000), (256, 2 * 1024), "voice");
        assert_eq!(sent_every(4_500), (512, 4 * 1024), "a screen of 1.6 Mbit/s and a voice");
        assert_eq!(sent_every(500), (2048, 16 * 1024), "more than fits");
    }

    #[test]
    fn packets_that_were_never_sent_or_long_ago_are_not_found() {
        let mut packets = SentPackets::new();
        assert_eq!(packets.receive(0, 0), None);
        assert_eq!(packets.receive(0, 65_535), None);
        (0..70_000).for_each(|_| _ = packets.record(0, 100, 0));
        let next = 70_000u64 as u16;
        assert_eq!(packets.receive(0, next), None);
        assert_eq!(packets.receive(0, next.wrapping_sub(2049)), None);
        assert!(packets.receive(0, next.wrapping_sub(2048)).is_some());
        assert_eq!(packets.lose(0, next, 65_535).count(), 2046, "those that are kept, but for one");
        assert_eq!(packets.lose(0, next.wrapping_sub(5), 6).count(), 0, "the sixth is still to be sent");
    }

    #[test]
    fn the_time_of_sending_survives_the_wrap_of_its_clock() {
        let mut packets = SentPackets::new();
        let sent = (1 << 32) - 5;
        packets.record(sent, 1, 0);
        assert_eq!(packets.receive(sent + 200_000, 0).map(|packet| packet.sent), Some(sent));
    }
}
