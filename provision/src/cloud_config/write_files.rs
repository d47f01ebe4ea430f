//! `write_files`, for the few files that somebody may bring.
use super::{File, FileKind, Placed, Reader};
use crate::user_data::unpack;
use crate::yaml::{Entry, Node, join};
use rustls_pki_types::pem::{PemObject, SectionKind};

/// The directory of certificate and key.
const TLS_DIRECTORY: &str = "/etc/rtcd/tls/";
/// The secret that is shared with coturn.
const TURN_SECRET: &str = "/etc/rtcd/turn.secret";
/// The same in words.
const ALLOWED: &str =
    "allowed: /etc/rtcd/tls/NAME with a NAME that ends in .pem, .crt or .key, and /etc/rtcd/turn.secret";
/// Certificates and keys are a few KiB.
const MAX_CONTENT: usize = 256 << 10;

/// What an entry says.
#[derive(Default)]
struct Fields<'a> {
    path: Option<Placed<String>>,
    content: Option<(&'a str, &'a Node)>,
    encoding: Encoding,
    /// Something is wrong with it, which has been reported.
    broken: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Encoding {
    #[default]
    Plain,
    Base64,
    Gzip,
    GzipBase64,
}

impl Reader {
    pub(super) fn write_files(&mut self, entry: &Entry) {
        self.wanted.files.clear();
        for (path, item) in self.items(entry, &entry.key) {
            let read = item.entries();
            if let Some(fields) = self.log.take(item, &path, read) {
                self.file(item, &path, fields);
            }
        }
    }

    fn file(&mut self, item: &Node, shown: &str, entries: &[Entry]) {
        let mut fields = Fields::default();
        for entry in entries {
            let known = self.log.out.mistakes.len();
            self.field(shown, entry, &mut fields);
            fields.broken |= self.log.out.mistakes.len() > known;
        }
        let Fields { path, content, encoding, broken } = fields;
        if path.is_none() && !broken {
            return self.log.mistake(item.mark, shown, "there is no path", ALLOWED);
        }
        if content.is_none() && !broken {
            return self.log.mistake(item.mark, shown, "there is no content", "write content: | and the text below it");
        }
        let (Some(path), Some((text, node))) = (path, content) else { return };
        let Some(kind) = self.kind(&path, &join(shown, "path")) else { return };
        let content = decode(text, encoding).and_then(|content| match kind {
            FileKind::Tls if !is_pem(&content) => {
                Err(("is no PEM text", "paste the whole of it, from -----BEGIN to -----END"))
            }
            _ => Ok(content),
        });
        match content {
            Ok(content) if !broken => self.wanted.files.push(File { kind, path, content }),
            Ok(_) => {}
            Err((what, hint)) => self.log.mistake(node.mark, &join(shown, "content"), what, hint),
        }
    }

