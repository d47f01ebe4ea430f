//! Raw values, where each came from, and how the layers are laid over each other.
use super::keys::{self, Default, Key};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// The built-in value.
    Default,
    /// The file; line 0: no line in particular.
    File(Arc<PathBuf>, usize),
    /// A variable of the environment.
    Variable(String),
    /// Somebody who renders configurations, in words of their own.
    Stated(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Stated(words) => f.write_str(words),
        }
    }
}

/// A value of the right type, not yet looked at any further.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`; `false` for a key of another type.
    Bool(bool),
    /// An integer as it was written, not range-checked.
    Integer(i64),
    /// A string as it was written, possibly empty.
    Text(String),
    /// `rtc.ice_servers`
    Servers(Vec<RawServer>),
}

/// One entry of `rtc.ice_servers` as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct RawServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URLs, unchecked.
    pub urls: Vec<String>,
    /// TURN user name; empty when there is none.
    pub username: String,
    /// May be empty. A secret.
    pub credential: String,
    /// Written as a plain string.
    pub plain: bool,
}

/// A value and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// As it was written, unchecked.
    pub value: Value,
    /// Where it was set.
    pub origin: Origin,
}

/// What one source says: path of the key to its setting.
pub type Layer = BTreeMap<&'static str, Setting>;

/// File and environment over the defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct Merged(Layer);

impl Merged {
    /// Lays `layers` over the defaults; the last one wins.
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut all: Layer = keys::ALL
            .iter()
            .map(|key| (key.path, Setting { value: key.default.value(), origin: Origin::Default }))
            .collect();
        layers.into_iter().for_each(|layer| all.extend(layer));
        Self(all)
    }
    /// Where a key was set.
    pub fn origin(&self, key: &Key) -> Origin {
        self.0.get(key.path).map_or(Origin::Default, |setting| setting.origin.clone())
    }
    /// A value; every key of [`keys::ALL`] has one.
    pub fn value(&self, key: &Key) -> Value {
        self.0.get(key.path).map_or_else(|| key.default.value(), |setting| setting.value.clone())
    }
    /// `true` or `false`; `false` for a key of another type.
    pub fn bool(&self, key: &Key) -> bool {
        matches!(self.value(key), Value::Bool(true))
    }
    /// An integer as it was written, not range-checked.
    pub fn integer(&self, key: &Key) -> i64 {
        if let Value::Integer(number) = self.value(key) { number } else { 0 }
    }
    /// A text; a number as text, where a key takes both.
    pub fn text(&self, key: &Key) -> String {
        match self.value(key) {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Bool(_) | Value::Servers(_) => String::new(),
        }
    }
    /// `rtc.ice_servers`
    pub fn servers(&self, key: &Key) -> Vec<RawServer> {
        if let Value::Servers(servers) = self.value(key) { servers } else { Vec::new() }
    }
    /// Whether a key still has the value nobody set.
    pub fn is_default(&self, key: &Key) -> bool {
        self.origin(key) == Origin::Default
    }
}

impl Default {
    /// The default as a value.
    pub fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::ByCpus => Value::Integer(0),
            Self::Text(value) | Self::TextOrInteger(value) => Value::Text((*value).to_owned()),
            Self::NoServers => Value::Servers(Vec::new()),
        }
    }
}
