//! One outgoing track: whatever layer it is fed from, the receiver sees one stream without seams. Sequence numbers,
//! timestamps and VP8 picture ids are shifted by constants that change only at a switch, so that any packet, also one
//! sent again, is rewritten to the same bytes every time. (SRTP demands that: the sequence number is the nonce.) With RTX
//! (RFC 4588) what is sent again travels in a stream of its own, under numbers of its own.
mod leap;
mod rtx;
mod segment;
mod timeline;
mod transport_numbers;

use super::{Layer, Meta};
use crate::codec::Codec;
use crate::footprint::{Footprint, flat_queue};
use crate::handover::Age;
use crate::rtp::{OutHeader, SeqNo, Ssrc};
use crate::sfu::receive::ClockReference;
use crate::srtp::ReplayWindow;
use leap::Ceiling;
pub use leap::StreamNumbers;
use segment::{Segment, picture_numbers, shift_picture_numbers};
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::collections::VecDeque;
use std::time::Instant;
use transport_numbers::TransportNumbers;

/// Finished segments that late packets and retransmissions may still belong to: four switches back.
const HISTORY: usize = 4;
/// The first outgoing number is below this, so that the receiver's roll-over counter starts at 0 whatever is lost.
const FIRST_SEQ: u32 = 1 << 15;

/// What the receiver calls things, as it was agreed in the section that the track is sent in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Of the track's codec.
    pub payload_type: u8,
    /// Of the audio level extension; 0 leaves the level out.
    pub audio_level_id: u8,
    /// Of the transport-wide sequence number; 0 leaves it out.
    pub transport_cc_id: u8,
    /// How packets are sent again; `None`: as they were.
    pub rtx: Option<Rtx>,
}

/// The stream that retransmissions of another one travel in (RFC 4588).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Rtx {
    /// `a=rtpmap:.. rtx`, with the repaired payload type as its `apt`.
    pub payload_type: u8,
    /// Its own SSRC, in one `a=ssrc-group:FID` with the repaired one.
    pub ssrc: Ssrc,
}

/// The latest of what the receiver has seen.
#[serde_as]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Newest {
    seq: SeqNo,
    /// Timestamp in the outgoing stream, and when the packet was handled.
    timestamp: u32,
    #[serde_as(as = "Age")]
    at: Instant,
    picture_id: u16,
    tl0: u8,
}

/// The rewriting state of one outgoing track.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rewriter {
    ssrc: Ssrc,
    codec: Codec,
    numbers: Numbers,
    target: Layer,
    current: Option<Segment>,
    history: VecDeque<Segment>,
    newest: Option<Newest>,
    first_seq: SeqNo,
    /// Numbers that have gone out. A sender can begin a stream anew under numbers that it has used: forwarded, its new
    /// packets would share a nonce with the old ones.
    sent: ReplayWindow,
    packets: u32,
    octets: u32,
    /// Nothing goes out until a key frame of the target comes.
    suspended: bool,
    /// The next number of the RTX stream.
    rtx_seq: SeqNo,
    /// Numbers from here on must not be used, in the stream and in its RTX stream: see [`reserve`](crate::reserve).
    #[serde(skip)]
    ceilings: (Ceiling, Ceiling),
    /// Transport-wide numbers of what went out, when it may have to be sent again as it was.
    #[serde(skip)]
    transport_numbers: Option<TransportNumbers>,
}

impl Rewriter {
    /// A track out on `ssrc`. It starts with the lowest layer.
    pub fn new(ssrc: Ssrc, codec: Codec, numbers: Numbers) -> Self {
        Self {
            ssrc,
            codec,
            numbers,
            target: Layer(0),
            current: None,
            history: VecDeque::with_capacity(HISTORY),
            newest: None,
            first_seq: SeqNo(u64::from(crate::random_u32() % FIRST_SEQ)),
            sent: ReplayWindow::default(),
            packets: 0,
            octets: 0,
            suspended: false,
            rtx_seq: SeqNo(u64::from(crate::random_u32() % FIRST_SEQ)),
            ceilings: Default::default(),
            transport_numbers: None,
        }
    }

