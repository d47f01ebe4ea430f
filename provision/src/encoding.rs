//! From bytes to text: what an editor saved in another way than as UTF-8 is called by its name.
use crate::mistake::Mark;

/// The start of a text.
pub(crate) const START: Mark = Mark { line: 1, column: 1 };

/// Where it goes wrong, what it is, what to do.
type Why = (Mark, &'static str, &'static str);

/// The text without its byte order mark.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Why> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(what) = utf16(bytes) {
        return Err((START, what, "save it as UTF-8"));
    }
    let (good, error) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let good = std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default();
            (good, Some((mark(good), "this is not UTF-8 text", "save it as UTF-8")))
        }
    };
    if let Some(at) = good.find('\0') {
        let before = good.get(..at).unwrap_or_default();
        return Err((
            mark(before),
            "there is a NUL byte, which no text has",
            "delete it; a disk that was full or a program may have put it there",
        ));
    }
    error.map_or(Ok(good), Err)
}

/// Whether somebody may have meant it as a text.
pub(crate) fn is_like_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() || utf16(bytes).is_some()
}

/// What PowerShell and the Windows editor call Unicode: with a byte order mark, or every other byte zero.
fn utf16(bytes: &[u8]) -> Option<&'static str> {
    /// Enough characters to be sure, and fewer than the shortest first line has.
    const LOOKED_AT: usize = 8;
    let zeros = |odd: usize| {
        bytes.len() >= LOOKED_AT
            && bytes.iter().take(LOOKED_AT).enumerate().all(|(at, byte)| (*byte == 0) == (at % 2 == odd))
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Some("this is UTF-16 text");
    }
    (zeros(0) || zeros(1)).then_some("this is UTF-16 text, without a byte order mark")
}

/// The place behind a text.
fn mark(before: &str) -> Mark {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Mark { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_called_by_its_name_and_its_place() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let check = |bytes: &[u8], line, column, what: &str| {
            let (mark, found, _) = text(bytes).expect_err("refused");
            assert_eq!((mark, found), (Mark { line, column }, what));
        };
        check(&utf16("\u{feff}#cloud-config\n", u16::to_le_bytes), 1, 1, "this is UTF-16 text");
        check(&utf16("\u{feff}#cloud-config\n", u16::to_be_bytes), 1, 1, "this is UTF-16 text");
        check(&utf16("#cloud-config\n", u16::to_le_bytes), 1, 1, "this is UTF-16 text, without a byte order mark");
        check(&utf16("#cloud-config\n", u16::to_be_bytes), 1, 1, "this is UTF-16 text, without a byte order mark");
        check(b"#cloud-config\na: \0\n", 2, 4, "there is a NUL byte, which no text has");
        check(
            "ä\nä: ".as_bytes().iter().chain(b"\xff").copied().collect::<Vec<_>>().as_slice(),
            2,
            4,
            "this is not UTF-8 text",
        );
        assert_eq!(text(b"\xef\xbb\xbfa"), Ok("a"));
    }
}
