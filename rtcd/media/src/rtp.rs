//! RTP headers (RFC 3550, section 5.1) and header extensions (RFC 8285): a walk over the bytes, no allocation.

use serde::{Deserialize, Serialize};

/// A synchronisation source.
pub type Ssrc = u32;
/// An RTP sequence number under its roll-over counter (RFC 3711, section 3.3.1); the low 16 bits travel in the header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// What travels in the header.
    pub fn wire(self) -> u16 {
        self.0 as u16
    }
    /// The roll-over counter.
    pub fn roll_over(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Length of the header without CSRCs and extensions.
pub const FIXED_HEADER: usize = 12;

/// Length of the header with CSRCs and extension; `None` when the packet does not hold what it announces.
#[inline]
pub fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if packet.len() < FIXED_HEADER || first >> 6 != 2 {
        return None;
    }
    let mut len = FIXED_HEADER + 4 * (first & 0x0f) as usize;
    if first & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + 4 * u16::from_be_bytes([words[0], words[1]]) as usize;
    }
    (len <= packet.len()).then_some(len)
}

/// The ids under which one peer sends header extensions (`a=extmap`); 0 means not negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub mid: u8,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub rid: u8,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub repaired_rid: u8,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464)
    pub audio_level: u8,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub transport_cc: u8,
}

/// A header extension that we speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields of `ExtensionIds` say it")]
pub enum Extension {
    Mid,
    Rid,
    RepairedRid,
    AudioLevel,
    TransportCc,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mid, Self::Rid, Self::RepairedRid, Self::AudioLevel, Self::TransportCc];
}

impl ExtensionIds {
    /// The id of an extension, 0 when there is none.
    pub const fn get(&self, extension: Extension) -> u8 {
        match extension {
            Extension::Mid => self.mid,
            Extension::Rid => self.rid,
            Extension::RepairedRid => self.repaired_rid,
            Extension::AudioLevel => self.audio_level,
            Extension::TransportCc => self.transport_cc,
        }
    }

    /// Sets the id of an extension.
    pub const fn set(&mut self, extension: Extension, id: u8) {
        match extension {
            Extension::Mid => self.mid = id,
            Extension::Rid => self.rid = id,
            Extension::RepairedRid => self.repaired_rid = id,
            Extension::AudioLevel => self.audio_level = id,
            Extension::TransportCc => self.transport_cc = id,
        }
    }
}

/// What each id means in one peer's packets. The sections of a bundle may give one extension several ids, an id has one
/// meaning in all of them (RFC 8843, section 9.1).
#[derive(Clone, Debug)]
pub struct ExtensionMap([Option<Extension>; 256]);

impl Default for ExtensionMap {
    fn default() -> Self {
        Self([None; 256])
    }
}

impl ExtensionMap {
    /// Adds the ids of one section; an id that has a meaning already keeps it.
    pub fn add(&mut self, ids: &ExtensionIds) {
        for extension in Extension::ALL {
            let id = ids.get(extension);
            if id != 0 {
                self.0[usize::from(id)].get_or_insert(extension);
            }
        }
    }
}

impl From<&ExtensionIds> for ExtensionMap {
    fn from(ids: &ExtensionIds) -> Self {
        let mut map = Self::default();
        map.add(ids);
        map
    }
}

/// The fields of one packet's header that an SFU looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header<'a> {
    /// Where the payload begins.
    pub len: usize,
    /// Last packet of a frame, first of a talk spurt.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// 16 bits as on the wire.
    pub sequence: u16,
    /// In the codec's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: Ssrc,
    /// MID, when it is there.
    pub mid: Option<&'a [u8]>,
    /// RID, when it is there.
    pub rid: Option<&'a [u8]>,
    /// RID of the stream that an RTX packet repairs, when it is there.
    pub repaired_rid: Option<&'a [u8]>,
    /// The audio level extension's byte: voice flag and -dBov (RFC 6464, section 3).
    pub audio_level: Option<u8>,
    /// The transport-wide sequence number.
    pub transport_cc: Option<u16>,
}

