//! What is wrong or odd in what an admin wrote, with its place. Mistakes are collected: one report names them all.
use std::fmt;
use std::sync::Arc;

/// A place in a text, counted from 1; columns are characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Mark {
    /// The line in the text that the admin wrote (in a MIME message or an archive: of the whole text).
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// Something wrong (or, as a notice, something odd) at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The part of the user data whose lines are counted; none when they are those of the whole text.
    pub part: Option<Arc<str>>,
    /// Where; none when it is about the whole.
    pub mark: Option<Mark>,
    /// The path of the key: `rtcd.rtc.ice_port_udp`, `write_files[0].path`; may be empty.
    pub key: String,
    /// What is wrong. Never quotes a secret.
    pub what: String,
    /// What would be right, or the nearest known key; may be empty.
    pub hint: String,
}

impl Mistake {
    /// A mistake at a place.
    pub fn at(mark: Mark, key: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { part: None, mark: Some(mark), key: key.into(), what: what.into(), hint: hint.into() }
    }
    /// A mistake about the whole.
    pub fn whole(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { part: None, mark: None, key: String::new(), what: what.into(), hint: hint.into() }
    }
    /// The same in a part of the user data.
    pub fn in_part(self, part: Option<Arc<str>>) -> Self {
        Self { part, ..self }
    }
}

/// `line 5, column 7: rtcd.rtc.ice_prot_udp: unknown key; did you mean rtcd.rtc.ice_port_udp?`
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.part, self.mark) {
            (Some(part), Some(Mark { line, column })) => write!(f, "{part}, its line {line}, column {column}: ")?,
            (None, Some(Mark { line, column })) => write!(f, "line {line}, column {column}: ")?,
            (Some(part), None) => write!(f, "{part}: ")?,
            (None, None) => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// All mistakes of one text, in the order of their places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistakes {
    /// What the text is called: `user-data`, a path.
    pub name: String,
    /// In the order of the text, never empty.
    pub all: Vec<Mistake>,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.all.len();
        write!(f, "{} has {count} mistake{}:", self.name, if count == 1 { "" } else { "s" })?;
        self.all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}
