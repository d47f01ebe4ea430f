//! Mistakes and notices of one text about the network.
use super::field::Field;
use crate::mistake::{Mark, Mistake};
use crate::nearest::nearest;
use crate::yaml::{Entry, Node, Wrong, shown};

/// Mistakes of one report, as for user data.
const MAX_REPORTED: usize = 50;

/// What is wrong and what is odd, in the order in which it was found.
#[derive(Default)]
pub(super) struct Report {
    mistakes: Vec<Mistake>,
    notices: Vec<Mistake>,
}

impl Report {
    pub fn add(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    pub fn mistake(&mut self, mark: Mark, path: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.add(Mistake::at(mark, path, what, hint));
    }

    /// The value of a field is wrong.
    pub fn wrong(&mut self, field: &Field<'_>, what: impl Into<String>, hint: impl Into<String>) {
        self.mistake(field.mark, &field.path, what, hint);
    }

    /// What is known, harmless and without effect.
    pub fn notice(&mut self, field: &Field<'_>, what: impl Into<String>, hint: impl Into<String>) {
        self.notices.push(Mistake::at(field.mark, field.path.clone(), what, hint));
    }

    /// A key that nobody knows, and the one that may be meant.
    pub fn unknown(&mut self, entry: &Entry, path: &str, known: &[&str]) {
        let hint = match nearest(&entry.key, known.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("known here are {}", known.join(", ")),
        };
        self.mistake(entry.mark, path, "unknown key", hint);
    }

    /// A word that is none of those that mean something.
    pub fn none_of(&mut self, field: &Field<'_>, word: &str, known: &[&str]) {
        let hint = match nearest(word, known.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("allowed: {}", known.join(", ")),
        };
        self.wrong(field, format!("{} means nothing here", shown(word)), hint);
    }

    /// What was read; reports it when it is of the wrong type.
    pub fn take<T>(&mut self, field: &Field<'_>, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => return Some(value),
            Err(Wrong::Type(what, hint)) => self.wrong(field, what, hint),
            Err(Wrong::Known) => {}
        }
        None
    }

    /// The keys of a section as fields; none when it is no section, which has been reported.
    pub fn section<'a>(&mut self, field: &Field<'a>) -> Vec<(&'a Entry, Field<'a>)> {
        let entries = self.take(field, field.node.entries()).unwrap_or_default();
        entries.iter().map(|entry| (entry, field.key(entry))).collect()
    }

    /// The entries of a list as fields.
    pub fn list<'a>(&mut self, field: &Field<'a>) -> Vec<Field<'a>> {
        let items: &'a [Node] = self.take(field, field.node.list()).unwrap_or_default();
        field.items(items)
    }

    /// All mistakes in the order of the text, as many as a console can show, and the notices.
    pub fn finish(mut self) -> (Vec<Mistake>, Vec<Mistake>) {
        self.mistakes.sort_by_key(|mistake| mistake.mark);
        self.mistakes.dedup();
        let more = self.mistakes.len().saturating_sub(MAX_REPORTED);
        if more > 0 {
            self.mistakes.truncate(MAX_REPORTED);
            self.mistakes.push(Mistake::whole(format!("and {more} more"), "the first ones may explain the rest"));
        }
        self.notices.sort_by_key(|notice| notice.mark);
        self.notices.truncate(MAX_REPORTED);
        (self.mistakes, self.notices)
    }
}
