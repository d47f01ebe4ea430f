//! Messages on `calls-dc` (contract, section 4): msgpack values in a row, the type as an integer, then a payload.
use super::message::MessageError;
use super::message::reader::Reader;
use crate::metrics::MediaType;
use rmp::encode;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// Largest session description, inflated, with its JSON around it. Ours of a call of 200 has some 150 KiB.
pub const MAX_SDP: usize = 1024 * 1024;

/// What a participant says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Answered by a pong.
    Ping,
    /// The answer to a ping; no payload.
    Pong,
    /// The JSON of a description, compressed: [`inflate`] it beside the actor.
    Sdp(Vec<u8>),
    /// Share of packets lost, 0..=1.
    LossRate(f64),
    /// As the client measures it, in seconds.
    RoundTripTime(f64),
    /// As the client measures it, in seconds.
    Jitter(f64),
    /// Asks for the signalling lock; answered by a boolean.
    Lock,
    /// Gives the signalling lock back.
    Unlock,
}

/// Why a message was refused: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataChannelError {
    /// Not the msgpack that was expected.
    #[error("the data channel message cannot be read")]
    Malformed(#[from] MessageError),
    /// No type of the contract.
    #[error("unknown data channel message type {0}")]
    UnknownType(i64),
    /// The payload is not zlib (RFC 1950).
    #[error("the description is not zlib")]
    NotZlib,
    /// It inflates to more than a description may have.
    #[error("the description inflates to more than {MAX_SDP} bytes")]
    TooLarge,
    /// A measurement that is no number of its range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// Text that is not `ping`.
    #[error("a text message that is not ping")]
    Text,
}

impl PeerMessage {
    /// Reads a binary message. What follows the payload is ignored, as the reference does.
    pub fn decode(data: &[u8]) -> Result<Self, DataChannelError> {
        let mut reader = Reader::new(data);
        Ok(match reader.int("the message type")? {
            1 => Self::Ping,
            2 => Self::Pong,
            3 => Self::Sdp(reader.bytes("the description")?.into()),
            4 => Self::LossRate(measurement(&mut reader, "loss rate", 1.0)?),
            5 => Self::RoundTripTime(measurement(&mut reader, "round trip time", 3600.0)?),
            6 => Self::Jitter(measurement(&mut reader, "jitter", 3600.0)?),
            7 => Self::Lock,
            8 => Self::Unlock,
            other => return Err(DataChannelError::UnknownType(other)),
        })
    }
}

fn measurement(reader: &mut Reader<'_>, field: &'static str, most: f64) -> Result<f64, DataChannelError> {
    let value = reader.float(field)?;
    if value.is_finite() && (0.0..=most).contains(&value) {
        Ok(value)
    } else {
        Err(DataChannelError::OutOfRange(field))
    }
}

/// The JSON of a description, at most [`MAX_SDP`] of it.
pub fn inflate(compressed: &[u8]) -> Result<Vec<u8>, DataChannelError> {
    let mut out = Vec::new();
    let mut limited = flate2::read::ZlibDecoder::new(compressed).take(MAX_SDP as u64 + 1);
    limited.read_to_end(&mut out).map_err(|_| DataChannelError::NotZlib)?;
    if out.len() > MAX_SDP { Err(DataChannelError::TooLarge) } else { Ok(out) }
}

/// The kind of a track, as participants know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TrackKind {
    /// A microphone; muted by the gate.
    Voice,
    /// The picture of a shared screen.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
    /// A camera; one section for all of its pauses.
    Video,
}

impl TrackKind {
    /// As in MediaMap and in track ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::Screen => "screen",
            Self::ScreenAudio => "screen-audio",
            Self::Video => "video",
        }
    }
    /// As metrics call it.
    pub const fn media_type(self) -> MediaType {
        match self {
            Self::Voice => MediaType::Voice,
            Self::Screen => MediaType::Screen,
            Self::ScreenAudio => MediaType::ScreenAudio,
            Self::Video => MediaType::Video,
        }
    }
    /// Whether it is pictures.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::Screen | Self::Video)
    }
}