    /// The outgoing stream.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// What it carries.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The receiver has agreed to other numbers: they hold from the next new packet on. What is sent again keeps those
    /// that it went out with.
    pub fn renumber(&mut self, numbers: Numbers) {
        self.numbers = numbers;
    }

    /// The layer that is wanted; the switch happens at its next key frame.
    pub fn set_target(&mut self, layer: Layer) {
        self.target = layer;
    }

    /// The layer that the receiver gets now, if any.
    #[cfg(test)]
    fn current(&self) -> Option<Layer> {
        self.current.filter(|_| !self.suspended).map(|segment| segment.layer)
    }

    /// The newest number that has gone out.
    pub fn newest(&self) -> Option<SeqNo> {
        Some(self.newest?.seq)
    }

    /// How many numbers have been used, and how many packets have gone out under them: the others never came here, or not
    /// yet.
    pub fn progress(&self) -> (u64, u64) {
        let numbers = self.newest.map_or(0, |newest| (newest.seq.0 + 1).saturating_sub(self.first_seq.0));
        (numbers, u64::from(self.packets))
    }

    /// What the receiver calls things now.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Sends nothing more until a key frame of the target comes, without a hole in the numbering.
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Writes the packet for this receiver into `out`, which must hold header, payload and tag; returns the length and
    /// the outgoing number. `None`: this receiver does not get the packet.
    ///
    /// `clocks` are the sender's clocks by layer; with both known, a switch keeps the timeline exactly. `number` is the
    /// transport-wide one that the packet gets if it goes out and such numbers are agreed.
    #[inline]
    pub fn forward(
        &mut self,
        now: Instant,
        meta: &Meta,
        payload: &[u8],
        clocks: &[Option<ClockReference>],
        number: u16,
        out: &mut [u8],
    ) -> Option<(usize, SeqNo)> {
        // A sender may change its codec within a stream; what it sends now is another track to the receiver.
        if meta.codec != self.codec {
            return None;
        }
        if !self.current.is_some_and(|segment| segment.goes_on_with(meta) && segment.numbers == self.numbers)
            || self.suspended
        {
            let goes_on = !self.suspended
                && self.current.is_some_and(|segment| segment.goes_on_with(meta) && meta.seq > segment.last);
            if goes_on {
                self.switch_numbers();
            } else if self.starts_with(meta) {
                self.switch(now, meta, payload, clocks);
            } else {
                // A packet of before the switch that comes late.
                let segments = self.current.iter().chain(&self.history);
                let segment = *segments.into_iter().find(|old| old.contains(meta))?;
                return self.write(&segment, meta, payload, number, out);
            }
        }
        let segment = self.current.as_mut()?;
        segment.last = segment.last.max(meta.seq);
        let segment = *segment;
        self.note_newest(now, &segment, meta, payload);
        self.write(&segment, meta, payload, number, out)
    }

    /// Whether a segment begins with this packet: another layer is wanted, or the layer's stream has begun anew. Streams
    /// only follow each other: one that comes late takes nothing back.
    fn starts_with(&self, meta: &Meta) -> bool {
        let follows = self.current.is_none_or(|old| {
            old.layer != meta.layer || old.epoch < meta.epoch || (self.suspended && old.last < meta.seq)
        });
        meta.layer == self.target && meta.keyframe && follows
    }