impl<'a> Header<'a> {
    /// Reads the header of `packet`; extensions only as far as `map` knows them.
    #[inline]
    pub fn parse(packet: &'a [u8], map: &ExtensionMap) -> Option<Self> {
        let len = header_len(packet)?;
        let mut header = Self {
            len,
            marker: packet[1] & 0x80 != 0,
            payload_type: packet[1] & 0x7f,
            sequence: u16::from_be_bytes([packet[2], packet[3]]),
            timestamp: u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]),
            ssrc: u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]),
            ..Self::default()
        };
        if packet[0] & 0x10 != 0 {
            let at = FIXED_HEADER + 4 * (packet[0] & 0x0f) as usize;
            let profile = u16::from_be_bytes([packet[at], packet[at + 1]]);
            header.read_extensions(profile, &packet[at + 4..len], map);
        }
        Some(header)
    }

    fn read_extensions(&mut self, profile: u16, mut bytes: &'a [u8], map: &ExtensionMap) {
        let two_byte = profile & 0xfff0 == 0x1000;
        if !two_byte && profile != 0xbede {
            return;
        }
        while let [first, rest @ ..] = bytes {
            if *first == 0 {
                bytes = rest;
                continue;
            }
            let (id, len, rest) = match (two_byte, rest) {
                (true, [len, rest @ ..]) => (*first, *len as usize, rest),
                (true, []) => return,
                // Id 15 of the one-byte form ends the extensions (RFC 8285, section 4.2).
                (false, _) if first >> 4 == 15 => return,
                (false, rest) => (first >> 4, (first & 0x0f) as usize + 1, rest),
            };
            let Some(value) = rest.get(..len) else { return };
            self.read_extension(map.0[usize::from(id)], value);
            bytes = &rest[len..];
        }
    }

    fn read_extension(&mut self, extension: Option<Extension>, value: &'a [u8]) {
        match (extension, value) {
            (Some(Extension::Mid), value) => self.mid = Some(value),
            (Some(Extension::Rid), value) => self.rid = Some(value),
            (Some(Extension::RepairedRid), value) => self.repaired_rid = Some(value),
            (Some(Extension::AudioLevel), [level, ..]) => self.audio_level = Some(*level),
            (Some(Extension::TransportCc), [high, low]) => self.transport_cc = Some(u16::from_be_bytes([*high, *low])),
            _ => {}
        }
    }
}

/// What is written in front of a forwarded payload.
#[derive(Clone, Copy, Debug)]
pub struct OutHeader {
    /// As in [`Header`].
    pub marker: bool,
    /// The receiver's payload type.
    pub payload_type: u8,
    /// The outgoing sequence number.
    pub sequence: SeqNo,
    /// The outgoing timestamp.
    pub timestamp: u32,
    /// The outgoing stream.
    pub ssrc: Ssrc,
    /// Whether the payload ends in padding.
    pub padding: bool,
    /// The receiver's id of the audio level extension and its byte.
    pub audio_level: Option<(u8, u8)>,
    /// The receiver's id of the transport-wide sequence number and the number.
    pub transport_cc: Option<(u8, u16)>,
}

impl OutHeader {
    /// The longest header that [`write`](Self::write) makes: both extensions are five bytes.
    pub const MAX_LEN: usize = FIXED_HEADER + 4 + 8;

