//! How the messages travel: two msgpack values in a row, the type (a string), then the data (a map).
use super::reader::Reader;
use super::{ClientMessage, Join, MessageError, RtcMessage, RtcType, ServerMessage};
use rmp::encode;

/// Characters of an unknown type's name that are kept for the log.
const SHOWN_TYPE: usize = 32;

impl ClientMessage {
    /// Reads one frame of a client.
    pub fn decode(frame: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(frame);
        let message = match reader.text("the message type")? {
            "join" => Self::Join(join(&mut reader)?),
            "leave" => Self::Leave { session: session(&mut reader)?.into() },
            "reconnect" => Self::Reconnect { session: session(&mut reader)?.into() },
            "rtc" => Self::Rtc(rtc(&mut reader)?),
            other => return Err(unknown(other)),
        };
        finish(&reader, message)
    }

    /// The frame that a client sends.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = start(self.name());
        match self {
            Self::Join(join) => {
                map_len(&mut frame, 6);
                entry(&mut frame, "callID", join.call.as_str());
                entry(&mut frame, "userID", join.user.as_str());
                entry(&mut frame, "sessionID", join.session.as_str());
                entry(&mut frame, "channelID", &join.channel_id);
                text(&mut frame, "av1Support");
                infallible(encode::write_bool(&mut frame, join.av1_support));
                text(&mut frame, "dcSignaling");
                infallible(encode::write_bool(&mut frame, join.dc_signaling));
            }
            Self::Leave { session } | Self::Reconnect { session } => {
                strings(&mut frame, &[("sessionID", session.as_str())])
            }
            Self::Rtc(message) => write_rtc(&mut frame, message),
        }
        frame
    }
}

impl ServerMessage {
    /// The frame that we send.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = start(self.name());
        match self {
            Self::Hello { client, conn } => {
                strings(&mut frame, &[("clientID", client.as_str()), ("connID", conn.as_str())]);
            }
            Self::Rtc(message) | Self::Vad(message) => write_rtc(&mut frame, message),
            Self::Close { session } => strings(&mut frame, &[("sessionID", session.as_str())]),
        }
        frame
    }

    /// Reads one frame of a server: for the clients that this crate has itself.
    pub fn decode(frame: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(frame);
        let message = match reader.text("the message type")? {
            "hello" => hello(&mut reader)?,
            "rtc" => Self::Rtc(rtc(&mut reader)?),
            "vad" => Self::Vad(rtc(&mut reader)?),
            "close" => Self::Close { session: session(&mut reader)?.into() },
            other => return Err(unknown(other)),
        };
        finish(&reader, message)
    }
}

fn join(reader: &mut Reader<'_>) -> Result<Join, MessageError> {
    let (mut call, mut user, mut session, mut channel_id) = ("", "", "", "");
    let (mut av1_support, mut dc_signaling) = (false, false);
    for _ in 0..reader.map("join")? {
        match reader.key()? {
            Some("callID") => call = reader.id("callID")?,
            Some("userID") => user = reader.id("userID")?,
            Some("sessionID") => session = reader.id("sessionID")?,
            Some("channelID") => channel_id = reader.id("channelID")?,
            Some("av1Support") => av1_support = reader.bool("av1Support")?,
            Some("dcSignaling") => dc_signaling = reader.bool("dcSignaling")?,
            _ => reader.skip()?,
        }
    }
    Ok(Join {
        call: present(call, "callID")?.into(),
        user: present(user, "userID")?.into(),
        session: present(session, "sessionID")?.into(),
        channel_id: channel_id.into(),
        av1_support,
        dc_signaling,
    })
}

fn rtc(reader: &mut Reader<'_>) -> Result<RtcMessage, MessageError> {
    let (mut group, mut call, mut user, mut session) = ("", "", "", "");
    let (mut kind, mut data) = (None, &[][..]);
    for _ in 0..reader.map("rtc")? {
        match reader.key()? {
            Some("group_id") => group = reader.id("group_id")?,
            Some("call_id") => call = reader.id("call_id")?,
            Some("user_id") => user = reader.id("user_id")?,
            Some("session_id") => session = reader.id("session_id")?,
            Some("type") => kind = Some(reader.int("type")?),
            Some("data") => data = reader.bytes("data")?,
            _ => reader.skip()?,
        }
    }
    let kind = kind.ok_or(MessageError::MissingField("type"))?;
    Ok(RtcMessage {
        group: group.into(),
        call: call.into(),
        user: user.into(),
        session: present(session, "session_id")?.into(),
        kind: RtcType::from_wire(kind).ok_or(MessageError::UnknownRtcType(kind))?,
        data: data.to_vec(),
    })
}

fn session<'a>(reader: &mut Reader<'a>) -> Result<&'a str, MessageError> {
    let mut session = "";
    for _ in 0..reader.map("the message")? {
        match reader.key()? {
            Some("sessionID") => session = reader.id("sessionID")?,
            _ => reader.skip()?,
        }
    }
    present(session, "sessionID")
}

fn hello(reader: &mut Reader<'_>) -> Result<ServerMessage, MessageError> {
    let (mut client, mut conn) = ("", "");
    for _ in 0..reader.map("hello")? {
        match reader.key()? {
            Some("clientID") => client = reader.id("clientID")?,
            Some("connID") => conn = reader.id("connID")?,
            _ => reader.skip()?,
        }
    }
    Ok(ServerMessage::Hello { client: client.into(), conn: present(conn, "connID")?.into() })
}

fn present<'a>(value: &'a str, field: &'static str) -> Result<&'a str, MessageError> {
    if value.is_empty() { Err(MessageError::MissingField(field)) } else { Ok(value) }
}

fn unknown(name: &str) -> MessageError {
    MessageError::UnknownType(name.chars().take(SHOWN_TYPE).collect())
}

fn finish<T>(reader: &Reader<'_>, message: T) -> Result<T, MessageError> {
    match reader.remaining() {
        0 => Ok(message),
        more => Err(MessageError::TrailingBytes(more)),
    }
}

fn start(name: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256);
    text(&mut frame, name);
    frame
}

fn write_rtc(frame: &mut Vec<u8>, message: &RtcMessage) {
    map_len(frame, if message.data.is_empty() { 5 } else { 6 });
    entry(frame, "group_id", message.group.as_str());
    entry(frame, "user_id", message.user.as_str());
    entry(frame, "session_id", message.session.as_str());
    entry(frame, "call_id", message.call.as_str());
    text(frame, "type");
    infallible(encode::write_sint(frame, message.kind as i64));
    if !message.data.is_empty() {
        text(frame, "data");
        infallible(encode::write_bin(frame, &message.data));
    }
}

fn strings(frame: &mut Vec<u8>, entries: &[(&str, &str)]) {
    map_len(frame, entries.len() as u32);
    for (key, value) in entries {
        entry(frame, key, value);
    }
}

fn entry(frame: &mut Vec<u8>, key: &str, value: &str) {
    text(frame, key);
    text(frame, value);
}

fn text(frame: &mut Vec<u8>, value: &str) {
    infallible(encode::write_str(frame, value));
}

fn map_len(frame: &mut Vec<u8>, len: u32) {
    infallible(encode::write_map_len(frame, len));
}

/// A `Vec` takes every write.
fn infallible<T, E: std::fmt::Debug>(written: Result<T, E>) {
    debug_assert!(written.is_ok(), "a write to memory failed: {:?}", written.err());
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
