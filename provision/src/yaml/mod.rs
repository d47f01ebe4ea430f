//! YAML with the place of every key and value: what a `#cloud-config` needs of it and no more. Anchors, aliases, tags
//! and merge keys are refused; so are keys that are there twice, which other readers let win or lose in silence.
mod loader;
mod scalar;
mod syntax;
#[cfg(test)]
mod tests;

use crate::mistake::{Mark, Mistake};
pub use loader::{MAX_DEPTH, MAX_NODES, load};
pub use scalar::Wrong;
use std::borrow::Cow;

/// What came out of a text.
pub struct Loaded {
    /// The document; none when the text is empty or cannot be read at all.
    pub root: Option<Node>,
    /// What is wrong; after a mistake of syntax that one only.
    pub mistakes: Vec<Mistake>,
}

/// A value with its place. May hold secrets: there is no `Debug`.
#[derive(Clone)]
pub struct Node {
    /// Where it starts; a block (`|`, `>`) where its text starts.
    pub mark: Mark,
    /// Scalar, list or map.
    pub value: Value,
}

/// What a value can be.
#[derive(Clone)]
pub enum Value {
    /// A text, a number, a boolean, nothing: what it is depends on who reads it.
    Scalar(String, Style),
    /// A sequence, block or flow style.
    List(Vec<Node>),
    /// Keys and values, each key once.
    Mapping(Vec<Entry>),
    /// Something whose mistake has been reported.
    Broken,
}

/// How a scalar was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Without quotes: may be more than a text.
    Plain,
    /// In quotes, or folded (`>`): a text, of which the places inside are lost.
    Quoted,
    /// A literal block (`|`): a text that stands in the file as it is.
    Literal,
}

/// A key and its value.
#[derive(Clone)]
pub struct Entry {
    /// A scalar as text; other keys are refused.
    pub key: String,
    /// Where the key starts.
    pub mark: Mark,
    /// What the key maps to.
    pub value: Node,
}

/// A key as it is shown in a message: no control characters, and nothing that looks like a secret gone astray.
pub fn shown(key: &str) -> Cow<'_, str> {
    const LONGEST: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    match !key.is_empty() && key.len() <= LONGEST && key.chars().all(plain) {
        true => key.into(),
        false => "(a key that is no plain word)".into(),
    }
}

/// The path of a key below another.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown(key).into_owned() } else { format!("{path}.{}", shown(key)) }
}