    /// Writes the header at the start of `buffer`, which must hold [`Self::MAX_LEN`]; returns its length.
    #[inline]
    pub fn write(&self, buffer: &mut [u8]) -> usize {
        let audio_level = self.audio_level.filter(|(id, _)| (1..15).contains(id));
        let transport_cc = self.transport_cc.filter(|(id, _)| (1..15).contains(id));
        let extended = audio_level.is_some() || transport_cc.is_some();
        buffer[0] = 0x80 | u8::from(self.padding) << 5 | u8::from(extended) << 4;
        buffer[1] = u8::from(self.marker) << 7 | self.payload_type;
        buffer[2..4].copy_from_slice(&self.sequence.wire().to_be_bytes());
        buffer[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        buffer[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if !extended {
            return FIXED_HEADER;
        }
        // RFC 8285, section 4.2: each id stands beside the length of its value less one.
        let mut end = FIXED_HEADER + 4;
        buffer[end..end + 8].fill(0);
        if let Some((id, number)) = transport_cc {
            let [high, low] = number.to_be_bytes();
            buffer[end..end + 3].copy_from_slice(&[id << 4 | 1, high, low]);
            end += 3;
        }
        if let Some((id, level)) = audio_level {
            buffer[end..end + 2].copy_from_slice(&[id << 4, level]);
            end += 2;
        }
        let end = end.next_multiple_of(4);
        let words = (end - FIXED_HEADER - 4) / 4;
        buffer[FIXED_HEADER..FIXED_HEADER + 4].copy_from_slice(&[0xbe, 0xde, 0, words as u8]);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: ExtensionIds = ExtensionIds { mid: 4, rid: 10, repaired_rid: 11, audio_level: 1, transport_cc: 3 };

    fn map() -> ExtensionMap {
        ExtensionMap::from(&IDS)
    }

    fn packet(profile: [u8; 2], extension: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x90, 0x80 | 111, 0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 7];
        bytes.extend(profile);
        bytes.extend(((extension.len() / 4) as u16).to_be_bytes());
        bytes.extend(extension);
        bytes.extend(b"payload");
        bytes
    }

    #[test]
    fn one_byte_extensions_are_read() {
        let bytes = packet([0xbe, 0xde], &[0x10, 0x85, 0x40, b'0', 0x31, 0xab, 0xcd, 0xa0, b'h', 0, 0, 0]);
        let header = Header::parse(&bytes, &map()).expect("well formed");
        assert_eq!((header.marker, header.payload_type, header.sequence, header.ssrc), (true, 111, 0x1234, 7));
        assert_eq!(header.audio_level, Some(0x85));
        assert_eq!((header.mid, header.rid), (Some(&b"0"[..]), Some(&b"h"[..])));
        assert_eq!(header.transport_cc, Some(0xabcd));
        assert_eq!(&bytes[header.len..], b"payload");
    }

    #[test]
    fn an_extension_may_have_an_id_in_each_section_and_an_id_has_one_meaning() {
        let mut map = map();
        map.add(&ExtensionIds { mid: 7, audio_level: 4, ..ExtensionIds::default() });
        for id in [4, 7] {
            let bytes = packet([0xbe, 0xde], &[id << 4, b'0', 0, 0]);
            let header = Header::parse(&bytes, &map).expect("well formed");
            assert_eq!((header.mid, header.audio_level), (Some(&b"0"[..]), None));
        }
    }

    #[test]
    fn two_byte_extensions_are_read() {
        let bytes = packet([0x10, 0x00], &[1, 1, 0x7f, 10, 2, b'h', b'i', 0]);
        let header = Header::parse(&bytes, &map()).expect("well formed");
        assert_eq!((header.audio_level, header.rid), (Some(0x7f), Some(&b"hi"[..])));
    }

    #[test]
    fn an_extension_that_lies_about_its_length_hides_nothing_else() {
        let bytes = packet([0xbe, 0xde], &[0x10, 0x85, 0x4f, b'0']);
        let header = Header::parse(&bytes, &map()).expect("the header itself is fine");
        assert_eq!((header.audio_level, header.mid), (Some(0x85), None));
    }

    #[test]
    fn no_truncation_of_a_packet_is_read_beyond_its_end() {
        let bytes = packet([0xbe, 0xde], &[0x10, 0x85, 0x40, b'0']);
        for len in 0..20 {
            assert!(Header::parse(&bytes[..len], &map()).is_none(), "{len}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let out = OutHeader {
            marker: true,
            payload_type: 96,
            sequence: SeqNo(65_537),
            timestamp: 77,
            ssrc: 5,
            padding: false,
            audio_level: Some((1, 0x85)),
            transport_cc: None,
        };
        let mut bytes = [0; OutHeader::MAX_LEN];
        let len = out.write(&mut bytes);
        let header = Header::parse(&bytes[..len], &map()).expect("well formed");
        assert_eq!((header.len, header.sequence, header.timestamp, header.ssrc), (20, 1, 77, 5));
        assert_eq!((header.marker, header.payload_type, header.audio_level), (true, 96, Some(0x85)));
        for (audio_level, expected) in [(None, 20), (Some((1, 0x85)), 24)] {
            let len = OutHeader { audio_level, transport_cc: Some((3, 0xabcd)), ..out }.write(&mut bytes);
            let header = Header::parse(&bytes[..len], &map()).expect("well formed");
            assert_eq!((header.len, header.transport_cc), (expected, Some(0xabcd)));
            assert_eq!(header.audio_level, audio_level.map(|(_, level)| level));
        }
    }
}
