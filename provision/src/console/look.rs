//! Looks facts up. What costs a program (the journal) is looked up now and then.
use super::daemon::{self, Daemon};
use super::facts::{Endpoint, Facts, Journal, written};
use super::units::{self, Unit};
use super::{bounded, text};
use crate::apply::Paths;
use crate::apply::disk::RealDisk;
use crate::cloud_config::Update;
use crate::notice;
use crate::status::Status;
use nix::ifaddrs::getifaddrs;
use rtcd_config::{Config, Environment, ListenAddress};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An answer of systemd, rtcd or the journal.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The journal is asked again after this time, or when a unit has changed.
const JOURNAL_AGAIN: Duration = Duration::from_secs(60);
/// A busy rtcd may miss one question.
const ANSWER_HOLDS: Duration = Duration::from_secs(20);
/// Files of notices that are read, and bytes of each.
const MAX_NOTICES: usize = 16;
const MAX_BYTES: u64 = 2048;
/// Why /var had to be made anew; another part of the machine writes it.
const REASON: &str = "run/rtcd-var/var";
const REASON_LINES: usize = 3;

/// Looks again and again.
pub struct Look {
    root: PathBuf,
    /// The configuration's text with what came of it.
    config: Option<(String, Option<(Endpoint, PathBuf)>)>,
    answer: Option<(Instant, Daemon)>,
    journal: Option<(Instant, Vec<String>, Journal)>,
}

impl Look {
    /// Below a root.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), config: None, answer: None, journal: None }
    }

    fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The directory of rtcd's store, as far as it is configured.
    pub fn store(&mut self) -> Option<PathBuf> {
        self.configured().map(|(_, store)| store)
    }

    /// Everything as it is now.
    pub fn look(&mut self) -> Facts {
        let (api, store) = self.configured().unzip();
        // Below another root there is no systemd.
        let units = if self.is_real() { units::look(PATIENCE).unwrap_or_default() } else { HashMap::new() };
        let daemon = store.and_then(|store| self.ask(&store));
        let release = read(&self.root.join("etc/os-release"));
        let version = release.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="));
        let seconds = read(&self.root.join("proc/uptime"));
        let seconds = seconds.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(u64::MAX);
        let mut facts = Facts {
            version: version.unwrap_or(env!("RTCD_BUILD_VERSION")).trim_matches('"').to_owned(),
            host: read(&self.root.join("proc/sys/kernel/hostname")).trim().to_owned(),
            uptime: Duration::from_secs(seconds),
            provisioned: Status::load(&RealDisk, &Paths::below(&self.root).status()),
            units,
            daemon,
            api,
            addresses: self.is_real().then(addresses).flatten(),
            updates: self.updates(),
            left: self.left(),
            journal: Journal::default(),
        };
        facts.journal = self.journal(&facts);
        facts
    }

    fn configured(&mut self) -> Option<(Endpoint, PathBuf)> {
        let text = fs::read_to_string(Paths::below(&self.root).current().join("rtcd.toml")).ok()?;
        if self.config.as_ref().is_none_or(|(before, _)| *before != text) {
            let loaded = rtcd_config::from_text(Path::new("rtcd.toml"), &text, &Environment::default());
            let known = loaded.ok().map(|loaded| (endpoint(&loaded.config), loaded.config.store.data_source));
            self.config = Some((text, known));
        }
        self.config.as_ref().and_then(|(_, known)| known.clone())
    }

    fn ask(&mut self, store: &Path) -> Option<Daemon> {
        match daemon::status(store, PATIENCE) {
            Ok(daemon) => self.answer = Some((Instant::now(), daemon)),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            Err(_) => self.answer = None,
        }
        self.answer.as_ref().filter(|(at, _)| at.elapsed() < ANSWER_HOLDS).map(|(_, daemon)| daemon.clone())
    }

    fn updates(&self) -> Option<String> {
        let wish = fs::read(Paths::below(&self.root).current().join(crate::plan::UPDATE)).ok()?;
        let Update { window, .. } = serde_json::from_slice(&wish).ok()?;
        Some(window.to_string())
    }

    fn left(&self) -> Vec<(String, String)> {
        let directory = self.root.join(notice::DIRECTORY.trim_start_matches('/'));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        let mut all: Vec<_> =
            names.into_iter().take(MAX_NOTICES).map(|name| (name.clone(), read(&directory.join(name)))).collect();
        let reason = read(&self.root.join(REASON));
        let reason: Vec<_> = reason.lines().filter(|line| !line.trim().is_empty()).take(REASON_LINES).collect();
        all.push(("var".into(), reason.join("\n")));
        all.retain(|(_, said)| !said.trim().is_empty());
        all
    }

    fn journal(&mut self, facts: &Facts) -> Journal {
        if !self.is_real() {
            return Journal::default();
        }
        // What makes a unit another one than before.
        let of = |unit: &Unit| format!("{} {} {} {}", unit.active, unit.sub, unit.run, unit.restarts);
        let mut now: Vec<_> = facts.units.iter().map(|(name, unit)| format!("{name} {}", of(unit))).collect();
        now.sort();
        if let Some((at, before, journal)) = &self.journal
            && *before == now
            && at.elapsed() < JOURNAL_AGAIN
        {
            return journal.clone();
        }
        let journal = Journal::read(facts);
        self.journal = Some((Instant::now(), now, journal.clone()));
        journal
    }
}

