//! Transport-wide congestion control feedback as it is read (draft-holmer-rmcat-transport-wide-cc-extensions-01, section
//! 3.1): which of our packets have arrived, and when by the receiver's clock.
use super::be32;

/// Octets of sender, media source, base, count, reference time and feedback count.
const FIXED: usize = 16;
/// One unit of the reference time.
const REFERENCE_US: i64 = 64_000;
/// One unit of a delta.
const DELTA_US: i64 = 250;

/// Arrival times come back to where they were after this many microseconds: the reference time has 24 bits.
pub const ARRIVAL_PERIOD_US: i64 = REFERENCE_US << 24;

/// Symbols of a packet status (section 3.1.1); 3 is reserved.
const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// One feedback packet, found well formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportCc<'a> {
    /// The first number that it reports on.
    pub base: u16,
    /// How many it reports on, the missing ones included.
    pub count: u16,
    /// Goes up by one with each feedback of this receiver.
    pub feedback_count: u8,
    reference: u32,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportCc<'a> {
    /// Reads what follows the header of the RTCP packet. `None` if a status is reserved, or statuses or deltas are missing.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let base = u16::from_be_bytes([*body.get(8)?, *body.get(9)?]);
        let count = u16::from_be_bytes([*body.get(10)?, *body.get(11)?]);
        let last = be32(body, 12)?;
        let rest = body.get(FIXED..)?;
        // Chunks come first and say themselves where they end; what their deltas take must be there, too.
        let (mut covered, mut deltas, mut at) = (0u32, 0, 0);
        while covered < u32::from(count) {
            let chunk = Chunk::read(rest.get(at..at + 2)?);
            let len = chunk.len().min(u32::from(count) - covered);
            deltas += chunk.delta_octets(len)?;
            covered += len;
            at += 2;
        }
        let (chunks, rest) = rest.split_at(at);
        let deltas = rest.get(..deltas)?;
        Some(Self { base, count, feedback_count: last as u8, reference: last >> 8, chunks, deltas })
    }

    /// The packets that have arrived, ascending by number: number and arrival in microseconds by the receiver's clock,
    /// modulo [`ARRIVAL_PERIOD_US`]. The others from `base` on, `count` in all, have not. A run of missing packets costs one
    /// step, so that a short packet cannot name a million of them.
    pub fn arrivals(&self) -> impl Iterator<Item = (u16, i64)> + 'a {
        let (base, count) = (self.base, u32::from(self.count));
        let (mut chunks, mut deltas) = (self.chunks.chunks_exact(2), self.deltas);
        let mut clock = i64::from(self.reference) * REFERENCE_US;
        let (mut chunk, mut at, mut begun) = (Chunk::Run { symbol: NOT_RECEIVED, len: 0 }, 0, 0);
        std::iter::from_fn(move || {
            while begun < count {
                if at == chunk.len() {
                    chunk = Chunk::read(chunks.next()?);
                    at = 0;
                }
                if let Chunk::Run { symbol: NOT_RECEIVED, len } = chunk {
                    begun += len - at;
                    at = len;
                    continue;
                }
                let (symbol, number) = (chunk.symbol(at), base.wrapping_add(begun as u16));
                at += 1;
                begun += 1;
                let (delta, rest) = match (symbol, deltas) {
                    (SMALL_DELTA, [delta, rest @ ..]) => (i64::from(*delta), rest),
                    (LARGE_DELTA, [high, low, rest @ ..]) => (i64::from(i16::from_be_bytes([*high, *low])), rest),
                    _ => continue,
                };
                deltas = rest;
                clock += delta * DELTA_US;
                return Some((number, clock));
            }
            None
        })
    }
}

/// A packet status chunk (sections 3.1.3 and 3.1.4).
#[derive(Clone, Copy)]
enum Chunk {
    Run { symbol: u8, len: u32 },
    OneBit(u16),
    TwoBits(u16),
}

impl Chunk {
    fn read(bytes: &[u8]) -> Self {
        let word = u16::from_be_bytes([bytes[0], bytes[1]]);
        match word >> 14 {
            0 | 1 => Self::Run { symbol: (word >> 13) as u8, len: u32::from(word & 0x1fff) },
            2 => Self::OneBit(word),
            _ => Self::TwoBits(word),
        }
    }

    fn len(self) -> u32 {
        match self {
            Self::Run { len, .. } => len,
            Self::OneBit(_) => 14,
            Self::TwoBits(_) => 7,
        }
    }

