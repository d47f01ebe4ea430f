//! What a `#cloud-config` may say: each known key read into [`Wanted`], every other one a mistake or a notice.
mod hosts;
mod keys;
pub mod known;
mod log;
mod logs;
mod machine;
mod servers;
#[cfg(test)]
mod tests;
mod update;
pub mod variables;
mod write_files;

use crate::mistake::{Mark, Mistake};
use crate::user_data::{Part, Parts};
use crate::yaml::{self, Entry, join};
pub use hosts::{time_zones, usable_name};
use known::Fate;
use log::Log;
pub use logs::{Client, Framing, Logs, Sink, Syslog, Target};
use rtcd_config::source::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
pub use update::Update;

/// A value with its place in the user data.
#[derive(Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// As the user data have it, checked.
    pub value: T,
    /// Line and column, from 1.
    pub mark: Mark,
    /// The part of the user data whose lines `mark` counts; none when they are those of the whole text.
    pub part: Option<Arc<str>>,
}

impl<T> Placed<T> {
    /// The same place without the value.
    pub fn place(&self) -> Placed<()> {
        Placed { value: (), mark: self.mark, part: self.part.clone() }
    }

    /// A mistake about this value.
    pub fn mistake(&self, key: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Mistake {
        Mistake::at(self.mark, key, what, hint).in_part(self.part.clone())
    }
}

/// What an admin wants.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `rtcd:`, by the path of the key in `rtcd.toml`; variables (`$public_ipv4`) not yet replaced.
    pub rtcd: BTreeMap<&'static str, Placed<Value>>,
    /// The machine's name: `hostname`, or `fqdn` (with `prefer_fqdn_over_hostname`, or when it is the only one).
    pub hostname: Option<Placed<String>>,
    /// `ca_certs.trusted`: PEM certificates, checked to be that.
    pub trusted_certificates: Vec<Placed<String>>,
    /// `ntp`
    pub ntp: Option<Ntp>,
    /// `timezone`: a name of the time zone database.
    pub timezone: Option<Placed<String>>,
    /// `write_files`, decoded, only with allowed paths, each path once.
    pub files: Vec<File>,
    /// `logs`
    pub logs: Logs,
    /// `update`, when it is on.
    pub update: Option<Update>,
    /// `ssh_authorized_keys`; only debug images use them.
    pub ssh_keys: Vec<String>,
}

/// `ntp`
#[derive(Clone, PartialEq, Eq)]
pub struct Ntp {
    /// Whether the clock is set from the network at all.
    pub enabled: bool,
    /// `servers` and then `pools`: host names or addresses.
    pub servers: Vec<String>,
}

/// An entry of `write_files`.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What its path makes of it: decides owner, mode and checks.
    pub kind: FileKind,
    /// The path as the admin wrote it.
    pub path: Placed<String>,
    /// The content, decoded. A secret.
    pub content: Vec<u8>,
}

/// What may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// `/etc/rtcd/tls/NAME`: the certificate or the key of the API, PEM.
    Tls,
    /// `/etc/rtcd/turn.secret`: the secret shared with coturn, which becomes `rtc.turn.static_auth_secret`.
    TurnSecret,
}

/// What came out of all parts of the user data.
#[derive(Default)]
pub struct Read {
    /// All that was understood, also beside mistakes.
    pub wanted: Wanted,
    /// What is wrong; when there is any, nothing is used.
    pub mistakes: Vec<Mistake>,
    /// What is known, harmless and ignored.
    pub notices: Vec<Mistake>,
}

/// Mistakes of one report: a text that is wrong all over need not fill the console.
const MAX_REPORTED: usize = 50;

/// Reads all parts, from top to bottom. As in cloud-init, what a later part says replaces what an earlier one says,
/// lists too; below `rtcd:` that goes key by key.
pub fn read(parts: Parts) -> Read {
    let mut reader = Reader::default();
    reader.log.out.notices = parts.notices;
    for part in parts.parts {
        match part {
            Ok(part) => reader.part(&part),
            Err(mistake) => reader.log.out.mistakes.push(mistake),
        }
    }
    reader.finish()
}

/// Reads user data in any form.
pub fn read_bytes(bytes: &[u8]) -> Read {
    read(crate::user_data::read(bytes))
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    log: Log,
    wanted: Wanted,
    /// Where each key was set: a key of cloud-config or, with `rtcd.` in front, one of rtcd.
    set: BTreeMap<String, Placed<usize>>,
    /// The number of the part.
    number: usize,
    hostname: Option<Placed<String>>,
    fqdn: Option<Placed<String>>,
    prefer_fqdn: bool,
}

