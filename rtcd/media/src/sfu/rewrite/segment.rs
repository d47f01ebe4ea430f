//! A segment: packets of one stream of a layer between two switches, and by how much their numbers are shifted.
use super::Numbers;
use crate::codec::{Codec, PictureId, Vp8Descriptor};
use crate::rtp::SeqNo;
use crate::sfu::{Epoch, Layer, Meta};
use serde::{Deserialize, Serialize};

/// Packets of one stream of a layer between two switches, how they are numbered, and by how much they are shifted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) layer: Layer,
    pub(super) epoch: Epoch,
    pub(super) numbers: Numbers,
    /// Sequence numbers of the layer's stream, both inclusive.
    pub(super) first: SeqNo,
    pub(super) last: SeqNo,
    /// Added to the sequence number.
    pub(super) shift: i64,
    /// Added to the timestamp, modulo 2^32.
    pub(super) timestamp_shift: u32,
    /// Added to the picture id, modulo its width.
    pub(super) picture_id_shift: u16,
    pub(super) tl0_shift: u8,
}

impl Segment {
    /// The outgoing number of a packet.
    pub(super) fn out(&self, seq: SeqNo) -> SeqNo {
        SeqNo(seq.0.wrapping_add_signed(self.shift))
    }

    /// Whether the packet is one of this segment, or of what follows in its stream.
    pub(super) fn goes_on_with(&self, meta: &Meta) -> bool {
        self.layer == meta.layer && self.epoch == meta.epoch && self.first <= meta.seq
    }
    pub(super) fn contains(&self, meta: &Meta) -> bool {
        self.goes_on_with(meta) && meta.seq <= self.last
    }
}

/// Picture id and TL0PICIDX of a VP8 payload, zeros when absent.
pub(super) fn picture_numbers(codec: Codec, payload: &[u8]) -> (u16, u8) {
    if codec != Codec::Vp8 {
        return (0, 0);
    }
    let Some(descriptor) = Vp8Descriptor::parse(payload) else { return (0, 0) };
    let picture_id = descriptor.picture_id.map_or(0, |(_, id)| id.value());
    (picture_id, descriptor.tl0_picture_index.map_or(0, |(_, index)| index))
}

pub(super) fn shift_picture_numbers(payload: &mut [u8], segment: &Segment) {
    let Some(descriptor) = Vp8Descriptor::parse(payload) else { return };
    match descriptor.picture_id {
        Some((at, PictureId::Long(id))) => {
            let shifted = id.wrapping_add(segment.picture_id_shift) & 0x7fff;
            payload[at..at + 2].copy_from_slice(&(shifted | 0x8000).to_be_bytes());
        }
        Some((at, PictureId::Short(id))) => {
            payload[at] = (u16::from(id).wrapping_add(segment.picture_id_shift) & 0x7f) as u8;
        }
        None => {}
    }
    if let Some((at, index)) = descriptor.tl0_picture_index {
        payload[at] = index.wrapping_add(segment.tl0_shift);
    }
}