    /// Writes the packet with the outgoing wire number `wire` once more, as `find` gives it: inside of the RTX stream, with
    /// the transport-wide number `number`, if that is agreed, else the same bytes as before. Returns its length, and its
    /// number in the stream that it is of.
    pub fn retransmit<'a>(
        &mut self,
        wire: u16,
        find: impl FnOnce(Layer, SeqNo) -> Option<(&'a Meta, &'a [u8])>,
        number: u16,
        out: &mut [u8],
    ) -> Option<(usize, SeqNo)> {
        let newest = self.newest?.seq;
        let behind = newest.wire().wrapping_sub(wire);
        let out_seq = newest.0.checked_sub(u64::from(behind))?;
        let segments = self.current.iter().chain(&self.history);
        let (segment, seq) = segments
            .map(|segment| (*segment, SeqNo(out_seq.wrapping_add_signed(-segment.shift))))
            .find(|(segment, seq)| segment.first <= *seq && *seq <= segment.last)?;
        let (meta, payload) = find(segment.layer, seq).filter(|(meta, _)| segment.contains(meta))?;
        if meta.codec != self.codec {
            return None;
        }
        if let Some(rtx) = self.numbers.rtx {
            return self.write_rtx(rtx, &segment, meta, payload, number, out);
        }
        if self.sent.is_fresh(SeqNo(out_seq)) {
            // It came before its segment began, behind a key frame whose start had to be repaired.
            return self.write(&segment, meta, payload, number, out);
        }
        let number = match segment.numbers.transport_cc_id {
            0 => 0,
            _ => self.transport_numbers.as_ref()?.get(wire)?,
        };
        self.write_packet(&segment, meta, payload, number, out)
    }

    fn note_newest(&mut self, now: Instant, segment: &Segment, meta: &Meta, payload: &[u8]) {
        let seq = segment.out(meta.seq);
        if self.newest.is_some_and(|newest| newest.seq >= seq) {
            return;
        }
        let (picture_id, tl0) = picture_numbers(self.codec, payload);
        self.newest = Some(Newest {
            seq,
            timestamp: meta.timestamp.wrapping_add(segment.timestamp_shift),
            at: now,
            picture_id: picture_id.wrapping_add(segment.picture_id_shift),
            tl0: tl0.wrapping_add(segment.tl0_shift),
        });
    }

    fn write(
        &mut self,
        segment: &Segment,
        meta: &Meta,
        payload: &[u8],
        number: u16,
        out: &mut [u8],
    ) -> Option<(usize, SeqNo)> {
        let seq = segment.out(meta.seq);
        if !self.sent.is_fresh(seq) || !self.ceilings.0.admits(seq) {
            return None;
        }
        let written = self.write_packet(segment, meta, payload, number, out)?;
        self.sent.commit(written.1);
        if segment.numbers.transport_cc_id != 0 && self.numbers.rtx.is_none() {
            let is_video = self.codec.is_video();
            self.transport_numbers
                .get_or_insert_with(|| TransportNumbers::new(is_video))
                .note(written.1.wire(), number);
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        Some(written)
    }

    #[inline]
    fn write_packet(
        &self,
        segment: &Segment,
        meta: &Meta,
        payload: &[u8],
        number: u16,
        out: &mut [u8],
    ) -> Option<(usize, SeqNo)> {
        if out.len() < OutHeader::MAX_LEN + payload.len() {
            return None;
        }
        let sequence = segment.out(meta.seq);
        let header = OutHeader {
            marker: meta.marker,
            payload_type: segment.numbers.payload_type,
            sequence,
            timestamp: meta.timestamp.wrapping_add(segment.timestamp_shift),
            ssrc: self.ssrc,
            padding: meta.padding,
            audio_level: meta.audio_level.map(|level| (segment.numbers.audio_level_id, level)),
            transport_cc: Some((segment.numbers.transport_cc_id, number)),
        };
        let at = header.write(out);
        self.write_payload(segment, payload, &mut out[at..at + payload.len()]);
        Some((at + payload.len(), sequence))
    }

    #[inline]
    fn write_payload(&self, segment: &Segment, payload: &[u8], out: &mut [u8]) {
        out.copy_from_slice(payload);
        if self.codec == Codec::Vp8 && (segment.picture_id_shift != 0 || segment.tl0_shift != 0) {
            shift_picture_numbers(out, segment);
        }
    }
}

impl Footprint for Rewriter {
    fn heap_bytes(&self) -> usize {
        flat_queue(&self.history) + self.transport_numbers.heap_bytes()
    }
}

#[cfg(test)]
mod tests;
