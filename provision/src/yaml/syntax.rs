//! What a parser's complaint means to somebody who edits a file. The text is never quoted: it may be a secret.
use crate::mistake::{Mark, Mistake};
use saphyr_parser::ScanError;

/// White space that looks like a space, or like nothing, and is neither to YAML.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}' | '\u{3000}' | '\u{feff}')
}

/// The same in words.
pub const INVISIBLE: &str = "a no-break space or the like, as copied from a web page";

/// The parser's words, the sentence, what to do. The first that is found counts.
const SENTENCES: &[(&[&str], &str, &str)] = &[
    (&["recursion limit"], "brackets are nested too deep", "nothing needs so many"),
    (
        &["unexpected end of stream", "unexpected document indicator", "indentation in quoted scalar"],
        "the quote that is opened here is not closed",
        "close it at the end of the value",
    ),
    (
        &["content after double-quoted scalar"],
        "something follows a closing quote",
        "inside '...' write a single quote twice; inside \"...\" write \\\" for a double quote",
    ),
    (
        &["escape", "hexadecimal"],
        "a backslash inside \"...\" starts something that is not known",
        "write \\\\ for a backslash, or use '...'",
    ),
    (
        &["unknown anchor", "anchor or alias", "duplicated anchor", "for anchor"],
        "a value that starts with & or * is an anchor or alias, which is not supported",
        "put the value in quotes",
    ),
    (
        &["a tag", "handle", "global tag"],
        "a value that starts with ! is a tag, which is not supported",
        "put the value in quotes",
    ),
    (&["unexpected character"], "a value may not start with this character", "put the value in quotes"),
    (
        &["plain scalar cannot start"],
        "a value may not start with this character",
        "put the value in quotes, or put a space after the -",
    ),
    (
        &["directive", "version number", "TAG"],
        "a line that starts with % means something else in YAML",
        "remove it, or put the value in quotes",
    ),
    (
        &["block scalar"],
        "the text of | or > is not where it should be",
        "put it on the lines below, all of them indented by the same spaces, deeper than the key",
    ),
    (
        &["mapping values are not allowed"],
        "a colon stands where none may be",
        "start this line in the same column as its neighbours, look for a missing colon in the line above, and put a value that has a colon and a space in quotes",
    ),
    (
        &["simple key", "unexpected end of plain scalar"],
        "a line above this one is no key: value",
        "look for a missing colon, or a missing space after the colon",
    ),
    (
        &["flow", "illegal placement of ':'", "misplaced bracket"],
        "a bracket or a comma is missing or too many",
        "every [ needs its ], every { its }, and there is a comma between entries",
    ),
    (
        &["block sequence entries are not allowed"],
        "a list may not start here",
        "put each - on a line of its own below the key",
    ),
    (
        &["did not find expected key", "'-' indicator", "mapping keys are not allowed", "invalid indentation"],
        "this line does not fit the lines above it",
        "start it in the same column as the keys or entries that it belongs to",
    ),
    (
        &["node content"],
        "a value is missing",
        "write a value, or put one that starts with a comma or a bracket in quotes",
    ),
    (
        &["document"],
        "something stands outside of the document",
        "remove what follows the closing bracket, and the lines --- and ...",
    ),
    (
        &["unprintable", "byte order mark"],
        "there is a character that cannot be seen",
        "delete the line and type it again",
    ),
];

/// The mistake that ends the reading of a text.
pub fn explain(error: &ScanError, text: &str, mark: Mark) -> Mistake {
    let (what, hint) = sentence(error, text);
    Mistake::at(mark, "", format!("this is not valid YAML: {what}"), hint)
}

fn sentence(error: &ScanError, text: &str) -> (&'static str, &'static str) {
    let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
    let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    if error.info().contains("tab") || indentation.contains('\t') {
        return ("a tab stands where YAML takes spaces only", "replace the tabs at the start of the lines by spaces");
    }
    if line.contains(is_invisible) {
        return ("the line holds a no-break space or the like, as copied from a web page", "type the line again");
    }
    let known = SENTENCES.iter().find(|(words, ..)| words.iter().any(|words| error.info().contains(words)));
    known.map_or(
        ("something is out of place here", "look for a missing quote, colon or bracket in this line and the one above"),
        |(_, what, hint)| (*what, *hint),
    )
}
