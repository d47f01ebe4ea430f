//! Writers: each appends one packet to a compound one.
use super::{FMT_NACK, FMT_PLI, PAYLOAD_FEEDBACK, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION};
use super::{SenderInfo, TRANSPORT_FEEDBACK};
use crate::rtp::Ssrc;

/// Starts a packet; the length is put in by [`finish`].
pub(super) fn start(out: &mut Vec<u8>, count: u8, kind: u8) -> usize {
    let at = out.len();
    out.extend([0x80 | count, kind, 0, 0]);
    at
}

/// Pads to whole words and writes the length of the packet that began at `at`.
pub(super) fn finish(out: &mut Vec<u8>, at: usize) {
    out.resize(out.len().next_multiple_of(4), 0);
    let words = ((out.len() - at) / 4 - 1) as u16;
    out[at + 2..at + 4].copy_from_slice(&words.to_be_bytes());
}

/// Appends a sender report without blocks.
pub fn sender_report(out: &mut Vec<u8>, info: &SenderInfo) {
    let at = start(out, 0, SENDER_REPORT);
    out.extend(info.ssrc.to_be_bytes());
    out.extend(info.ntp.to_be_bytes());
    for word in [info.rtp, info.packets, info.octets] {
        out.extend(word.to_be_bytes());
    }
    finish(out, at);
}

/// Appends a receiver report with up to 31 blocks.
pub fn receiver_report(out: &mut Vec<u8>, sender: Ssrc, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(31)];
    let at = start(out, blocks.len() as u8, RECEIVER_REPORT);
    out.extend(sender.to_be_bytes());
    for block in blocks {
        out.extend(block.ssrc.to_be_bytes());
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        out.extend((u32::from(block.fraction_lost) << 24 | lost).to_be_bytes());
        for word in [block.highest, block.jitter, block.last_sr, block.delay_since_last_sr] {
            out.extend(word.to_be_bytes());
        }
    }
    finish(out, at);
}

/// Appends a source description with a CNAME (RFC 3550, section 6.5.1); at most 255 bytes of it.
pub fn source_description(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let at = start(out, 1, SOURCE_DESCRIPTION);
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    out.extend(ssrc.to_be_bytes());
    out.extend([1, cname.len() as u8]);
    out.extend(cname);
    // The list of items ends in at least one zero byte.
    out.push(0);
    finish(out, at);
}

/// Appends a generic NACK; `lost` must be in ascending order (modulo the roll-over).
pub fn nack(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, lost: &[u16]) {
    let at = start(out, FMT_NACK, TRANSPORT_FEEDBACK);
    out.extend(sender.to_be_bytes());
    out.extend(media.to_be_bytes());
    let mut rest = lost;
    while let [first, following @ ..] = rest {
        let taken = following.iter().take_while(|seq| (1..=16).contains(&seq.wrapping_sub(*first))).count();
        let mask = following[..taken].iter().fold(0u16, |mask, seq| mask | 1 << (seq.wrapping_sub(*first) - 1));
        out.extend(first.to_be_bytes());
        out.extend(mask.to_be_bytes());
        rest = &following[taken..];
    }
    finish(out, at);
}

/// Appends a picture loss indication.
pub fn pli(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc) {
    let at = start(out, FMT_PLI, PAYLOAD_FEEDBACK);
    out.extend(sender.to_be_bytes());
    out.extend(media.to_be_bytes());
    finish(out, at);
}