/// The answer to a message that asks whether anybody is there, as text or in the shortest form: each participant asks once a
/// second.
pub fn reflex(text: bool, data: &[u8]) -> Option<&'static [u8]> {
    match (text, data) {
        (true, b"ping") => Some(b"pong"),
        (false, [1]) => Some(PONG),
        _ => None,
    }
}

/// The answer to a ping.
pub const PONG: &[u8] = &[2];

/// The answer to a request for the lock.
pub fn lock_reply(granted: bool) -> Vec<u8> {
    vec![7, if granted { 0xc3 } else { 0xc2 }]
}

/// A description: zlib of its JSON.
pub fn sdp(json: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::with_capacity(json.len() / 3), flate2::Compression::fast());
    let compressed = zlib.write_all(json).and_then(|()| zlib.finish()).unwrap_or_default();
    let mut out = vec![3];
    let _ = encode::write_bin(&mut out, &compressed);
    out
}

/// MediaMap: mid, kind and sender's session id of every track that we send.
pub fn media_map<'a>(tracks: impl ExactSizeIterator<Item = (&'a str, TrackKind, &'a str)>) -> Vec<u8> {
    let mut out = vec![9];
    // Writing into a Vec does not fail.
    let _ = encode::write_map_len(&mut out, tracks.len() as u32);
    for (mid, kind, sender) in tracks {
        let _ = encode::write_str(&mut out, mid);
        let _ = encode::write_map_len(&mut out, 2);
        for text in ["type", kind.as_str(), "sender_id", sender] {
            let _ = encode::write_str(&mut out, text);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(message: &[u8]) -> Result<Vec<u8>, DataChannelError> {
        let Ok(PeerMessage::Sdp(compressed)) = PeerMessage::decode(message) else { panic!("a description") };
        inflate(&compressed)
    }

    #[test]
    fn every_type_of_the_contract_is_read_in_any_integer_width() {
        assert_eq!(PeerMessage::decode(&[1]), Ok(PeerMessage::Ping));
        assert_eq!(PeerMessage::decode(&[0xcc, 7]), Ok(PeerMessage::Lock));
        assert_eq!(PeerMessage::decode(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 8]), Ok(PeerMessage::Unlock));
        let mut loss = vec![4, 0xcb];
        loss.extend(0.25f64.to_be_bytes());
        assert_eq!(PeerMessage::decode(&loss), Ok(PeerMessage::LossRate(0.25)));
        assert_eq!(PeerMessage::decode(&[5, 1]), Ok(PeerMessage::RoundTripTime(1.0)));
        assert_eq!(described(&sdp(b"{}")), Ok(b"{}".to_vec()));
    }

    #[test]
    fn a_zip_bomb_is_refused_at_the_limit() {
        let bomb = sdp(&vec![b' '; MAX_SDP + 1]);
        assert!(bomb.len() < 8192);
        assert_eq!(described(&bomb), Err(DataChannelError::TooLarge));
        assert_eq!(described(&[3, 0xc4, 3, 1, 2, 3]), Err(DataChannelError::NotZlib));
    }

    #[test]
    fn rubbish_is_named() {
        assert_eq!(PeerMessage::decode(&[77]), Err(DataChannelError::UnknownType(77)));
        assert!(matches!(PeerMessage::decode(&[]), Err(DataChannelError::Malformed(_))));
        assert!(matches!(PeerMessage::decode(&[3, 0xc6, 0xff, 0xff, 0xff, 0xff]), Err(DataChannelError::Malformed(_))));
        let mut nan = vec![6, 0xcb];
        nan.extend(f64::NAN.to_be_bytes());
        assert_eq!(PeerMessage::decode(&nan), Err(DataChannelError::OutOfRange("jitter")));
    }

    #[test]
    fn a_media_map_names_kind_and_sender_of_each_mid() {
        let map = media_map([("s0", TrackKind::ScreenAudio, "bob")].into_iter());
        let mut expected = vec![9, 0x81, 0xa2];
        expected.extend(b"s0");
        expected.extend([0x82, 0xa4]);
        expected.extend(b"type");
        expected.push(0xac);
        expected.extend(b"screen-audio");
        expected.push(0xa9);
        expected.extend(b"sender_id");
        expected.push(0xa3);
        expected.extend(b"bob");
        assert_eq!(map, expected);
    }
}
