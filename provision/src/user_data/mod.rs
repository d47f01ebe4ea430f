//! The forms of user data: plain, gzip, base64, MIME multipart, cloud-config-archive, and these inside each other.
//! What comes out are texts in cloud-config, each with its place in what the admin wrote; everything else is refused by
//! name. Sizes, counts and depth are bounded before anything is unpacked.
mod archive;
mod forms;
mod mime;
#[cfg(test)]
mod tests;
pub mod unpack;

use crate::encoding::{self, START};
use crate::mistake::{Mark, Mistake};
use forms::Form;
use std::sync::Arc;

/// User data as it arrives; clouds allow 16 to 256 KiB, VMware 512 KiB.
pub const MAX_SIZE: usize = 512 << 10;
/// Everything that is unpacked from it, together.
pub const MAX_UNPACKED: usize = 1 << 20;
/// Parts of a MIME message or of an archive.
pub const MAX_PARTS: usize = 16;
/// Packings inside each other: gzip in base64 in a MIME message is 3.
pub const MAX_DEPTH: usize = 3;

/// What user data consists of, from top to bottom.
#[derive(Default)]
pub struct Parts {
    /// Texts in cloud-config, and what stands in the place of one.
    pub parts: Vec<Result<Part, Mistake>>,
    /// What was read and has no effect.
    pub notices: Vec<Mistake>,
}

/// A text in cloud-config. May hold secrets: there is no `Debug`.
pub struct Part {
    /// What it is called; none when its lines are lines of the whole text.
    pub name: Option<Arc<str>>,
    /// The decoded text of the part.
    pub text: String,
    /// Where its first character stands.
    pub first: Mark,
}

/// Takes user data apart. Empty user data has no parts.
pub fn read(bytes: &[u8]) -> Parts {
    let mut opener = Opener { out: Parts::default(), left: MAX_UNPACKED, count: 0 };
    let place = Place { name: None, own_lines: false, first: START };
    if bytes.len() > MAX_SIZE {
        let what = format!("there is more than {} KiB of it", MAX_SIZE >> 10);
        opener.out.parts.push(Err(Mistake::whole(what, "remove what is not for this machine")));
    } else {
        opener.open(bytes, &place, None, MAX_DEPTH);
    }
    opener.out
}

#[derive(Clone)]
struct Place {
    /// The part that it is; none when there is only one.
    name: Option<Arc<str>>,
    /// Whether lines are counted from the start of the part, because it was packed.
    own_lines: bool,
    /// Where its first character stands.
    first: Mark,
}

impl Place {
    fn mistake(&self, mark: Mark, what: impl Into<String>, hint: impl Into<String>) -> Mistake {
        match &self.name {
            Some(_) if self.own_lines => Mistake::at(mark, "", what, hint).in_part(self.name.clone()),
            name => Mistake::at(mark, name.as_deref().unwrap_or_default(), what, hint),
        }
    }
    /// The same when the bytes there have been unpacked.
    fn unpacked(&self) -> Self {
        Self { name: self.name.clone(), own_lines: true, first: START }
    }
    /// The mark of an offset into the text.
    fn at(&self, bytes: &[u8], offset: usize) -> Mark {
        let before = bytes.get(..offset).unwrap_or(bytes);
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count();
        Mark { line: self.first.line + line, column: column + self.first.column }
    }
}

struct Opener {
    out: Parts,
    /// Bytes that may still be unpacked.
    left: usize,
    /// Parts so far.
    count: usize,
}

impl Opener {
    /// `form`: what somebody said that it is; else the first line tells.
    fn open(&mut self, bytes: &[u8], place: &Place, form: Option<Form>, depth: usize) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let is_message = form.is_none() && mime::is_message(bytes);
        if depth == 0 && (unpack::is_gzip(bytes) || is_message) {
            return self.too_deep(place);
        }
        if unpack::is_gzip(bytes) {
            return match unpack::gunzip(bytes, self.left) {
                Ok(inner) => {
                    self.left -= inner.len();
                    self.open(&inner, &place.unpacked(), form, depth - 1);
                }
                Err(error) => self.fail(place, place.first, error.to_string(), error.hint()),
            };
        }
        if is_message {
            return self.message(bytes, place, depth - 1);
        }
        match encoding::text(bytes) {
            Ok(text) => self.text(text, place, form, depth),
            Err((mark, what, hint)) => {
                let column = if mark.line == 1 { mark.column + place.first.column - 1 } else { mark.column };
                let mark = Mark { line: mark.line + place.first.line - 1, column };
                self.fail(place, mark, what, hint);
            }
        }
    }

    fn text(&mut self, text: &str, place: &Place, form: Option<Form>, depth: usize) {
        if text.trim().is_empty() {
            return;
        }
        match form.unwrap_or_else(|| forms::by_first_line(text)) {
            Form::CloudConfig => {
                let name = place.name.clone().filter(|_| place.own_lines);
                self.out.parts.push(Ok(Part { name, text: text.to_owned(), first: place.first }));
            }
            Form::Archive if depth == 0 => self.too_deep(place),
            Form::Archive => self.archive(text, place, depth - 1),
            Form::Refused(what, hint) => {
                let start = text.len() - text.trim_start().len();
                self.fail(place, place.at(text.as_bytes(), start), what, hint);
            }
            Form::Unknown => match unpack::base64(text) {
                Some(_) if depth == 0 => self.too_deep(place),
                Some(inner) if inner.len() > self.left => {
                    let error = unpack::UnpackError::TooBig;
                    self.fail(place, place.first, error.to_string(), error.hint());
                }
                Some(inner) if unpack::is_gzip(&inner) || encoding::is_like_text(&inner) => {
                    self.left -= inner.len();
                    self.open(&inner, &place.unpacked(), None, depth - 1);
                }
                _ => {
                    let (mark, what, hint) = forms::explain(text);
                    let mark = mark.map_or(place.first, |line| Mark { line: place.first.line + line, ..place.first });
                    self.fail(place, mark, what, hint);
                }
            },
        }
    }

    /// Whether a part of this type is for us; it has been reported when it is not.
    fn is_usable(&mut self, mime: &str, place: &Place) -> bool {
        match forms::by_mime_type(mime) {
            Some(Form::Refused(what, hint)) => self.fail(place, place.first, what, hint),
            Some(Form::Unknown) => {
                self.fail(place, place.first, "this is of a type that is not known", "allowed: text/cloud-config");
            }
            _ => return true,
        }
        false
    }

    /// Counts a part. False: there are too many, which has been reported once.
    fn next_part(&mut self, at: &Place) -> bool {
        self.count += 1;
        if self.count == MAX_PARTS + 1 {
            let what = format!("there are more than {MAX_PARTS} parts");
            self.out.parts.push(Err(Mistake::at(at.first, "", what, "join some of them")));
        }
        self.count <= MAX_PARTS
    }

    /// `part 2 (rtcd.yaml)`
    fn name(&self, file: Option<&str>) -> Arc<str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match file.filter(|file| !file.is_empty() && file.len() <= 64 && file.chars().all(plain)) {
            Some(file) => format!("part {} ({file})", self.count).into(),
            None => format!("part {}", self.count).into(),
        }
    }

    fn too_deep(&mut self, place: &Place) {
        let what = format!("more than {MAX_DEPTH} packings are inside each other");
        self.fail(place, place.first, what, "send the text itself, or one MIME message");
    }

    fn fail(&mut self, place: &Place, mark: Mark, what: impl Into<String>, hint: impl Into<String>) {
        self.out.parts.push(Err(place.mistake(mark, what, hint)));
    }
}
