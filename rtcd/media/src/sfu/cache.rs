//! The packets of one incoming stream that can be sent again, kept once per worker, never per receiver.
use super::{Epoch, Meta};
use crate::footprint::Footprint;
use crate::rtp::SeqNo;

/// The longest payload that is forwarded. Browsers make packets of at most 1200 bytes plus tag; jumbo ones are refused.
pub const MAX_PAYLOAD: usize = 1400;

/// Packets of sound that are kept: 1.28 s, longer than anybody waits for them.
const VOICE_PACKETS: usize = 64;
/// Longest packet of sound that is kept: 20 ms at 128 kbit/s.
const MAX_VOICE_PAYLOAD: usize = 320;

/// Packets that another process goes on with.
const CARRIED_PACKETS: usize = 64;

/// A ring of packets addressed by sequence number. Memory is taken when it is made, none per packet.
pub struct PacketCache {
    epoch: Epoch,
    slots: Box<[Slot]>,
    payloads: Box<[u8]>,
    /// Room for one payload.
    room: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    meta: Meta,
    len: u16,
    filled: bool,
    /// The sender has used the number twice: nobody knows which of the two a receiver has got, so none is sent again.
    ambiguous: bool,
}

impl PacketCache {
    /// A cache of `packets` (a power of two) pictures' packets, or of none.
    pub fn new(packets: usize) -> Self {
        Self::with_room(packets, MAX_PAYLOAD)
    }

    /// A cache for the [`VOICE_PACKETS`] of sound.
    pub fn for_voice() -> Self {
        Self::with_room(VOICE_PACKETS, MAX_VOICE_PAYLOAD)
    }

    fn with_room(packets: usize, room: usize) -> Self {
        debug_assert!(packets == 0 || packets.is_power_of_two());
        Self {
            epoch: Epoch::default(),
            slots: vec![Slot::default(); packets].into(),
            payloads: vec![0; packets * room].into(),
            room,
        }
    }

    fn place(&self, seq: SeqNo) -> Option<usize> {
        (!self.slots.is_empty()).then(|| (seq.0 as usize) & (self.slots.len() - 1))
    }

    /// Keeps a packet in place of an older one; one that is not newer than what it would replace is not kept. A stream
    /// that begins anew takes the place of the one before.
    pub fn insert(&mut self, meta: Meta, payload: &[u8]) {
        if self.epoch != meta.epoch {
            self.epoch = meta.epoch;
            self.slots.fill(Slot::default());
        }
        let Some(place) = self.place(meta.seq) else { return };
        let slot = &mut self.slots[place];
        if slot.filled && slot.meta.seq >= meta.seq {
            slot.ambiguous |= slot.meta.seq == meta.seq;
            return;
        }
        if payload.len() > self.room {
            *slot = Slot { meta, len: 0, filled: true, ambiguous: true };
            return;
        }
        *slot = Slot { meta, len: payload.len() as u16, filled: true, ambiguous: false };
        self.payloads[place * self.room..][..payload.len()].copy_from_slice(payload);
    }

    /// The newest packets in the order of their numbers, as many as somebody may still ask for: 0.2 s of a screen in motion,
    /// and of sound all that there are.
    pub fn newest(&self) -> Vec<(Meta, Vec<u8>)> {
        let filled = self.slots.iter().filter(|slot| slot.filled && !slot.ambiguous);
        let mut numbers: Vec<SeqNo> = filled.map(|slot| slot.meta.seq).collect();
        numbers.sort_unstable();
        let older = numbers.len().saturating_sub(CARRIED_PACKETS);
        let carried = numbers.into_iter().skip(older).filter_map(|seq| self.get(seq));
        carried.map(|(meta, payload)| (*meta, payload.to_vec())).collect()
    }

    /// The packet with this number, if it is still here.
    pub fn get(&self, seq: SeqNo) -> Option<(&Meta, &[u8])> {
        let place = self.place(seq)?;
        let slot = self.slots[place];
        if !slot.filled || slot.ambiguous || slot.meta.seq != seq {
            return None;
        }
        Some((&self.slots[place].meta, &self.payloads[place * self.room..][..slot.len as usize]))
    }
}

impl Footprint for PacketCache {
    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots) + self.payloads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(seq: u64) -> Meta {
        Meta { seq: SeqNo(seq), ..Meta::default() }
    }

    #[test]
    fn packets_are_found_until_newer_ones_take_their_place() {
        let mut cache = PacketCache::new(4);
        for seq in 0..6 {
            cache.insert(meta(seq), &[seq as u8; 3]);
        }
        assert_eq!(cache.get(SeqNo(1)), None);
        assert_eq!(cache.get(SeqNo(5)).map(|(_, payload)| payload), Some(&[5; 3][..]));
        cache.insert(meta(1), b"late");
        assert_eq!(cache.get(SeqNo(5)).map(|(_, payload)| payload), Some(&[5; 3][..]), "a late packet pushes none out");
    }

    #[test]
    fn a_number_that_was_used_twice_is_not_sent_again() {
        let mut cache = PacketCache::new(4);
        cache.insert(meta(1), b"one");
        cache.insert(meta(1), b"another");
        assert_eq!(cache.get(SeqNo(1)), None, "a receiver may have got either");
        cache.insert(meta(5), b"newer");
        assert!(cache.get(SeqNo(5)).is_some());
    }

    #[test]
    fn a_stream_that_begins_anew_is_kept_whatever_its_numbers_are() {
        let mut cache = PacketCache::new(4);
        cache.insert(meta(6), b"old");
        cache.insert(Meta { epoch: Epoch(1), ..meta(2) }, b"new");
        assert_eq!(cache.get(SeqNo(2)).map(|(_, payload)| payload), Some(&b"new"[..]));
        assert_eq!(cache.get(SeqNo(6)), None);
    }

    #[test]
    fn a_cache_of_none_and_a_packet_too_long_are_no_error() {
        let mut none = PacketCache::new(0);
        none.insert(meta(1), b"x");
        assert_eq!(none.get(SeqNo(1)), None);
        let mut cache = PacketCache::new(4);
        cache.insert(meta(1), &[0; MAX_PAYLOAD + 1]);
        assert_eq!(cache.get(SeqNo(1)), None);
    }
}
