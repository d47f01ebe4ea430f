//! Retransmissions that a peer sends in streams of their own (RTX, RFC 4588): which stream they repair, and the packet
//! that they carry.
use super::{Packet, Peer};
use crate::rtp::{Header, Ssrc};
use crate::sfu::Layer;
use crate::sfu::command::TrackId;
use serde::{Deserialize, Serialize};

/// RTX streams that are remembered by their SSRC: one for each stream that is.
const MAX_REPAIRS: usize = super::MAX_STREAMS;

/// An RTX stream and the layer that it repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repair {
    ssrc: Ssrc,
    track: TrackId,
    layer: Layer,
}

impl Peer {
    /// The RTX stream of a packet; it is remembered, since MID and RID stand in its first packets only. `None`: the packet
    /// is of no RTX stream that a description announced.
    pub(super) fn repair_of(&mut self, header: &Header<'_>) -> Option<Repair> {
        if let Some(known) = self.repairs.iter().find(|repair| repair.ssrc == header.ssrc) {
            return Some(*known);
        }
        let is_rtx = |(rtx, _): &(u8, u8)| *rtx == header.payload_type;
        let announced = |ssrc: Ssrc| move |(rtx, _): &&(Ssrc, Ssrc)| *rtx == ssrc;
        let track = self.tracks.iter().find(|track| {
            track.spec.rtx.iter().any(is_rtx)
                && match header.mid {
                    Some(mid) => mid == track.spec.mid.0.as_bytes(),
                    None => track.spec.rtx_ssrcs.iter().any(|pair| announced(header.ssrc)(&pair)),
                }
        })?;
        let spec = &track.spec;
        let layer = match (header.repaired_rid, spec.rtx_ssrcs.iter().find(announced(header.ssrc))) {
            (Some(rid), _) => spec.rids.iter().position(|known| known.0.as_bytes() == rid),
            (None, Some((_, repaired))) => spec.ssrcs.iter().position(|known| known == repaired),
            (None, None) if spec.rids.len() <= 1 => Some(0),
            (None, None) => None,
        };
        let repair = Repair { ssrc: header.ssrc, track: spec.track, layer: Layer(u8::try_from(layer?).ok()?) };
        if self.repairs.len() == MAX_REPAIRS {
            self.repairs.remove(0);
        }
        self.repairs.push(repair);
        Some(repair)
    }

    /// The packet that an RTX packet carries; `None`: it is padding, or of a stream that has not been heard, or what it
    /// carries is here already.
    pub(super) fn repaired(&mut self, repair: &Repair, header: &Header<'_>, packet: &[u8]) -> Option<Packet> {
        let find = || {
            let track = self.tracks.iter().find(|track| track.spec.track == repair.track)?;
            let (_, repaired) = track.spec.rtx.iter().find(|(rtx, _)| *rtx == header.payload_type)?;
            let codec = track.codec_of(*repaired)?;
            let stream = self.streams.iter().position(|s| s.track == repair.track && s.layer == repair.layer)?;
            // RFC 3550, section 5.1: the last byte says how much of the payload is padding.
            let padding = if packet[0] & 0x20 != 0 { usize::from(*packet.last()?) } else { 0 };
            let payload = header.len..packet.len().checked_sub(padding)?;
            let number: [u8; 2] = packet.get(payload.clone())?.get(..2)?.try_into().ok()?;
            let payload = payload.start + 2..payload.end;
            // A packet that was nothing but padding is not worth a number.
            (!payload.is_empty()).then_some((stream, codec, u16::from_be_bytes(number), payload))
        };
        let (stream, codec, number, payload) = find()?;
        let ssrc = self.streams[stream].reception.ssrc();
        let seq = self.transport.accept_repaired(ssrc, number)?;
        Some(Packet { stream, codec, seq, payload })
    }

    /// Forgets the RTX streams of tracks that have ended.
    pub(super) fn forget_repairs(&mut self) {
        let tracks = &self.tracks;
        self.repairs.retain(|repair| tracks.iter().any(|track| track.spec.track == repair.track));
    }
}