    fn symbol(self, at: u32) -> u8 {
        match self {
            Self::Run { symbol, .. } => symbol,
            Self::OneBit(word) => (word >> (13 - at) & 1) as u8,
            Self::TwoBits(word) => (word >> (12 - 2 * at) & 3) as u8,
        }
    }

    /// Octets of the deltas of its first `len` statuses; `None` if one is reserved, or if it says nothing at all.
    fn delta_octets(self, len: u32) -> Option<usize> {
        let octets = |symbol| match symbol {
            NOT_RECEIVED | SMALL_DELTA | LARGE_DELTA => Some(usize::from(symbol)),
            _ => None,
        };
        match self {
            Self::Run { len: 0, .. } => None,
            Self::Run { symbol, .. } => Some(octets(symbol)? * len as usize),
            _ => (0..len).map(|at| octets(self.symbol(at))).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Message, TransportCcRecorder, read};
    use std::time::{Duration, Instant};

    /// Sender, media source, base 65,534, so many statuses, reference 2, feedback 9, then these octets.
    fn body(count: u16, rest: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe];
        body.extend(count.to_be_bytes());
        body.extend([0, 0, 2, 9]);
        body.extend(rest);
        body
    }

    fn arrivals(count: u16, rest: &[u8]) -> Option<Vec<(u16, i64)>> {
        TransportCc::parse(&body(count, rest)).map(|feedback| feedback.arrivals().collect())
    }

    #[test]
    fn every_kind_of_chunk_is_read_across_the_wrap_of_numbers() {
        let chunks = [
            [0b0010_0000, 2],          // a run of two received, small
            [0b0000_0000, 3],          // a run of three missing
            [0b1010_0000, 0b000_0001], // one bit each: the 1st and the 14th received
            [0b1101_1000, 0],          // two bits each: small, large, then missing ones of which two are reported
        ];
        let deltas = [4, 8, 1, 0, 255, 0xff, 0xfc, 99];
        let rest = [chunks.concat(), deltas.to_vec()].concat();
        let at = |steps: i64| 128_000 + steps * 250;
        let expected = vec![(65_534, at(4)), (65_535, at(12)), (3, at(13)), (16, at(13)), (17, at(268)), (18, at(264))];
        assert_eq!(arrivals(23, &rest), Some(expected));
    }

    #[test]
    fn a_run_may_be_longer_than_what_is_reported() {
        assert_eq!(arrivals(1, &[0x3f, 0xff, 4]), Some(vec![(65_534, 129_000)]));
        assert_eq!(arrivals(65_535, &[0x1f, 0xff].repeat(9)), Some(vec![]), "nothing has arrived");
        assert_eq!(arrivals(0, &[]), Some(vec![]));
    }

    #[test]
    fn statuses_and_deltas_that_are_not_there_make_it_unreadable() {
        assert_eq!(arrivals(2, &[0x20, 2, 4]), None, "two deltas announced, one there");
        assert_eq!(arrivals(2, &[0x20, 1, 4, 0]), None, "a chunk is missing");
        assert_eq!(arrivals(1, &[0x60, 1, 4, 0]), None, "a reserved status in a run");
        assert_eq!(arrivals(1, &[0xf0, 0, 4, 0]), None, "a reserved status in a vector");
        assert_eq!(arrivals(1, &[0, 0, 0x20, 1, 4]), None, "a run of none");
        assert_eq!(TransportCc::parse(&body(0, &[])[..15]), None);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn what_the_recorder_writes_is_read_again() {
        let epoch = Instant::now();
        let mut recorder = TransportCcRecorder::new(epoch);
        let sent = [(65_530u16, 1000u64), (65_533, 1010), (2, 1200), (1, 1201), (3, 1202)];
        for (number, ms) in sent {
            recorder.record(epoch + Duration::from_millis(ms), 7, number);
        }
        let mut out = Vec::new();
        recorder.write(&mut out, 1);
        let mut found = Vec::new();
        assert!(read(&out, |message| {
            let Message::TransportCc(feedback) = message else { panic!("{message:?}") };
            assert_eq!((feedback.base, feedback.count), (65_530, 10));
            found.extend(feedback.arrivals());
        }));
        let ms = |ms: i64| ms * 1000;
        let expected = [(65_530, 1000), (65_533, 1010), (1, 1201), (2, 1200), (3, 1202)];
        assert_eq!(found, expected.map(|(number, at)| (number, ms(at))));
    }
}
