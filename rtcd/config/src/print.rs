//! The effective configuration as TOML, each value with its origin.
use super::keys::{self, Key};
use super::source::{Merged, RawServer, Value};
use std::fmt::Write;

const REDACTED: &str = "<redacted>";

/// See [`super::Loaded::print`].
pub fn print(merged: &Merged) -> String {
    let mut out = String::new();
    let mut section = "";
    for key in keys::ALL {
        if key.section() != section {
            section = key.section();
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{section}]");
        }
        let _ = match value(key, &merged.value(key)) {
            Some(value) => writeln!(out, "{} = {value} # {}", key.name(), merged.origin(key)),
            None => writeln!(out, "# {} is chosen by the number of CPUs # {}", key.name(), merged.origin(key)),
        };
    }
    out
}

/// A value in TOML; `None` when the daemon chooses it.
pub(super) fn value(key: &Key, value: &Value) -> Option<String> {
    Some(match value {
        Value::Integer(0) if key.default == keys::Default::ByCpus => return None,
        Value::Text(text) if key.secret && !text.is_empty() => quote(REDACTED),
        Value::Bool(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => quote(text),
        Value::Servers(servers) => format!("[{}]", servers.iter().map(server).collect::<Vec<_>>().join(", ")),
    })
}

fn server(raw: &RawServer) -> String {
    let urls: Vec<_> = raw.urls.iter().map(|url| quote(url)).collect();
    if raw.plain {
        return urls.concat();
    }
    let mut out = format!("{{urls = [{}]", urls.join(", "));
    if !raw.username.is_empty() {
        let _ = write!(out, ", username = {}", quote(&raw.username));
    }
    if !raw.credential.is_empty() {
        let _ = write!(out, ", credential = {}", quote(REDACTED));
    }
    out + "}"
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            c if c.is_control() => write!(out, "\\u{:04X}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out + "\""
}
