//! Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03): the most that a receiver says it can take.
use super::write::{finish, start};
use super::{FMT_APPLICATION, PAYLOAD_FEEDBACK, be32};
use crate::rtp::Ssrc;

const IDENTIFIER: &[u8; 4] = b"REMB";
/// Bits of the mantissa (section 2.2).
const MANTISSA_BITS: u32 = 18;

/// One estimate of a receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remb<'a> {
    /// Bit/s of all the streams together; what does not fit into 64 bits is `u64::MAX`.
    pub bitrate: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    /// Reads what follows the header of the RTCP packet; `None` if it is other application layer feedback.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let rest = body.get(8..)?.strip_prefix(IDENTIFIER)?;
        let word = be32(rest, 0)?;
        let (count, exponent) = ((word >> 24) as usize, word >> MANTISSA_BITS & 0x3f);
        let mantissa = u64::from(word & ((1 << MANTISSA_BITS) - 1));
        let fits = exponent <= mantissa.leading_zeros();
        let bitrate = if fits { mantissa.checked_shl(exponent).unwrap_or(0) } else { u64::MAX };
        Some(Self { bitrate, ssrcs: rest.get(4..4 + 4 * count)? })
    }

    /// The streams that it is about.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + 'a {
        self.ssrcs.chunks_exact(4).filter_map(|ssrc| be32(ssrc, 0))
    }
}

/// Appends an estimate about up to 255 streams; what 18 bits cannot hold is rounded down.
pub fn remb(out: &mut Vec<u8>, sender: Ssrc, bitrate: u64, ssrcs: &[Ssrc]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(255)];
    let at = start(out, FMT_APPLICATION, PAYLOAD_FEEDBACK);
    let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(MANTISSA_BITS);
    out.extend(sender.to_be_bytes());
    out.extend(0u32.to_be_bytes());
    out.extend(IDENTIFIER);
    let word = (ssrcs.len() as u32) << 24 | exponent << MANTISSA_BITS | (bitrate >> exponent) as u32;
    out.extend(word.to_be_bytes());
    for ssrc in ssrcs {
        out.extend(ssrc.to_be_bytes());
    }
    finish(out, at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Message, read};

    fn parse(word: u32) -> Option<u64> {
        let body = [&[0; 8][..], IDENTIFIER, &word.to_be_bytes()].concat();
        Remb::parse(&body).map(|estimate| estimate.bitrate)
    }

    #[test]
    fn what_is_written_is_read_again_with_eighteen_bits() {
        for (bitrate, expected) in [(0, 0), (262_143, 262_143), (2_500_001, 2_500_000), (u64::MAX, 262_143 << 46)] {
            let mut out = Vec::new();
            remb(&mut out, 1, bitrate, &[7, 8]);
            let mut found = None;
            assert!(read(&out, |message| {
                let Message::Remb(estimate) = message else { panic!("{message:?}") };
                found = Some((estimate.bitrate, estimate.ssrcs().collect::<Vec<_>>()));
            }));
            assert_eq!(found, Some((expected, vec![7, 8])));
        }
    }

    #[test]
    fn an_exponent_too_large_is_no_small_number() {
        assert_eq!(parse(63 << 18 | 0x3_ffff), Some(u64::MAX));
        assert_eq!(parse(63 << 18 | 1), Some(1 << 63));
        assert_eq!(parse(63 << 18), Some(0));
    }

    #[test]
    fn streams_that_are_not_there_and_other_feedback_are_passed_over() {
        assert_eq!(parse(1 << 24 | 5), None);
        assert_eq!(Remb::parse(b"\0\0\0\0\0\0\0\0RPSI\0\0\0\0"), None);
        assert_eq!(Remb::parse(b"\0\0\0\0\0\0\0\0REMB\0\0"), None);
    }
}
