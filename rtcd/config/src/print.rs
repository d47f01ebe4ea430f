//! The effective configuration as TOML, each value with its origin.
use super::keys::{self, Key};
use super::source::{Merged, RawServer, Value};
use std::fmt::Write;
use toml_edit::{Array, InlineTable};

/// What stands in the place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Every key in effect with its origin; see [`super::Loaded::print`].
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

/// A value in TOML without its secrets; `None` when the daemon chooses it.
pub(super) fn value(key: &Key, value: &Value) -> Option<String> {
    let chosen = *value == Value::Integer(0) && key.default == keys::Default::ByCpus;
    (!chosen).then(|| toml(key, value, Some(REDACTED)).to_string())
}

/// A value of a key in TOML; `hidden` takes the place of what is secret in it.
pub fn toml(key: &Key, value: &Value, hidden: Option<&str>) -> toml_edit::Value {
    match value {
        Value::Text(text) if key.secret && !text.is_empty() => hidden.unwrap_or(text).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::Servers(servers) => servers.iter().map(|raw| server(raw, hidden)).collect::<Array>().into(),
    }
}

fn server(raw: &RawServer, hidden: Option<&str>) -> toml_edit::Value {
    if let (true, [url]) = (raw.plain, raw.urls.as_slice()) {
        return url.as_str().into();
    }
    let mut table = InlineTable::new();
    table.insert("urls", raw.urls.iter().map(String::as_str).collect::<Array>().into());
    if !raw.username.is_empty() {
        table.insert("username", raw.username.as_str().into());
    }
    if !raw.credential.is_empty() {
        table.insert("credential", hidden.unwrap_or(&raw.credential).into());
    }
    table.into()
}
