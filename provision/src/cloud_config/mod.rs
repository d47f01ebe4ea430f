//! What a `#cloud-config` may say: each known key read into [`Wanted`], every other one a mistake or a notice.
use crate::mistake::{Mark, Mistake};
use rtcd_config::source::Value;
use std::collections::BTreeMap;

/// A value with its place in the user data.
#[derive(Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub mark: Mark,
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
    /// What it is.
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
    /// What is wanted.
    pub wanted: Wanted,
    /// What is wrong; when there is any, nothing is used.
    pub mistakes: Vec<Mistake>,
    /// What is known, harmless and ignored.
    pub notices: Vec<Mistake>,
}
