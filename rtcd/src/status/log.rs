//! The last lines of the log: the daemon's own, and on the appliance those of the machine. One value, as JSON, as text or as a
//! page.
mod machine;
mod page;

pub use machine::{Of, Unreadable, can_be_read, read};
pub use page::page;

use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// What is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Log {
    /// Whose lines; `rtcd` unless it is one of [`Of`].
    pub of: &'static str,
    /// Only warnings and errors.
    pub warnings_only: bool,
    /// The oldest first.
    pub lines: Vec<Line>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// What else can be asked for.
    pub choices: Vec<&'static str>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `2026-01-31 12:00:00.000 Z`
    pub time: String,
    /// How bad it is.
    pub level: Level,
    /// The unit or program; none for the daemon's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What is said.
    pub text: String,
    /// Ids and numbers, as they are in the log.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// How bad a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// The ordinary course of things.
    Info,
    /// For whoever looks closely.
    Debug,
}

impl Level {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// A line of the daemon's own log.
pub fn own(mut line: Map<String, Value>) -> Option<Line> {
    let mut take = |name: &str| line.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let (time, level, text) = (take("timestamp")?, take("level")?, take("msg")?);
    take("caller");
    let level = match level.as_str() {
        "error" => Level::Error,
        "warn" => Level::Warn,
        "info" => Level::Info,
        _ => Level::Debug,
    };
    Some(Line { time, level, source: None, text, fields: line })
}

impl Log {
    /// As text, one line each.
    pub fn text(&self) -> String {
        let mut all = String::new();
        for line in &self.lines {
            let _ = write!(all, "{} {:5} ", line.time, line.level.as_str());
            if let Some(source) = &line.source {
                let _ = write!(all, "{}: ", one_line(source));
            }
            all += &one_line(&line.text);
            for (name, value) in &line.fields {
                let _ = write!(all, " {name}={}", one_line(&field(value)));
            }
            all.push('\n');
        }
        if let Some(why) = &self.unreadable {
            let _ = writeln!(all, "the journal cannot be read: {}", one_line(why));
        }
        all
    }
}

/// A value as people read it.
fn field(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Nobody makes a second line out of one, nor colours a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_of_our_own_is_taken_apart_and_written_as_one() {
        let json = json!({"timestamp": "2026-01-31 12:00:00.000 Z", "level": "warn", "msg": "odd\nthing\u{1b}[1m",
                          "caller": "a.rs:1", "session_id": "s", "count": 3});
        let line = own(json.as_object().cloned().expect("an object")).expect("a line");
        assert_eq!((line.level, line.fields.len()), (Level::Warn, 2));
        let log = Log { of: "rtcd", warnings_only: false, lines: vec![line], unreadable: None, choices: Vec::new() };
        assert_eq!(log.text(), "2026-01-31 12:00:00.000 Z warn  odd thing [1m count=3 session_id=s\n");
        assert_eq!(own(Map::new()), None);
    }
}