    fn field<'a>(&mut self, shown: &str, entry: &'a Entry, fields: &mut Fields<'a>) {
        let Entry { key, mark, value } = entry;
        let shown = join(shown, key);
        match key.as_str() {
            "path" => {
                let read = value.line().map(str::to_owned);
                let path = self.log.take_entry(entry, &shown, read);
                fields.path = path.map(|path| self.log.place(path, value.mark));
            }
            "content" => fields.content = self.log.take_entry(entry, &shown, value.text()).map(|text| (text, value)),
            "encoding" => {
                let Some(name) = self.log.take_entry(entry, &shown, value.line()) else { return };
                match encoding(name) {
                    Some(encoding) => fields.encoding = encoding,
                    None => {
                        let hint = "allowed: text/plain, base64 (b64), gzip+base64 (gz+b64)";
                        self.log.mistake(value.mark, &shown, "is no encoding that is known", hint);
                    }
                }
            }
            "permissions" => {
                let mode = self.log.take_entry(entry, &shown, mode(value));
                if mode.is_some_and(|mode| mode & !0o640 != 0) {
                    self.log.notice(value.mark, &shown, "is ignored", "the file is written with 0600");
                }
            }
            "owner" => self.log.notice(*mark, &shown, "is ignored", "the file belongs to rtcd"),
            "defer" => self.log.notice(*mark, &shown, "is ignored", "all files are written before rtcd starts"),
            "append" => {
                if self.log.take_entry(entry, &shown, value.boolean()) == Some(true) {
                    let hint = "give the whole content, and remove it";
                    self.log.mistake(*mark, &shown, "nothing can be appended to", hint);
                }
            }
            "source" => {
                let hint = "put the text itself into content";
                self.log.mistake(*mark, &shown, "nothing is fetched from elsewhere", hint);
            }
            _ => {
                let hint = "known are path, content, encoding, permissions, owner";
                self.log.mistake(*mark, &shown, "unknown key", hint);
            }
        }
    }

    /// What the path is for, when it is allowed and new.
    fn kind(&mut self, path: &Placed<String>, shown: &str) -> Option<FileKind> {
        let is_name = |name: &str| {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            let ending = [".pem", ".crt", ".key"].iter().any(|end| name.len() > end.len() && name.ends_with(end));
            plain && ending && !name.starts_with('.')
        };
        let kind = match path.value.strip_prefix(TLS_DIRECTORY) {
            Some(name) if is_name(name) => FileKind::Tls,
            None if path.value == TURN_SECRET => FileKind::TurnSecret,
            _ => {
                self.log.mistake(path.mark, shown, "this file cannot be written", ALLOWED);
                return None;
            }
        };
        let twice = self.wanted.files.iter().find(|file| file.path.value == path.value).map(|file| file.path.mark.line);
        if let Some(line) = twice {
            self.log.mistake(
                path.mark,
                shown,
                format!("this file is there twice, first in line {line}"),
                "keep one of the two",
            );
            return None;
        }
        Some(kind)
    }
}

fn encoding(name: &str) -> Option<Encoding> {
    match name.to_ascii_lowercase().as_str() {
        "text/plain" => Some(Encoding::Plain),
        "b64" | "base64" => Some(Encoding::Base64),
        "gz" | "gzip" => Some(Encoding::Gzip),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => Some(Encoding::GzipBase64),
        _ => None,
    }
}

fn decode(text: &str, encoding: Encoding) -> Result<Vec<u8>, (&'static str, &'static str)> {
    let bytes = match encoding {
        Encoding::Plain | Encoding::Gzip => text.as_bytes().to_vec(),
        Encoding::Base64 | Encoding::GzipBase64 => {
            unpack::base64(text).ok_or(("is no base64", "make it with base64 -w0, or remove the encoding"))?
        }
    };
    let bytes = match encoding {
        Encoding::Plain | Encoding::Base64 => bytes,
        Encoding::Gzip if !unpack::is_gzip(&bytes) => {
            return Err((
                "is no gzip, which YAML cannot hold as it is",
                "encode it with base64 too, as encoding: gzip+base64",
            ));
        }
        Encoding::GzipBase64 if !unpack::is_gzip(&bytes) => {
            return Err(("is base64, but no gzip inside", "write encoding: base64"));
        }
        Encoding::Gzip | Encoding::GzipBase64 => unpack::gunzip(&bytes, MAX_CONTENT).map_err(|error| match error {
            unpack::UnpackError::TooBig => ("is too big when it is unpacked", "at most 256 KiB"),
            unpack::UnpackError::Damaged => {
                ("is damaged: it cannot be unpacked", "make it again with gzip -c FILE | base64 -w0")
            }
        })?,
    };
    match bytes.len() {
        0 => Err(("is empty", "put the text below content: |")),
        size if size > MAX_CONTENT => Err(("is too big", "at most 256 KiB")),
        _ => Ok(bytes),
    }
}

/// Octal digits in quotes or not, as both are written.
fn mode(value: &Node) -> Result<u32, crate::yaml::Wrong> {
    let wrong = || value.not("octal digits in quotes, as '0600'");
    match &value.value {
        crate::yaml::Value::Scalar(text, _) => {
            u32::from_str_radix(text.trim_start_matches("0o"), 8).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

fn is_pem(content: &[u8]) -> bool {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(content).next().is_some_and(|first| first.is_ok())
}
