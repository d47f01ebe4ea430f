//! Messages of the data channel `calls-dc`, by a codec that no server uses: a mistake of theirs cannot hide in the same one here.
use anyhow::{Context as _, Result};
use flate2::read::{ZlibDecoder, ZlibEncoder};
use rmpv::Value;
use std::collections::HashMap;
use std::io::Read as _;

/// A ping, as clients send it each second.
pub const PING: [u8; 1] = [1];
/// The answer to one.
pub const PONG: [u8; 1] = [2];
/// The wish to offer.
pub const LOCK: [u8; 1] = [7];
/// It has been done.
pub const UNLOCK: [u8; 1] = [8];
/// The largest description that is inflated: 1 MiB, as over the WebSocket.
const MAX_SDP: u64 = 1 << 20;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Answered by [`PONG`].
    Ping,
    /// The answer to our ping.
    Pong,
    /// A description, as JSON.
    Sdp(String),
    /// Whether we may offer.
    Lock(bool),
    /// By mid: kind, and the sender's session.
    MediaMap(HashMap<String, (String, String)>),
    /// A type that clients do not know.
    Other(i64),
}

/// Reads one message.
pub fn read(data: &[u8]) -> Result<Message> {
    let mut rest = data;
    let kind = rmpv::decode::read_value(&mut rest)?.as_i64().context("the type is no integer")?;
    Ok(match kind {
        1 => Message::Ping,
        2 => Message::Pong,
        3 => {
            let value = rmpv::decode::read_value(&mut rest)?;
            let mut json = String::new();
            let inflated = ZlibDecoder::new(value.as_slice().context("no bytes")?);
            inflated.take(MAX_SDP).read_to_string(&mut json)?;
            Message::Sdp(json)
        }
        7 => Message::Lock(rmpv::decode::read_value(&mut rest)?.as_bool().context("no bool")?),
        9 => Message::MediaMap(media_map(&rmpv::decode::read_value(&mut rest)?).context("no map")?),
        other => Message::Other(other),
    })
}

fn media_map(value: &Value) -> Option<HashMap<String, (String, String)>> {
    let entry = |(mid, about): &(Value, Value)| {
        let field = |name: &str| {
            let found = about.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name))?;
            Some(found.1.as_str()?.to_owned())
        };
        Some((mid.as_str()?.to_owned(), (field("type")?, field("sender_id")?)))
    };
    Some(value.as_map()?.iter().filter_map(entry).collect())
}

/// A description as a message: zlib of its JSON.
pub fn sdp(json: &str) -> Vec<u8> {
    let mut compressed = Vec::new();
    // Reading from memory does not fail.
    let _ = ZlibEncoder::new(json.as_bytes(), flate2::Compression::default()).read_to_end(&mut compressed);
    let mut out = vec![3];
    let _ = rmpv::encode::write_value(&mut out, &Value::Binary(compressed));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_comes_back() {
        let json = r#"{"type":"offer","sdp":"v=0"}"#;
        assert_eq!(read(&sdp(json)).expect("a message"), Message::Sdp(json.into()));
    }
}
