//! `update`: whether, from where and when the machine takes new versions of its image.
use super::Reader;
use crate::update::Window;
use crate::yaml::{Entry, join};
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

const KNOWN: &str = "known are url, auto, window";

/// Updates that are wanted. Without it the machine stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Where `SHA256SUMS` and the files of the releases are; ends with a slash.
    pub url: String,
    /// When the machine may restart, in its own time zone.
    pub window: Window,
}

impl Reader {
    pub(super) fn update(&mut self, entry: &Entry) {
        self.wanted.update = None;
        let (mut url, mut auto, mut window) = (None, Some(false), Some(Window::default()));
        let read = entry.value.entries();
        let Some(fields) = self.log.take_entry(entry, &entry.key, read) else { return };
        for field in fields {
            let path = join(&entry.key, &field.key);
            let value = &field.value;
            match field.key.as_str() {
                "url" => {
                    let text = self.log.take_entry(field, &path, value.line());
                    url = Some(text.and_then(|text| self.parsed(field, &path, check_url(text))));
                }
                "auto" => auto = self.log.take_entry(field, &path, value.boolean()),
                "window" => {
                    let text = self.log.take_entry(field, &path, value.line());
                    window = text.and_then(|text| self.parsed(field, &path, text.parse()));
                }
                _ => self.log.mistake(field.mark, &path, "unknown key", KNOWN),
            }
        }
        let path = join(&entry.key, "url");
        match (auto, url) {
            (Some(true), None) => {
                self.log.mistake(entry.mark, &path, "is missing", "say where the releases are: https://HOST/PATH/");
            }
            (Some(true), Some(url)) => {
                self.wanted.update = url.zip(window).map(|(url, window)| Update { url, window });
            }
            (Some(false), _) => self.log.notice(entry.mark, &entry.key, "is off", "auto: true turns it on"),
            (None, _) => {}
        }
    }

    fn parsed<T>(&mut self, field: &Entry, path: &str, read: Result<T, (&'static str, &'static str)>) -> Option<T> {
        read.map_err(|(what, hint)| self.log.mistake(field.value.mark, path, what, hint)).ok()
    }
}

/// Everybody on the machine sees the URL of a download in the list of processes.
fn check_url(text: &str) -> Result<String, (&'static str, &'static str)> {
    const HINT: &str = "write https://HOST/PATH/";
    let uri: Uri = text.parse().map_err(|_| ("is no URL", HINT))?;
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.is_empty() {
        return Err(("is no http: or https: URL", HINT));
    }
    if authority.contains('@') {
        return Err(("holds a password", "the releases are signed, not secret: serve them without one"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(("has more than a path", "file names are put behind it: end it with a slash"));
    }
    // A percent sign would be a specifier of systemd (sysupdate.d(5)).
    if text.contains(['%', '"', '\'', '\\']) || !text.is_ascii() {
        return Err(("holds a character that it cannot", "use letters, digits and -._~/ only"));
    }
    Ok(format!("{}/", text.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_releases_is_plain_and_ends_with_a_slash() {
        let check = |text| check_url(text).map_err(|(what, _)| what);
        assert_eq!(check("https://updates.example.com/rtcd"), Ok("https://updates.example.com/rtcd/".into()));
        assert_eq!(check("http://10.0.2.2:8000/"), Ok("http://10.0.2.2:8000/".into()));
        assert_eq!(check("https://a:b@example.com/"), Err("holds a password"));
        assert_eq!(check("https://example.com/?a=b"), Err("has more than a path"));
        assert_eq!(check("https://example.com/%v/"), Err("holds a character that it cannot"));
        for text in ["ftp://example.com/", "/srv/", "example.com", "https://"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
