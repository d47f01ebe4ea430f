//! Mistakes and notices of the part that is being read.
use super::{Placed, Read};
use crate::mistake::{Mark, Mistake};
use crate::yaml::{Entry, Node, Wrong};
use std::sync::Arc;

/// Where mistakes and notices go.
#[derive(Default)]
pub struct Log {
    /// The part; none when its lines are those of the whole text.
    pub part: Option<Arc<str>>,
    /// What was read so far, with its mistakes and notices.
    pub out: Read,
}

impl Log {
    /// Notes a mistake: nothing will be applied.
    pub fn mistake(&mut self, mark: Mark, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.add(Mistake::at(mark, key, what, hint));
    }
    /// A mistake that somebody else found in this part.
    pub fn add(&mut self, mistake: Mistake) {
        self.out.mistakes.push(mistake.in_part(self.part.clone()));
    }
    /// Notes what is odd and changes nothing.
    pub fn notice(&mut self, mark: Mark, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.out.notices.push(Mistake::at(mark, key, what, hint).in_part(self.part.clone()));
    }
    /// What was read; reports it when it is of the wrong type.
    pub fn take<T>(&mut self, node: &Node, key: &str, read: Result<T, Wrong>) -> Option<T> {
        self.take_at(node.mark, key, read)
    }
    /// The same for the value of a key: one that is empty has no place of its own.
    pub fn take_entry<T>(&mut self, entry: &Entry, key: &str, read: Result<T, Wrong>) -> Option<T> {
        self.take_at(if entry.value.is_empty() { entry.mark } else { entry.value.mark }, key, read)
    }
    /// A value with its place.
    pub fn place<T>(&self, value: T, mark: Mark) -> Placed<T> {
        Placed { value, mark, part: self.part.clone() }
    }

    fn take_at<T>(&mut self, mark: Mark, key: &str, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => return Some(value),
            Err(Wrong::Type(what, hint)) => self.mistake(mark, key, what, hint),
            Err(Wrong::Known) => {}
        }
        None
    }
}
