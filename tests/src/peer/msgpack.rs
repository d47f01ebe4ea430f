//! Data channel messages, read and written with a codec that the daemon does not use.
use anyhow::{Context as _, Result};
use flate2::read::{ZlibDecoder, ZlibEncoder};
use rmpv::Value;
use std::collections::HashMap;
use std::io::Read as _;

pub(crate) enum Message {
    Ping,
    Pong,
    Sdp(String),
    Lock(bool),
    MediaMap(HashMap<String, (String, String)>),
    Other(i64),
}

pub(crate) fn read(data: &[u8]) -> Result<Message> {
    let mut rest = data;
    let kind = rmpv::decode::read_value(&mut rest)?.as_i64().context("the type is no integer")?;
    Ok(match kind {
        1 => Message::Ping,
        2 => Message::Pong,
        3 => {
            let value = rmpv::decode::read_value(&mut rest)?;
            let mut json = String::new();
            ZlibDecoder::new(value.as_slice().context("no bytes")?).read_to_string(&mut json)?;
            Message::Sdp(json)
        }
        7 => Message::Lock(rmpv::decode::read_value(&mut rest)?.as_bool().context("no bool")?),
        9 => {
            let map = rmpv::decode::read_value(&mut rest)?;
            let entry = |(mid, about): &(Value, Value)| {
                let field = |name: &str| {
                    let found = about.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name))?;
                    Some(found.1.as_str()?.to_owned())
                };
                Some((mid.as_str()?.to_owned(), (field("type")?, field("sender_id")?)))
            };
            Message::MediaMap(map.as_map().context("no map")?.iter().filter_map(entry).collect())
        }
        other => Message::Other(other),
    })
}

pub(crate) fn sdp(json: &str) -> Vec<u8> {
    let mut compressed = Vec::new();
    // Reading from memory does not fail.
    let _ = ZlibEncoder::new(json.as_bytes(), flate2::Compression::default()).read_to_end(&mut compressed);
    let mut out = vec![3];
    let _ = rmpv::encode::write_value(&mut out, &Value::Binary(compressed));
    out
}
