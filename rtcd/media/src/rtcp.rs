//! RTCP (RFC 3550, section 6; RFC 4585; RFC 5104): a walk over compound packets, and writers into a buffer.
mod arrivals;
mod remb;
mod transport_cc;
mod write;

pub use arrivals::{ARRIVAL_PERIOD_US, TransportCc};
pub use remb::{Remb, remb};
pub use transport_cc::{INTERVAL as TRANSPORT_CC_INTERVAL, TransportCcRecorder};
pub use write::{nack, pli, receiver_report, sender_report, source_description};

use crate::rtp::Ssrc;
use serde::{Deserialize, Serialize};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// Feedback message types: generic NACK and transport-wide congestion control of 205, PLI, FIR and
/// application layer feedback (REMB) of 206.
const FMT_NACK: u8 = 1;
const FMT_TRANSPORT_CC: u8 = 15;
const FMT_PLI: u8 = 1;
const FMT_FIR: u8 = 4;
const FMT_APPLICATION: u8 = 15;
/// Reports that one compound packet is looked at for; 31 blocks of each is what the format allows anyway.
const MAX_PACKETS: usize = 32;

/// What a sender says of its clock (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SenderInfo {
    /// The stream.
    pub ssrc: Ssrc,
    /// NTP time, 32.32 fixed point.
    pub ntp: u64,
    /// The same instant in the stream's clock.
    pub rtp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload octets sent so far.
    pub octets: u32,
}

/// What a receiver says of one stream (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    /// The stream reported on.
    pub ssrc: Ssrc,
    /// Part lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all, 24 bits, may be negative.
    pub cumulative_lost: i32,
    /// Highest sequence number with its roll-overs.
    pub highest: u32,
    /// Interarrival jitter in the stream's clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report, 0 if none.
    pub last_sr: u32,
    /// Delay since then in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// One message that an SFU acts upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A sender report's own part; its blocks follow as [`Message::Report`].
    Sender(SenderInfo),
    /// One report block.
    Report(ReportBlock),
    /// Generic NACK: packets of a stream are missing.
    Nack {
        /// The stream.
        media: Ssrc,
        /// Pairs of packet id and bit mask; see [`lost_packets`].
        pairs: &'a [u8],
    },
    /// A picture of a stream is lost.
    Pli {
        /// The stream.
        media: Ssrc,
    },
    /// A key frame of a stream is wanted (RFC 5104, section 4.3.1).
    Fir {
        /// The stream.
        media: Ssrc,
    },
    /// When packets with transport-wide numbers have arrived.
    TransportCc(TransportCc<'a>),
    /// The most that the receiver wants to be sent.
    Remb(Remb<'a>),
}

/// Calls `visit` with each message of a compound packet. What is unknown or lies about its length is passed over; a
/// length that leaves the packet ends the walk. Returns whether the packet was well formed as a whole.
pub fn read<'a>(mut compound: &'a [u8], mut visit: impl FnMut(Message<'a>)) -> bool {
    for _ in 0..MAX_PACKETS {
        if compound.is_empty() {
            return true;
        }
        let Some(header) = compound.get(..4).filter(|header| header[0] >> 6 == 2) else { return false };
        let len = 4 * (u16::from_be_bytes([header[2], header[3]]) as usize + 1);
        let Some(packet) = compound.get(..len) else { return false };
        read_one(header[0] & 0x1f, header[1], &packet[4..], &mut visit);
        compound = &compound[len..];
    }
    compound.is_empty()
}

/// Splits a compound packet between the packets in it, so that no part is longer than `most` unless it is one packet. What
/// comes out may be of reduced size (RFC 5506).
pub fn split(mut compound: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut end = 0;
        while let Some(header) = compound.get(end..end + 4) {
            let next = end + 4 * (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1);
            if next > compound.len() || (end > 0 && next > most) {
                break;
            }
            end = next;
        }
        let (part, rest) = compound.split_at(end);
        compound = rest;
        (!part.is_empty()).then_some(part)
    })
}

fn read_one<'a>(count: u8, kind: u8, body: &'a [u8], visit: &mut impl FnMut(Message<'a>)) {
    match (kind, count) {
        (SENDER_REPORT, _) => {
            let Some(info) = sender_info(body) else { return };
            visit(Message::Sender(info));
            report_blocks(&body[24..], count, visit);
        }
        (RECEIVER_REPORT, _) => report_blocks(body.get(4..).unwrap_or_default(), count, visit),
        (TRANSPORT_FEEDBACK, FMT_NACK) => {
            if let (Some(media), Some(pairs)) = (be32(body, 4), body.get(8..)) {
                visit(Message::Nack { media, pairs });
            }
        }
        (PAYLOAD_FEEDBACK, FMT_PLI) => {
            if let Some(media) = be32(body, 4) {
                visit(Message::Pli { media });
            }
        }
        (PAYLOAD_FEEDBACK, FMT_FIR) => {
            let entries = body.get(8..).unwrap_or_default().chunks_exact(8);
            entries.filter_map(|entry| be32(entry, 0)).for_each(|media| visit(Message::Fir { media }));
        }
        (TRANSPORT_FEEDBACK, FMT_TRANSPORT_CC) => {
            if let Some(feedback) = TransportCc::parse(body) {
                visit(Message::TransportCc(feedback));
            }
        }
        (PAYLOAD_FEEDBACK, FMT_APPLICATION) => {
            if let Some(estimate) = Remb::parse(body) {
                visit(Message::Remb(estimate));
            }
        }
        _ => {}
    }
}

