//! Doors for fuzzers: each takes any bytes, and panics when something is not as it must always be.
use crate::cloud_config::{self, variables};
use crate::mistake::{Mark, Mistake};
use crate::user_data;
use crate::yaml;

/// Any bytes as YAML.
pub fn yaml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let loaded = yaml::load(&text, Mark { line: 1, column: 1 });
    loaded.mistakes.iter().for_each(check);
    assert!(loaded.mistakes.iter().all(|mistake| is_inside(mistake.mark, &text)));
}

/// Any bytes as user data of any form.
pub fn user_data(bytes: &[u8]) {
    let parts = user_data::read(bytes);
    let (texts, mistakes): (Vec<_>, Vec<_>) = parts.parts.into_iter().partition(Result::is_ok);
    assert!(texts.len() <= user_data::MAX_PARTS);
    let size: usize = texts.iter().flatten().map(|part| part.text.len()).sum();
    assert!(size <= user_data::MAX_SIZE + user_data::MAX_UNPACKED);
    mistakes.iter().filter_map(|part| part.as_ref().err()).chain(&parts.notices).for_each(check);
}

/// Any bytes from user data to what is wanted.
pub fn cloud_config(bytes: &[u8]) {
    let read = cloud_config::read_bytes(bytes);
    read.mistakes.iter().chain(&read.notices).for_each(check);
}

/// Any bytes as a text with variables.
pub fn variables(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(expanded) = variables::expand(&text, &|_| Some(String::new())) {
        assert!(expanded.len() <= text.len());
    }
}

/// A message is one line that no console takes for anything else.
fn check(mistake: &Mistake) {
    let shown = mistake.to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    assert!(shown.len() < 2000, "{shown:?}");
    assert!(!mistake.what.is_empty());
}

fn is_inside(mark: Option<Mark>, text: &str) -> bool {
    // Each of \n, \r and \r\n ends a line.
    let lines = text.replace("\r\n", "\n").matches(['\n', '\r']).count() + 1;
    mark.is_none_or(|mark| (1..=lines + 1).contains(&mark.line) && mark.column >= 1)
}
