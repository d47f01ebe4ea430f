//! The RTX stream of one outgoing track (RFC 4588): packets that are sent again, and padding, under numbers of their own.
use super::segment::Segment;
use super::{Rewriter, Rtx};
use crate::rtp::{OutHeader, SeqNo};
use crate::sfu::Meta;

impl Rewriter {
    /// Writes a packet of nothing but padding into the RTX stream, `len` bytes of it. `None` without such a stream, or
    /// before the first packet.
    pub fn pad(&mut self, len: u8, number: u16, out: &mut [u8]) -> Option<(usize, SeqNo)> {
        let (rtx, newest) = (self.numbers.rtx?, self.newest?);
        let at = self.write_rtx_header(rtx, false, newest.timestamp, true, number, out)?;
        let padding = out.get_mut(at..at + usize::from(len)).filter(|padding| !padding.is_empty())?;
        padding.fill(0);
        // RFC 3550, section 5.1: the last byte says how much there is.
        *padding.last_mut()? = len;
        Some((at + usize::from(len), self.take_rtx_seq()))
    }

    pub(super) fn write_rtx(
        &mut self,
        rtx: Rtx,
        segment: &Segment,
        meta: &Meta,
        payload: &[u8],
        number: u16,
        out: &mut [u8],
    ) -> Option<(usize, SeqNo)> {
        let timestamp = meta.timestamp.wrapping_add(segment.timestamp_shift);
        let at = self.write_rtx_header(rtx, meta.marker, timestamp, meta.padding, number, out)?;
        let body = out.get_mut(at..at + 2 + payload.len())?;
        // RFC 4588, section 4: the original number stands in front of the original payload.
        body[..2].copy_from_slice(&segment.out(meta.seq).wire().to_be_bytes());
        self.write_payload(segment, payload, &mut body[2..]);
        Some((at + 2 + payload.len(), self.take_rtx_seq()))
    }

    fn write_rtx_header(
        &mut self,
        rtx: Rtx,
        marker: bool,
        timestamp: u32,
        padding: bool,
        number: u16,
        out: &mut [u8],
    ) -> Option<usize> {
        if !self.ceilings.1.admits(self.rtx_seq) {
            return None;
        }
        let header = OutHeader {
            marker,
            payload_type: rtx.payload_type,
            sequence: self.rtx_seq,
            timestamp,
            ssrc: rtx.ssrc,
            padding,
            audio_level: None,
            transport_cc: Some((self.numbers.transport_cc_id, number)),
        };
        Some(header.write(out.get_mut(..OutHeader::MAX_LEN)?))
    }

    fn take_rtx_seq(&mut self) -> SeqNo {
        let seq = self.rtx_seq;
        self.rtx_seq.0 += 1;
        seq
    }
}