fn sender_info(body: &[u8]) -> Option<SenderInfo> {
    Some(SenderInfo {
        ssrc: be32(body, 0)?,
        ntp: u64::from(be32(body, 4)?) << 32 | u64::from(be32(body, 8)?),
        rtp: be32(body, 12)?,
        packets: be32(body, 16)?,
        octets: be32(body, 20)?,
    })
}

fn report_blocks<'a>(bytes: &'a [u8], count: u8, visit: &mut impl FnMut(Message<'a>)) {
    for block in bytes.chunks_exact(24).take(count as usize) {
        let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        visit(Message::Report(ReportBlock {
            ssrc: word(0),
            fraction_lost: block[4],
            // Sign-extended from 24 bits.
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            highest: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        }));
    }
}

/// The sequence numbers that the pairs of a NACK name (RFC 4585, section 6.2.1).
pub fn lost_packets(pairs: &[u8]) -> impl Iterator<Item = u16> {
    pairs.chunks_exact(4).flat_map(|pair| {
        let first = u16::from_be_bytes([pair[0], pair[1]]);
        let mask = u16::from_be_bytes([pair[2], pair[3]]);
        let following = (0..16).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| first.wrapping_add(bit + 1));
        std::iter::once(first).chain(following)
    })
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(bytes: &[u8]) -> Vec<Message<'_>> {
        let mut out = Vec::new();
        assert!(read(bytes, |message| out.push(message)));
        out
    }

    #[test]
    fn what_is_written_is_read_again() {
        let info = SenderInfo { ssrc: 1, ntp: 0x0102_0304_0506_0708, rtp: 9, packets: 10, octets: 11 };
        let block =
            ReportBlock { ssrc: 7, fraction_lost: 128, cumulative_lost: -3, highest: 70_000, ..Default::default() };
        let mut bytes = Vec::new();
        sender_report(&mut bytes, &info);
        source_description(&mut bytes, 1, "a session");
        receiver_report(&mut bytes, 1, &[block]);
        nack(&mut bytes, 1, 7, &[10, 12, 26, 27, 65_535]);
        pli(&mut bytes, 1, 7);
        let read = messages(&bytes);
        assert_eq!(read[..2], [Message::Sender(info), Message::Report(block)]);
        let Message::Nack { media: 7, pairs } = read[2] else { panic!("a NACK: {:?}", read[2]) };
        assert_eq!(lost_packets(pairs).collect::<Vec<_>>(), [10, 12, 26, 27, 65_535]);
        assert_eq!(read[3], Message::Pli { media: 7 });
    }

    #[test]
    fn a_long_compound_is_split_between_its_packets_and_nothing_is_lost() {
        let mut bytes = Vec::new();
        for at in 0..60u32 {
            nack(&mut bytes, 1, at, &(0..40).map(|lost| lost * 20).collect::<Vec<_>>());
            pli(&mut bytes, 1, at);
        }
        let parts: Vec<_> = split(&bytes, 1100).collect();
        assert!(parts.len() > 5 && parts.iter().all(|part| part.len() <= 1100));
        assert_eq!(parts.concat(), bytes);
        assert_eq!(parts.iter().map(|part| messages(part).len()).sum::<usize>(), 120);
        assert_eq!(split(&[], 1100).count(), 0);
        assert_eq!(split(&bytes[..172], 100).collect::<Vec<_>>(), [&bytes[..172]], "one packet is not torn");
    }

    #[test]
    fn a_full_intra_request_names_its_streams_in_the_entries() {
        let bytes = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0];
        assert_eq!(messages(&bytes), [Message::Fir { media: 7 }]);
    }

    #[test]
    fn a_length_past_the_end_ends_the_walk() {
        assert!(!read(&[0x81, 206, 0, 9, 0, 0, 0, 1], |_| panic!("nothing to read")));
        assert!(!read(&[0x01, 206, 0, 0], |_| panic!("nothing to read")));
    }

    #[test]
    fn more_blocks_announced_than_there_are_do_no_harm() {
        let mut bytes = Vec::new();
        receiver_report(&mut bytes, 1, &[ReportBlock::default()]);
        bytes[0] |= 0x1f;
        assert_eq!(messages(&bytes).len(), 1);
    }
}
