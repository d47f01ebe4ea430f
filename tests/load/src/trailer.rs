//! The last bytes of each payload: who sent it, when, and as which of its stream. Written by the sender, read by receivers.
//!
//! ```text
//!  0      8      12       16     17      18      20         24
//!  | sent | call | sender | kind | layer | magic | sequence |     big endian
//! ```

/// Bytes of a trailer.
pub const LEN: usize = 24;
/// Tells a payload of ours from what a server makes up itself.
const MAGIC: u16 = 0x7c1d;

/// What a stream carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A microphone.
    Voice = 1,
    /// A shared screen.
    Screen = 2,
    /// A camera.
    Camera = 3,
}

impl Kind {
    /// Whether it is a picture.
    pub fn is_video(self) -> bool {
        self != Self::Voice
    }

    fn read(byte: u8) -> Option<Self> {
        [Self::Voice, Self::Screen, Self::Camera].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One encoded stream of one participant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct StreamKey {
    /// Number of the call.
    pub call: u32,
    /// Number of the participant, which no other participant of the tool has.
    pub sender: u32,
    /// What it carries.
    pub kind: Kind,
    /// 0 without simulcast, else 1 for `l` and 2 for `h`.
    pub layer: u8,
}

/// What stands at the end of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// When it was handed to the socket, in nanoseconds of [`crate::clock`].
    pub sent: u64,
    /// The stream that it belongs to.
    pub stream: StreamKey,
    /// Its number in that stream, from 0.
    pub sequence: u32,
}

impl Trailer {
    /// Puts it over the end of a payload of at least [`LEN`] bytes.
    pub fn write(&self, payload: &mut [u8]) {
        let Some(end) = payload.last_chunk_mut::<LEN>() else { return };
        end[..8].copy_from_slice(&self.sent.to_be_bytes());
        end[8..12].copy_from_slice(&self.stream.call.to_be_bytes());
        end[12..16].copy_from_slice(&self.stream.sender.to_be_bytes());
        end[16] = self.stream.kind as u8;
        end[17] = self.stream.layer;
        end[18..20].copy_from_slice(&MAGIC.to_be_bytes());
        end[20..].copy_from_slice(&self.sequence.to_be_bytes());
    }

    /// Reads it; `None` when the payload is none of ours.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let end = payload.last_chunk::<LEN>()?;
        let [s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3, p0, p1, p2, p3, kind, layer, m0, m1, q0, q1, q2, q3] =
            *end;
        if u16::from_be_bytes([m0, m1]) != MAGIC {
            return None;
        }
        Some(Self {
            sent: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            stream: StreamKey {
                call: u32::from_be_bytes([c0, c1, c2, c3]),
                sender: u32::from_be_bytes([p0, p1, p2, p3]),
                kind: Kind::read(kind)?,
                layer,
            },
            sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stream = StreamKey { call: 3, sender: 70_000, kind: Kind::Camera, layer: 2 };
        let trailer = Trailer { sent: 1 << 40, stream, sequence: 9 };
        let mut payload = [7; 80];
        trailer.write(&mut payload);
        assert_eq!(Trailer::read(&payload), Some(trailer));
        assert_eq!(payload[..56], [7; 56]);
    }

    #[test]
    fn what_others_made_is_none_of_ours() {
        assert_eq!(Trailer::read(&[0; 80]), None);
        assert_eq!(Trailer::read(&[0; LEN - 1]), None);
        let mut payload = [0; LEN];
        Trailer { sent: 0, stream: StreamKey { call: 0, sender: 0, kind: Kind::Voice, layer: 0 }, sequence: 0 }
            .write(&mut payload);
        payload[16] = 9;
        assert_eq!(Trailer::read(&payload), None);
    }
}