impl Reader {
    fn part(&mut self, part: &Part) {
        self.number += 1;
        self.log.part.clone_from(&part.name);
        let before = self.log.out.mistakes.len();
        let loaded = yaml::load(&part.text, part.first);
        loaded.mistakes.into_iter().for_each(|mistake| self.log.add(mistake));
        if let Some(root) = loaded.root.filter(|root| !root.is_empty()) {
            let entries = self.log.take(&root, "#cloud-config", root.entries());
            entries.into_iter().flatten().for_each(|entry| self.top(entry));
        }
        // In the order of their places; a part's mistakes stay together.
        if let Some(found) = self.log.out.mistakes.get_mut(before..) {
            found.sort_by_key(|mistake| mistake.mark);
        }
    }

    fn top(&mut self, entry: &Entry) {
        let (name, mark) = (entry.key.as_str(), entry.mark);
        if name == "rtcd" {
            return self.rtcd("rtcd", "", &entry.value, mark);
        }
        if name.strip_prefix("rtcd.").is_some() {
            return self.rtcd_key("", "", entry);
        }
        match known::fate(name) {
            Some(Fate::Honoured) => {
                self.set_once(name.replace('-', "_"), name, mark);
                self.honour(name, entry);
            }
            Some(Fate::Ignored(why)) => self.log.notice(mark, name, "is ignored", why),
            Some(Fate::Refused(instead)) => self.log.mistake(mark, name, "is not supported", instead),
            None => self.unknown(entry),
        }
    }

    fn honour(&mut self, name: &str, entry: &Entry) {
        match name {
            "hostname" => self.hostname = self.host_name(entry),
            "fqdn" => self.fqdn = self.host_name(entry),
            "prefer_fqdn_over_hostname" => {
                let read = entry.value.boolean();
                self.prefer_fqdn = self.log.take_entry(entry, name, read).unwrap_or_default();
            }
            "ca_certs" | "ca-certs" => self.certificates(entry),
            "logs" => self.logs(entry),
            "ntp" => self.ntp(entry),
            "timezone" => self.timezone(entry),
            "update" => self.update(entry),
            "write_files" => self.write_files(entry),
            "ssh_authorized_keys" => self.ssh_keys(entry),
            _ => self.users(entry),
        }
    }

    fn unknown(&mut self, entry: &Entry) {
        let (shown, mark) = (join("", &entry.key), entry.mark);
        if let Some(path) = keys::belongs_below(&entry.key) {
            self.log.mistake(mark, &shown, "stands outside of rtcd", format!("its place is {path}"));
            // Read as if it were inside, so that its other mistakes are in the same report.
            if path.strip_prefix("rtcd.") == Some(&entry.key) {
                self.rtcd_key("", "", entry);
            }
            return;
        }
        let hint = match known::nearest(&entry.key) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("known are {}", known::honoured()),
        };
        self.log.mistake(mark, &shown, "unknown key", hint);
    }

    /// Notes that a key is set. Says so when a key is set again: in one part it is a mistake, from part to part it is not.
    fn set_once(&mut self, key: String, shown: &str, mark: Mark) {
        let here = self.log.place(self.number, mark);
        let Some(before) = self.set.insert(key, here) else { return };
        let line = before.mark.line;
        if before.value == self.number {
            self.log.mistake(mark, shown, format!("is set twice, first in line {line}"), "keep one of the two");
        } else {
            let place = before.part.map_or_else(|| format!("in line {line}"), |part| format!("in {part}"));
            self.log.notice(mark, shown, format!("replaces what is said {place}"), "");
        }
    }

    fn finish(self) -> Read {
        let Self { log: Log { mut out, .. }, mut wanted, hostname, fqdn, prefer_fqdn, .. } = self;
        wanted.hostname = match (hostname, fqdn) {
            (Some(hostname), Some(fqdn)) => Some(if prefer_fqdn { fqdn } else { hostname }),
            (hostname, fqdn) => hostname.or(fqdn),
        };
        out.wanted = wanted;
        if out.mistakes.iter().all(|mistake| mistake.part.is_none()) {
            out.mistakes.sort_by_key(|mistake| mistake.mark);
        }
        let more = out.mistakes.len().saturating_sub(MAX_REPORTED);
        if more > 0 {
            out.mistakes.truncate(MAX_REPORTED);
            out.mistakes.push(Mistake::whole(format!("and {more} more"), "the first ones may explain the rest"));
        }
        out.notices.truncate(MAX_REPORTED);
        out
    }
}
