//! The network among VMware's `guestinfo.metadata`: keys of its own, or one text in base64, packed by gzip or not.
use super::MAX_SIZE;
use super::field::Field;
use super::report::Report;
use crate::user_data::unpack;
use crate::yaml::{Node, Value};

/// What stands there.
pub(super) enum Inside<'a> {
    Keys(Field<'a>),
    Text(Vec<u8>),
}

/// The value of `network`, unpacked; `None` when there is none, or when it cannot be unpacked, which has been reported.
pub(super) fn network<'a>(root: &'a Node, report: &mut Report) -> Option<Inside<'a>> {
    let root = Field::root(root);
    let network = root.get("network")?;
    let Value::Scalar(text, _) = &network.node.value else { return Some(Inside::Keys(network)) };
    let encoding = root.get("network.encoding").and_then(|field| report.word(&field)).unwrap_or_default();
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "" => text.clone().into_bytes(),
        "base64" | "b64" | "gzip+base64" | "gz+base64" | "gzip+b64" | "gz+b64" => match unpack::base64(text) {
            Some(bytes) => bytes,
            None => {
                report.wrong(&network, "is no base64", "make it with base64 -w0, or remove network.encoding");
                return None;
            }
        },
        _ => {
            let field = root.get("network.encoding")?;
            report.wrong(&field, "is no encoding that is known", "allowed: base64, gzip+base64");
            return None;
        }
    };
    if !unpack::is_gzip(&bytes) {
        return Some(Inside::Text(bytes));
    }
    match unpack::gunzip(&bytes, MAX_SIZE) {
        Ok(text) => Some(Inside::Text(text)),
        Err(error) => {
            report.wrong(&network, error.to_string(), error.hint());
            None
        }
    }
}
