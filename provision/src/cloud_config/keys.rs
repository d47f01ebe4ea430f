//! `rtcd:`, whose keys are those of `rtcd.toml`: nested, dotted, or both.
use super::{Reader, known};
use crate::mistake::Mark;
use crate::nearest;
use crate::yaml::{Entry, Node, Wrong, join};
use rtcd_config::keys::{self, Default, Key, WITHOUT_EFFECT};
use rtcd_config::source::Value;

impl Reader {
    /// Reads a section. `shown`: its path as the admin wrote it; `meant`: the path in `rtcd.toml` that it stands for.
    pub(super) fn rtcd(&mut self, shown: &str, meant: &str, node: &Node, mark: Mark) {
        if node.is_empty() {
            return self.log.notice(mark, shown, "is empty", "keys that belong to it are indented deeper than it");
        }
        let read = node.entries().map_err(|wrong| match wrong {
            Wrong::Type(what, hint) if hint.starts_with("allowed") => {
                Wrong::Type(what, format!("{hint}: {}", names_in(meant)))
            }
            wrong => wrong,
        });
        for entry in self.log.take(node, shown, read).into_iter().flatten() {
            self.rtcd_key(shown, meant, entry);
        }
    }

    /// Reads a key or a section. `shown` and `meant`: where it is, as above.
    pub(super) fn rtcd_key(&mut self, shown: &str, meant: &str, entry: &Entry) {
        let (shown, mark) = (join(shown, &entry.key), entry.mark);
        // At the top `rtcd.rtc.ice_port_udp: 8443` is as good as the same in three lines.
        let name = if shown == entry.key { entry.key.trim_start_matches("rtcd.") } else { &entry.key };
        let path = if meant.is_empty() { name.to_owned() } else { format!("{meant}.{name}") };
        let without_effect = WITHOUT_EFFECT.iter().find(|(key, _)| key.eq_ignore_ascii_case(&path));
        if let Some(key) = keys::find(&path) {
            self.setting(key, &shown, entry);
        } else if let Some((_, why)) = without_effect {
            self.log.notice(mark, &shown, *why, "");
        } else if is_section(&path) {
            self.rtcd(&shown, &path, &entry.value, mark);
        } else {
            self.unknown_rtcd(&shown, meant, &path, entry);
        }
    }

    fn unknown_rtcd(&mut self, shown: &str, meant: &str, path: &str, entry: &Entry) {
        let Entry { key: name, mark, value } = entry;
        let has_keys = value.entries().is_ok_and(|entries| !entries.is_empty());
        let variable = keys::ALL.iter().find(|key| key.env.eq_ignore_ascii_case(name));
        let mut fail = |what: &str, hint: String| self.log.mistake(*mark, shown, what, hint);
        if let Some(key) = variable {
            return fail("is the name of an environment variable", format!("write rtcd.{}", key.path));
        }
        if meant.is_empty() && known::is_known(name) {
            let hint = if name == "rtcd" { "remove one of the two" } else { "start its line in the first column" };
            fail("does not belong below rtcd", hint.into());
        } else if let Some(section) = nearest::nearest(path, sections()).filter(|_| has_keys) {
            fail("unknown section", format!("did you mean rtcd.{section}?"));
            // Its keys are read as if it were right, so that their mistakes are in the same report.
            self.rtcd(shown, section, value, *mark);
        } else if has_keys {
            // Each key may be known elsewhere.
            self.rtcd(shown, path, value, *mark);
        } else {
            let hint = match keys::nearest(path.get(..LONGEST).map_or(path, |_| "")) {
                Some(nearest) => format!("did you mean rtcd.{nearest}?"),
                None => format!("known here are {}", names_in(meant)),
            };
            fail("unknown key", hint);
        }
    }

    fn setting(&mut self, key: &'static Key, shown: &str, entry: &Entry) {
        self.set_once(format!("rtcd.{}", key.path), shown, entry.mark);
        let node = &entry.value;
        let text = |node: &Node| node.line().map(|text| Value::Text(text.to_owned()));
        let read = match key.default {
            Default::Bool(_) => node.boolean().map(Value::Bool),
            Default::Integer(_) | Default::ByCpus => node.integer().map(Value::Integer),
            Default::Text(_) => text(node),
            Default::TextOrInteger(_) => node.integer().map(Value::Integer).or_else(|_| text(node)),
            Default::NoServers => return self.servers(key, shown, entry),
        };
        if let Some(value) = self.log.take_entry(entry, shown, read) {
            self.keep(key, value, node.mark);
        }
    }

    pub(super) fn keep(&mut self, key: &'static Key, value: Value, mark: Mark) {
        let placed = self.log.place(value, mark);
        self.wanted.rtcd.insert(key.path, placed);
    }
}

/// Longer paths are like none.
const LONGEST: usize = 128;

/// The path below `rtcd:` of a key that stands at the top: a section, a dotted path, or the last word of one.
pub fn belongs_below(name: &str) -> Option<String> {
    let by_name = |key: &&Key| key.name().eq_ignore_ascii_case(name) || key.env.eq_ignore_ascii_case(name);
    let is_path = keys::find(name).is_some() || is_section(name);
    let path = if is_path { name } else { keys::ALL.iter().find(by_name)?.path };
    Some(format!("rtcd.{path}"))
}

/// Paths that have known keys below them.
fn sections() -> impl Iterator<Item = &'static str> {
    let paths = keys::ALL.iter().map(|key| key.path).chain(WITHOUT_EFFECT.iter().map(|(path, _)| *path));
    paths.flat_map(|path| path.match_indices('.').map(|(dot, _)| path.get(..dot).unwrap_or_default()))
}

fn is_section(path: &str) -> bool {
    sections().any(|section| section.eq_ignore_ascii_case(path))
}

/// The next words of all known paths below a section: `api, rtc, store, logger`.
fn names_in(section: &str) -> String {
    let below = |key: &Key| match section {
        "" => Some(key.path),
        _ => key.path.strip_prefix(section)?.strip_prefix('.'),
    };
    let mut names: Vec<_> = keys::ALL.iter().filter_map(below).filter_map(|rest| rest.split('.').next()).collect();
    names.dedup();
    match names.is_empty() {
        true => names_in(""),
        false => names.join(", "),
    }
}
