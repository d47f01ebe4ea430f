//! Datagrams framed by a 16-bit length (RFC 4571), out of a byte stream.
use super::socket::RECV_SIZE;
use rtcd_media::footprint::{Footprint, flat};

/// Longest frame that is looked at; what a peer sends is made for datagrams.
pub const MAX_FRAME: usize = RECV_SIZE;
/// Shorter ones are no packet of anything.
const MIN_DATAGRAM: usize = 8;

/// Bytes in which a stream that was cut somewhere must come into step again.
const UNSURE: usize = 64 * 1024;
/// Frames in a row that are no accident.
const ROW: usize = 4;

/// Splits a byte stream into frames.
#[derive(Debug, Default)]
pub struct Deframer {
    bytes: Vec<u8>,
    read: usize,
    /// In so many bytes what looks like the length of a frame may be something else.
    unsure: usize,
    /// Frames that have come one behind the other.
    row: usize,
}

impl Footprint for Deframer {
    fn heap_bytes(&self) -> usize {
        flat(&self.bytes)
    }
}

/// Whether a datagram of ours can begin so (RFC 7983): STUN by its cookie, DTLS, SRTP.
fn can_be(begin: &[u8; MIN_DATAGRAM]) -> bool {
    match begin {
        [0..=3, _, _, _, cookie @ ..] => *cookie == [0x21, 0x12, 0xa4, 0x42],
        [first, ..] => matches!(first, 20..=63 | 128..=191),
    }
}

/// What begins somewhere in a stream.
enum Row {
    /// So many frames that it is no accident, or some and nothing behind them yet.
    Some,
    /// One frame, and nothing behind it yet.
    One,
    /// Maybe a frame: its end has not come yet.
    Open,
    /// No frame, or one with none behind it.
    Broken,
}

/// One length in eighty of random bytes could be a frame's, so that those behind it are looked at too.
fn row_at(mut bytes: &[u8]) -> Row {
    for frames in 0..ROW {
        let [high, low, datagram @ ..] = bytes else {
            return match (bytes.len(), frames) {
                (0, 1) => Row::One,
                (0, 2..) => Row::Some,
                _ => Row::Open,
            };
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if !(MIN_DATAGRAM..=MAX_FRAME).contains(&len) {
            return Row::Broken;
        }
        match (datagram.first_chunk(), datagram.get(len..)) {
            (Some(begin), _) if !can_be(begin) => return Row::Broken,
            (_, Some(behind)) => bytes = behind,
            (_, None) => return Row::Open,
        }
    }
    Row::Some
}

/// The peer announced a frame longer than [`MAX_FRAME`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct FrameTooLong(pub usize);

impl Deframer {
    /// A deframer that has already received `bytes`.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// One for a stream that somebody else has read up to the end of a frame, or into one.
    pub fn in_the_middle() -> Self {
        Self { unsure: UNSURE, ..Self::default() }
    }

    /// Bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, FrameTooLong> {
        if self.unsure > 0 && !self.come_into_step() {
            return Ok(None);
        }
        let rest = &self.bytes[self.read..];
        let Some(header) = rest.first_chunk() else { return Ok(None) };
        let len = u16::from_be_bytes(*header) as usize;
        if len > MAX_FRAME {
            return Err(FrameTooLong(len));
        }
        if rest.len() < 2 + len {
            return Ok(None);
        }
        let start = self.read + 2;
        self.read = start + len;
        self.row = (self.row + 1).min(ROW);
        self.unsure = if self.row == ROW { 0 } else { self.unsure.saturating_sub(2 + len) };
        Ok(Some(&mut self.bytes[start..start + len]))
    }

    /// Passes over what cannot be the beginning of a frame; whether it is known where one begins.
    fn come_into_step(&mut self) -> bool {
        let rest = &self.bytes[self.read..];
        let (mut found, mut open) = (None, None);
        for at in 0..rest.len() {
            match row_at(&rest[at..]) {
                Row::Some => found = Some(at),
                Row::One if open.is_none() => found = Some(at),
                Row::Open if open.is_none() => open = Some(at),
                Row::One | Row::Open | Row::Broken => {}
            }
            if found.is_some() {
                break;
            }
        }
        let skipped = found.or(open).unwrap_or(rest.len()).min(self.unsure);
        if skipped > 0 {
            (self.read, self.unsure, self.row) = (self.read + skipped, self.unsure - skipped, 0);
        }
        found.is_some() || self.unsure == 0
    }

    /// What has not been taken as a frame.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.read);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_come_in() {
        let mut deframer = Deframer::default();
        let mut frames = Vec::new();
        for byte in [0, 3, 1, 2, 3, 0, 0, 0, 1, 9] {
            deframer.push(&[byte]);
            while let Some(frame) = deframer.next_frame().expect("short enough") {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]]);
    }

    /// Of packets that look like random numbers behind their first byte.
    fn encrypted(lens: impl Iterator<Item = usize>) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let frames: Vec<Vec<u8>> = lens
            .map(|len| std::iter::once(0x90).chain(std::iter::repeat_with(&mut random).take(len - 1)).collect())
            .collect();
        let stream = frames.iter().flat_map(|frame| [&(frame.len() as u16).to_be_bytes(), &frame[..]].concat());
        (stream.collect(), frames)
    }

    fn read(deframer: &mut Deframer) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(frame) = deframer.next_frame().expect("short enough") {
            frames.push(frame.to_vec());
        }
        frames
    }

    #[test]
    fn a_stream_that_was_cut_within_a_frame_comes_into_step_with_one_of_the_next() {
        let (stream, all) = encrypted((0..100).map(|at| 40 + at * 37 % 1160));
        let ends: Vec<usize> = all.iter().scan(0, |end, frame| Some((*end += 2 + frame.len(), *end).1)).collect();
        // Whatever comes at once.
        for piece in [100, 536, 1448, 30_000] {
            let mut missed = 0;
            for cut in 0..6000 {
                let mut deframer = Deframer::in_the_middle();
                let mut frames = Vec::new();
                for bytes in stream[cut..].chunks(piece) {
                    deframer.push(bytes);
                    frames.extend(read(&mut deframer));
                }
                let whole = ends.iter().position(|end| *end >= cut).map_or(0, |at| at + usize::from(cut > 0));
                missed += usize::from(frames != all[whole..]);
                assert!(
                    frames.ends_with(&all[whole + 12..]),
                    "cut at {cut}: {} of {}",
                    frames.len(),
                    all.len() - whole
                );
            }
            println!("in pieces of {piece} more than one frame was missed of {missed} of 6000");
            assert!(missed < 180, "{missed} in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_stream_of_frames_at_all_ends() {
        let mut deframer = Deframer::in_the_middle();
        deframer.push(&vec![0xff; UNSURE + 2]);
        assert_eq!(deframer.next_frame(), Err(FrameTooLong(65_535)), "not for ever");
    }

    #[test]
    fn a_frame_too_long_is_an_error_before_it_is_stored() {
        let mut deframer = Deframer::default();
        deframer.push(&[0xff, 0xff]);
        assert_eq!(deframer.next_frame(), Err(FrameTooLong(65_535)));
    }

    #[test]
    fn what_was_not_taken_can_be_handed_on() {
        let mut deframer = Deframer::default();
        deframer.push(&[0, 1, 7, 0, 2, 8]);
        assert_eq!(deframer.next_frame(), Ok(Some(&mut [7][..])));
        assert_eq!(deframer.into_rest(), [0, 2, 8]);
    }
}
