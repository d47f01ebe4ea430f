//! What is wrong with a configuration: everything at once, each with its place.
use super::source::Origin;
use std::fmt;

/// A mistake of the operator, with where it stands and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it was made.
    pub origin: Origin,
    /// The key; empty when the file cannot be read as TOML at all.
    pub key: String,
    /// What is wrong. Never quotes a secret.
    pub what: String,
    /// What would be right; may be empty.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if self.allowed.is_empty() { Ok(()) } else { write!(f, "; allowed: {}", self.allowed) }
    }
}

/// All mistakes of a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Something odd that is no mistake: accepted, and said once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Where it was seen.
    pub origin: Origin,
    /// The key, or empty.
    pub key: String,
    /// What is odd about it.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.what),
            key => write!(f, "{}: {key}: {}", self.origin, self.what),
        }
    }
}
