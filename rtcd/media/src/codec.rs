//! Codecs: their names in SDP, and what of their payload an SFU reads.

use serde::{Deserialize, Serialize};

/// A codec that is forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Codec {
    /// RFC 7587.
    #[default]
    Opus,
    /// RFC 7741.
    Vp8,
    /// The AV1 RTP specification.
    Av1,
}

impl Codec {
    /// By its encoding name in `a=rtpmap`.
    pub fn from_encoding_name(name: &str) -> Option<Self> {
        [Self::Opus, Self::Vp8, Self::Av1].into_iter().find(|codec| codec.encoding_name().eq_ignore_ascii_case(name))
    }
    /// The encoding name in `a=rtpmap`.
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "VP8",
            Self::Av1 => "AV1",
        }
    }
    /// The MIME type, as metrics and statistics show it.
    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Opus => "audio/opus",
            Self::Vp8 => "video/VP8",
            Self::Av1 => "video/AV1",
        }
    }
    /// Ticks of the RTP clock per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 | Self::Av1 => 90_000,
        }
    }
    /// Whether it carries pictures.
    pub const fn is_video(self) -> bool {
        !matches!(self, Self::Opus)
    }
    /// Whether a decoder can start with this payload. Sound starts anywhere.
    pub fn is_keyframe_start(self, payload: &[u8]) -> bool {
        match self {
            Self::Opus => true,
            Self::Vp8 => Vp8Descriptor::parse(payload).is_some_and(|descriptor| descriptor.keyframe),
            // N of the aggregation header: the first packet of a coded video sequence (section 4.4).
            Self::Av1 => payload.first().is_some_and(|aggregation| aggregation & 0x08 != 0),
        }
    }
}

/// The VP8 payload descriptor (RFC 7741, section 4.2), as far as a switch of layers rewrites it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vp8Descriptor {
    /// First packet of a key frame.
    pub keyframe: bool,
    /// Where the picture id lies, and its value.
    pub picture_id: Option<(usize, PictureId)>,
    /// Where TL0PICIDX lies, and its value.
    pub tl0_picture_index: Option<(usize, u8)>,
}

/// A picture id of 7 or 15 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PictureId {
    /// M is 0.
    Short(u8),
    /// M is 1.
    Long(u16),
}

impl PictureId {
    /// The number.
    pub fn value(self) -> u16 {
        match self {
            Self::Short(value) => u16::from(value),
            Self::Long(value) => value,
        }
    }
}

impl Vp8Descriptor {
    /// Reads the descriptor; `None` when the payload ends inside of it.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut at = 1;
        let (mut picture_id, mut tl0_picture_index) = (None, None);
        if first & 0x80 != 0 {
            let extension = *payload.get(at)?;
            at += 1;
            if extension & 0x80 != 0 {
                let high = *payload.get(at)?;
                let (id, len) = if high & 0x80 != 0 {
                    let low = *payload.get(at + 1)?;
                    (PictureId::Long(u16::from_be_bytes([high & 0x7f, low])), 2)
                } else {
                    (PictureId::Short(high), 1)
                };
                picture_id = Some((at, id));
                at += len;
            }
            if extension & 0x40 != 0 {
                tl0_picture_index = Some((at, *payload.get(at)?));
                at += 1;
            }
            if extension & 0x30 != 0 {
                at += 1;
            }
        }
        let body = *payload.get(at)?;
        // S set and partition 0: the frame begins here. Its first bit is 0 in a key frame (RFC 6386, section 9.1).
        let keyframe = first & 0x17 == 0x10 && body & 1 == 0;
        Some(Self { keyframe, picture_id, tl0_picture_index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_descriptors_of_all_lengths_are_read() {
        let plain = Vp8Descriptor::parse(&[0x10, 0x00]).expect("whole");
        assert!(plain.keyframe && plain.picture_id.is_none());
        let long = Vp8Descriptor::parse(&[0x90, 0xe0, 0x81, 0x02, 9, 0x40, 0x01]).expect("whole");
        assert_eq!(long.picture_id, Some((2, PictureId::Long(0x102))));
        assert_eq!((long.tl0_picture_index, long.keyframe), (Some((4, 9)), false));
        let short = Vp8Descriptor::parse(&[0x90, 0x80, 0x11, 0x00]).expect("whole");
        assert_eq!((short.picture_id, short.keyframe), (Some((2, PictureId::Short(0x11))), true));
        assert!(!Vp8Descriptor::parse(&[0x00, 0x00]).expect("whole").keyframe, "a later packet of the frame");
        assert_eq!(Vp8Descriptor::parse(&[0x90, 0x80, 0x81]), None);
    }

    #[test]
    fn av1_sequences_begin_where_the_aggregation_header_says() {
        assert!(Codec::Av1.is_keyframe_start(&[0x18]));
        assert!(!Codec::Av1.is_keyframe_start(&[0x10]));
        assert!(!Codec::Av1.is_keyframe_start(&[]));
    }
}
