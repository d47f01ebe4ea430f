//! First stage: what a TOML file may say. Tables and dotted keys in any mixture become one flat layer.
use super::error::{Problem, Warning};
use super::keys::{self, Default, Key, WITHOUT_EFFECT};
use super::servers;
use super::source::{Layer, Origin, Setting, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// What came out of a file.
#[derive(Default)]
pub struct Read {
    /// What the file sets.
    pub layer: Layer,
    /// Unknown keys and the like.
    pub warnings: Vec<Warning>,
    /// Wrong types, and what is no TOML.
    pub problems: Vec<Problem>,
}

/// Reads the text of the file at `path`, which is only named here.
pub fn read(path: &Path, text: &str) -> Read {
    let mut reader = Reader { path: Arc::new(path.to_owned()), text, out: Read::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        // The error's own Display quotes the line, which may hold a secret.
        let start = error.span().map_or(0, |span| span.start);
        let (origin, key) = (reader.origin(start), reader.key_at(start).unwrap_or_default());
        let what = match error.message() {
            "duplicate key" => "is set twice".to_owned(),
            message => format!("the file is not valid TOML: {message}"),
        };
        reader.out.problems.push(Problem { origin, key, what, allowed: String::new() });
    }
    // What follows a syntax error is a guess; its types and names would only confuse.
    if reader.out.problems.is_empty() {
        reader.table("", document.get_ref());
    }
    reader.out
}

struct Reader<'a> {
    path: Arc<PathBuf>,
    text: &'a str,
    out: Read,
}

impl Reader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        Origin::File(self.path.clone(), 1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    /// The key whose line this is, with its table; `None` when the line does not begin with one.
    fn key_at(&self, offset: usize) -> Option<String> {
        let before = self.text.get(..offset)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].lines().next()?;
        // Nothing but a name: a value may be a secret.
        let plain = |name: &str| {
            let name = name.trim();
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            (!name.is_empty() && name.len() <= 128 && name.chars().all(is_name)).then(|| name.to_owned())
        };
        let header = |line: &str| {
            let name = line.trim().strip_prefix('[')?.split(']').next()?;
            plain(name)
        };
        if let Some(table) = header(line) {
            return Some(table);
        }
        let name = plain(line.split_once('=')?.0)?;
        let table = before[..start].lines().rev().find_map(header);
        Some(table.map_or(name.clone(), |table| format!("{table}.{name}")))
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = match prefix {
                "" => name.get_ref().to_string(),
                prefix => format!("{prefix}.{}", name.get_ref()),
            };
            let origin = self.origin(name.span().start);
            let (known, value) = (keys::find(&path), value.get_ref());
            match (known, value) {
                (Some(key), value) => self.setting(key, value, origin),
                (None, DeValue::Table(inner)) => self.table(&path, inner),
                (None, _) if is_section(&path) => self.out.problems.push(Problem {
                    origin,
                    key: path,
                    what: format!("is {}", kind_of(value)),
                    allowed: "a table".into(),
                }),
                (None, _) => self.unknown(path, origin),
            }
        }
    }

    fn unknown(&mut self, key: String, origin: Origin) {
        let why = WITHOUT_EFFECT.iter().find(|(path, _)| path.eq_ignore_ascii_case(&key));
        let what = match (why, keys::nearest(&key)) {
            (Some((_, why)), _) => (*why).to_owned(),
            (None, Some(nearest)) => format!("unknown key, ignored; did you mean {nearest}?"),
            (None, None) => "unknown key, ignored".to_owned(),
        };
        self.out.warnings.push(Warning { origin, key, what });
    }

    fn setting(&mut self, key: &'static Key, value: &DeValue<'_>, origin: Origin) {
        let read = match (key.default, value) {
            (Default::Bool(_), DeValue::Boolean(value)) => Some(Value::Bool(*value)),
            (Default::Integer(_) | Default::ByCpus | Default::TextOrInteger(_), DeValue::Integer(number)) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Integer)
            }
            (Default::Text(_) | Default::TextOrInteger(_), DeValue::String(text)) => {
                Some(Value::Text(text.clone().into_owned()))
            }
            (Default::NoServers, DeValue::Array(_)) => {
                let found = servers::read(&to_json(value), &origin);
                self.out.warnings.extend(found.warnings);
                self.out.problems.extend(found.problems);
                Some(Value::Servers(found.servers))
            }
            _ => None,
        };
        match read {
            Some(value) => {
                self.out.layer.insert(key.path, Setting { value, origin });
            }
            None => self.out.problems.push(Problem {
                origin,
                key: key.path.into(),
                what: format!("is {}", kind_of(value)),
                allowed: key.expected().into(),
            }),
        }
    }
}

/// Whether known keys are below this path.
fn is_section(path: &str) -> bool {
    let below = |key: &str| {
        let rest = key.get(..path.len()).filter(|start| start.eq_ignore_ascii_case(path));
        rest.is_some() && key.as_bytes().get(path.len()) == Some(&b'.')
    };
    keys::ALL.iter().any(|key| below(key.path))
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_err() => {
            "an integer of more than 64 bits"
        }
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fractional number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The same value as JSON, so that servers are read by one reader whichever way they are written.
fn to_json(value: &DeValue<'_>) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        DeValue::String(text) => Json::String(text.clone().into_owned()),
        DeValue::Boolean(value) => Json::Bool(*value),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => Json::Object(
            table.iter().map(|(name, value)| (name.get_ref().to_string(), to_json(value.get_ref()))).collect(),
        ),
        DeValue::Integer(number) => Json::from(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(0)),
        DeValue::Float(_) | DeValue::Datetime(_) => Json::from(0),
    }
}
