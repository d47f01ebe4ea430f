//! Datagrams framed by a 16-bit length (RFC 4571), out of a byte stream.
use super::socket::RECV_SIZE;

/// Longest frame that is looked at; what a peer sends is made for datagrams.
pub const MAX_FRAME: usize = RECV_SIZE;
/// Shorter ones are no packet of anything.
const MIN_DATAGRAM: usize = 8;

/// Bytes in which a stream that was cut somewhere must come into step again.
const UNSURE: usize = 64 * 1024;

/// Splits a byte stream into frames.
#[derive(Debug, Default)]
pub struct Deframer {
    bytes: Vec<u8>,
    read: usize,
    /// In so many bytes what looks like the length of a frame may be something else.
    unsure: usize,
}

/// Whether a datagram of ours can begin so (RFC 7983): STUN by its cookie, DTLS, SRTP.
fn can_be(begin: &[u8; MIN_DATAGRAM]) -> bool {
    match begin {
        [0..=3, _, _, _, cookie @ ..] => *cookie == [0x21, 0x12, 0xa4, 0x42],
        [first, ..] => matches!(first, 20..=63 | 128..=191),
    }
}

/// The peer announced a frame longer than [`MAX_FRAME`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct FrameTooLong(pub usize);

impl Deframer {
    /// A deframer that has already received `bytes`.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { bytes, read: 0, unsure: 0 }
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
        self.come_into_step();
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
        self.unsure = self.unsure.saturating_sub(2 + len);
        Ok(Some(&mut self.bytes[start..start + len]))
    }

    /// Passes over what cannot be the beginning of a frame.
    fn come_into_step(&mut self) {
        while self.unsure > 0
            && let Some([high, low, datagram @ ..]) = self.bytes[self.read..].first_chunk::<10>()
        {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            if (MIN_DATAGRAM..=MAX_FRAME).contains(&len) && can_be(datagram) {
                return;
            }
            self.read += 1;
            self.unsure -= 1;
        }
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

    #[test]
    fn a_stream_that_was_cut_within_a_frame_comes_into_step_again() {
        // RTP packets of growing length whose bytes are lengths of nothing.
        let frame = |len: usize| [vec![0x90], vec![0xfe; len - 1]].concat();
        let mut stream = Vec::new();
        for len in 40..90 {
            stream.extend((len as u16).to_be_bytes());
            stream.extend(frame(len));
        }
        for cut in [0, 1, 2, 3, 20, 41, 42, 43, 44, 100] {
            let mut deframer = Deframer::in_the_middle();
            deframer.push(&stream[cut..]);
            let mut frames = Vec::new();
            while let Some(frame) = deframer.next_frame().expect("short enough") {
                frames.push(frame.to_vec());
            }
            let expected: Vec<_> = (43..90).map(frame).collect();
            assert!(frames.ends_with(&expected), "cut at {cut}: {} frames", frames.len());
        }
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