impl Journal {
    fn read(facts: &Facts) -> Self {
        // What its own processes have said; systemd's words add nothing. What stops a program early has no priority.
        let errors = |unit: &str| {
            let of_unit = format!("_SYSTEMD_UNIT={unit}");
            let errors = journal(&["--output=cat", "--lines=4", "--priority=err", &of_unit]);
            if errors.is_empty() { journal(&["--output=cat", "--lines=6", &of_unit]) } else { errors }
        };
        let mut this = Self::default();
        if facts.unit(units::RTCD).fails() {
            this.rtcd = errors(units::RTCD);
        }
        if facts.unit(units::PROVISION).fails() && facts.provisioned.is_none() {
            this.provision = errors(units::PROVISION);
        }
        if facts.unit(units::CHECK).fails() {
            this.check = journal(&["--output=cat", "--lines=40", &format!("--unit={}", units::CHECK)]);
            this.check.retain(|line| line.starts_with("FAIL") || line.starts_with("warn"));
        }
        let of_ours = [units::RTCD, units::CHECK, units::UPDATE, units::PROVISION, units::RETRY];
        let of_ours = of_ours.map(|unit| format!("_SYSTEMD_UNIT={unit}"));
        let mut last = vec!["--priority=err", "--lines=1", "--output=short-iso", "--no-hostname"];
        last.extend(of_ours.iter().map(String::as_str));
        this.last = journal(&last).pop();
        this
    }
}

/// Lines of this boot's journal.
pub fn journal(arguments: &[&str]) -> Vec<String> {
    let said = bounded::output("journalctl", &[&["--boot", "--quiet", "--no-pager"], arguments].concat(), PATIENCE);
    said.map(|said| text::lines(&said)).unwrap_or_default()
}

fn endpoint(config: &Config) -> Endpoint {
    let (host, port) = match &config.api.listen {
        ListenAddress::Any(port) => (None, *port),
        ListenAddress::Address(address) if address.ip().is_unspecified() => (None, address.port()),
        ListenAddress::Address(address) => (Some(written(address.ip())), address.port()),
        ListenAddress::Name(name, port) => (Some(name.clone()), *port),
    };
    Endpoint { tls: config.api.tls.is_some(), host, port, is_open: config.api.allow_self_registration }
}

/// IPv4 first.
fn addresses() -> Option<Vec<IpAddr>> {
    let all = getifaddrs().ok()?;
    let ips = all.filter_map(|one| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))
    });
    let mut ips: Vec<_> = ips.filter(|ip| is_reached_by_others(*ip)).collect();
    ips.sort_by_key(IpAddr::is_ipv6);
    ips.dedup();
    Some(ips)
}

fn is_reached_by_others(ip: IpAddr) -> bool {
    let is_of_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    !ip.is_loopback() && !ip.is_unspecified() && !is_of_link
}

/// As far as it is text and short; empty when it cannot be read.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let found = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    if found.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
