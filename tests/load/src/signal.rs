//! Messages of the WebSocket, as a Mattermost node writes and reads them: two msgpack values in a row, type and data.
use anyhow::{Context as _, Result, bail, ensure};
use rmpv::Value;

/// `type` of an rtc message.
#[allow(missing_docs, reason = "the names are the protocol's")]
pub mod rtc {
    pub const ICE: i64 = 1;
    pub const SDP: i64 = 2;
    pub const UNMUTE: i64 = 4;
    pub const SCREEN_ON: i64 = 5;
    pub const VIDEO_ON: i64 = 9;
}

/// A session in the words of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub struct Who {
    pub call_id: String,
    pub user_id: String,
    pub session_id: String,
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub enum Received {
    /// The first message: the connection's own id.
    Hello,
    /// Signalling for a session; `data` is JSON.
    Rtc { session_id: String, kind: i64, data: Vec<u8> },
    /// Somebody speaks, or no longer.
    Vad { session_id: String },
    /// A session has ended.
    Close { session_id: String },
}

/// Joins a call, with signalling over the data channel from then on.
pub fn join(who: &Who) -> Vec<u8> {
    let data = map([
        ("callID", who.call_id.as_str().into()),
        ("userID", who.user_id.as_str().into()),
        ("sessionID", who.session_id.as_str().into()),
        ("channelID", who.call_id.as_str().into()),
        ("av1Support", false.into()),
        ("dcSignaling", true.into()),
    ]);
    frame("join", &data)
}

/// Leaves it.
pub fn leave(who: &Who) -> Vec<u8> {
    frame("leave", &map([("sessionID", who.session_id.as_str().into())]))
}

/// Signalling of a session.
pub fn rtc(client_id: &str, who: &Who, kind: i64, data: Option<&str>) -> Vec<u8> {
    let mut fields = vec![
        ("group_id", client_id.into()),
        ("user_id", who.user_id.as_str().into()),
        ("session_id", who.session_id.as_str().into()),
        ("call_id", who.call_id.as_str().into()),
        ("type", kind.into()),
    ];
    fields.extend(data.map(|data| ("data", Value::Binary(data.as_bytes().to_vec()))));
    frame("rtc", &map(fields))
}

/// Reads a frame.
pub fn read(bytes: &[u8]) -> Result<Received> {
    let (name, data) = read_frame(bytes)?;
    let session_id = text(&data, "session_id");
    Ok(match name.as_str() {
        "hello" => Received::Hello,
        "rtc" => {
            let kind = field(&data, "type").and_then(Value::as_i64).unwrap_or_default();
            Received::Rtc { session_id, kind, data: bytes_of(&data, "data") }
        }
        "vad" => Received::Vad { session_id },
        "close" => Received::Close { session_id: text(&data, "sessionID") },
        other => bail!("unexpected message {other}"),
    })
}

/// The two values of a frame: what it is called, and what it says.
pub fn read_frame(bytes: &[u8]) -> Result<(String, Value)> {
    let mut rest = bytes;
    let name = rmpv::decode::read_value(&mut rest)?;
    let data = rmpv::decode::read_value(&mut rest)?;
    ensure!(rest.is_empty(), "{} bytes follow the message", rest.len());
    Ok((name.as_str().context("the type is no string")?.to_owned(), data))
}

fn frame(kind: &str, data: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = rmpv::encode::write_value(&mut out, &kind.into());
    let _ = rmpv::encode::write_value(&mut out, data);
    out
}

/// A map with these names.
pub fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// What a map has under a name.
pub fn field<'a>(data: &'a Value, name: &str) -> Option<&'a Value> {
    data.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// The same as text; empty when it is none.
pub fn text(data: &Value, name: &str) -> String {
    field(data, name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The same as bytes, which some write as text; empty when it is neither.
pub fn bytes_of(data: &Value, name: &str) -> Vec<u8> {
    match field(data, name) {
        Some(Value::Binary(bytes)) => bytes.clone(),
        Some(Value::String(text)) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}
