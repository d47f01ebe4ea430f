//! Last stage: merged values become a [`Config`], or a list of everything that is wrong with them.
use super::error::{Problem, Warning};
use super::keys::{self, Key};
use super::parse::{self, MEDIA_PORTS, MEDIA_PORTS_TEXT};
use super::source::{Merged, Origin};
use super::tls::ReadFile;
use super::types::{
    Api, Config, ConsoleLog, FileLog, HostOverride, ListenAddress, LogLevel, Logger, PortOverride, Rtc, Secret, Store,
    TurnStaticAuth,
};
use super::{servers, tls};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// A TURN credential lives less than a week, as the reference has it: 7 * 24 * 60 minutes.
const TURN_MINUTES: RangeInclusive<i64> = 1..=10079;
const MINUTE: u64 = 60;

/// Characters of an admin's key that need no warning.
const GOOD_ADMIN_KEY: usize = 16;

/// Collects what is wrong while values are taken.
pub struct Validator<'a> {
    merged: &'a Merged,
    read: ReadFile<'a>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Everything that is odd.
    pub warnings: Vec<Warning>,
}

impl<'a> Validator<'a> {
    /// A validator of these values; the files that they name are read by `read`.
    pub fn new(merged: &'a Merged, read: ReadFile<'a>) -> Self {
        Self { merged, read, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The configuration; to be used only when there are no problems.
    pub fn config(&mut self) -> Config {
        Config { api: self.api(), rtc: self.rtc(), store: self.store(), logger: self.logger() }
    }

    fn fail(&mut self, key: &Key, what: impl Into<String>, allowed: impl Into<String>) {
        let origin = self.merged.origin(key);
        self.fail_at(origin, key, what, allowed);
    }

    fn fail_at(&mut self, origin: Origin, key: &Key, what: impl Into<String>, allowed: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.path.into(), what: what.into(), allowed: allowed.into() });
    }

    /// `key` is empty although `switch` is on: told where the emptiness was written, or else where it was switched on.
    fn needed(&mut self, key: &Key, switch: &Key) {
        let origin = if self.merged.is_default(key) { self.merged.origin(switch) } else { self.merged.origin(key) };
        self.fail_at(origin, key, "is empty", format!("any text, because {} is true", switch.path));
    }

    fn api(&mut self) -> Api {
        let text = self.merged.text(&keys::LISTEN_ADDRESS);
        let listen = parse::listen_address(&text).unwrap_or_else(|| {
            let what = if text.is_empty() { "is empty".into() } else { format!("{text:?} is no address") };
            self.fail(&keys::LISTEN_ADDRESS, what, "host:port or :port");
            ListenAddress::Any(0)
        });
        let admin = self.merged.bool(&keys::ENABLE_ADMIN);
        let key = self.merged.text(&keys::ADMIN_SECRET_KEY);
        if admin && key.is_empty() {
            self.needed(&keys::ADMIN_SECRET_KEY, &keys::ENABLE_ADMIN);
        } else if admin && key.chars().count() < GOOD_ADMIN_KEY {
            let (origin, key) = (self.merged.origin(&keys::ADMIN_SECRET_KEY), keys::ADMIN_SECRET_KEY.path.to_owned());
            let what =
                format!("has fewer than {GOOD_ADMIN_KEY} characters: whoever guesses it may add and remove clients");
            self.warnings.push(Warning { origin, key, what });
        }
        Api {
            listen,
            tls: self.tls(),
            allow_self_registration: self.merged.bool(&keys::ALLOW_SELF_REGISTRATION),
            admin_secret_key: admin.then(|| Secret::new(key)),
            // A thousand years: far from what overflows when it is added to now.
            session_expiration: self.minutes(&keys::SESSION_EXPIRATION, 1..=525_600_000, "at least 1"),
        }
    }

    fn tls(&mut self) -> Option<super::Tls> {
        if !self.merged.bool(&keys::TLS_ENABLE) {
            return None;
        }
        let cert_file = PathBuf::from(self.merged.text(&keys::TLS_CERT_FILE));
        let cert_key = PathBuf::from(self.merged.text(&keys::TLS_CERT_KEY));
        let mut complete = true;
        for (path, key) in [(&cert_file, &keys::TLS_CERT_FILE), (&cert_key, &keys::TLS_CERT_KEY)] {
            if path.as_os_str().is_empty() {
                self.needed(key, &keys::TLS_ENABLE);
                complete = false;
            }
        }
        if !complete {
            return None;
        }
        match tls::load(&cert_file, &cert_key, self.read) {
            Ok((server, certificate)) => Some(super::Tls { cert_file, cert_key, server, certificate }),
            Err(errors) => {
                for error in errors {
                    let key = if error.in_key() { &keys::TLS_CERT_KEY } else { &keys::TLS_CERT_FILE };
                    self.problems.push(error.problem(&self.merged.origin(key)));
                }
                None
            }
        }
    }

    fn rtc(&mut self) -> Rtc {
        Rtc {
            ice_address_udp: self.addresses(&keys::ICE_ADDRESS_UDP),
            ice_address_tcp: self.addresses(&keys::ICE_ADDRESS_TCP),
            ice_port_udp: self.port(&keys::ICE_PORT_UDP),
            ice_port_tcp: self.port(&keys::ICE_PORT_TCP),
            ice_host_override: self.host_override(),
            ice_host_port_override: self.port_override(),
            turn: self.turn(),
            ice_servers: self.servers(),
            enable_ipv6: self.merged.bool(&keys::ENABLE_IPV6),
            udp_sockets_count: self.sockets_count(),
            nack_buffer_size: self.nack_buffer_size(),
            max_sessions_per_client: self.max_sessions_per_client(),
        }
    }

    fn addresses(&mut self, key: &Key) -> Vec<IpAddr> {
        let text = self.merged.text(key);
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            match part.parse() {
                Ok(ip) if all.contains(&ip) => self.fail(key, format!("{ip} is there twice"), "each address once"),
                Ok(ip) => all.push(ip),
                Err(_) => self.fail(key, format!("{part:?} is no IP address"), "IP addresses with commas between"),
            }
        }
        all
    }

    fn port(&mut self, key: &Key) -> u16 {
        let number = self.merged.integer(key);
        let port = u16::try_from(number).ok().filter(|port| MEDIA_PORTS.contains(port));
        port.unwrap_or_else(|| {
            self.fail(key, format!("{number} is out of range"), MEDIA_PORTS_TEXT);
            0
        })
    }

    fn host_override(&mut self) -> Option<HostOverride> {
        const ALLOWED: &str =
            "an IP address, a host name, or external/internal pairs of IP addresses with commas between";
        let key = &keys::ICE_HOST_OVERRIDE;
        let text = self.merged.text(key);
        match parse::host_override(text.trim()) {
            Ok(found) => found,
            Err(what) => {
                self.fail(key, what, ALLOWED);
                None
            }
        }
    }

    fn port_override(&mut self) -> Option<PortOverride> {
        const ALLOWED: &str =
            "a port from 80 to 49151, or localIP/port entries with commas between, each address and port once";
        let key = &keys::ICE_HOST_PORT_OVERRIDE;
        let text = self.merged.text(key);
        match parse::port_override(text.trim()) {
            Ok(found) => found,
            Err(what) => {
                self.fail(key, what, ALLOWED);
                None
            }
        }
    }

    fn servers(&mut self) -> Vec<super::IceServer> {
        let mut servers = Vec::new();
        let no_shared_secret = self.merged.text(&keys::TURN_SECRET).is_empty();
        for (index, raw) in self.merged.servers(&keys::ICE_SERVERS).iter().enumerate() {
            let (origin, key) =
                (self.merged.origin(&keys::ICE_SERVERS), format!("{}[{index}]", keys::ICE_SERVERS.path));
            match servers::validate(raw) {
                Ok(server) => {
                    let turn = server.urls.iter().any(|url| url.turn);
                    if turn && server.credential.is_none() && no_shared_secret {
                        let what = "a TURN server without credential, while rtc.turn.static_auth_secret is empty";
                        self.warnings.push(Warning { origin, key, what: what.into() });
                    }
                    servers.push(server);
                }
                Err(wrong) => self.problems.extend(wrong.into_iter().map(|what| Problem {
                    origin: origin.clone(),
                    key: key.clone(),
                    what,
                    allowed: "stun:host:port, stuns:, turn: or turns: URLs".into(),
                })),
            }
        }
        servers
    }

    fn turn(&mut self) -> Option<TurnStaticAuth> {
        let secret = self.merged.text(&keys::TURN_SECRET);
        if secret.is_empty() {
            return None;
        }
        let expiration = self.minutes(&keys::TURN_EXPIRATION, TURN_MINUTES, "1 to 10079");
        Some(TurnStaticAuth { secret: Secret::new(secret), expiration })
    }

    fn minutes(&mut self, key: &Key, range: RangeInclusive<i64>, allowed: &str) -> Duration {
        let minutes = self.merged.integer(key);
        if !range.contains(&minutes) {
            self.fail(key, format!("{minutes} is out of range"), allowed);
        }
        Duration::from_secs(u64::try_from(minutes).unwrap_or(0).saturating_mul(MINUTE))
    }

    fn sockets_count(&mut self) -> Option<NonZeroUsize> {
        let key = &keys::UDP_SOCKETS_COUNT;
        if self.merged.is_default(key) {
            return None;
        }
        let number = self.merged.integer(key);
        let count = usize::try_from(number).ok().and_then(NonZeroUsize::new);
        if count.is_none() {
            self.fail(key, format!("{number} is out of range"), "at least 1");
        }
        count
    }

    fn nack_buffer_size(&mut self) -> usize {
        let key = &keys::NACK_BUFFER_SIZE;
        let number = self.merged.integer(key);
        match usize::try_from(number) {
            Ok(size) if size == 0 || ((32..=8192).contains(&size) && size.is_power_of_two()) => size,
            _ => {
                self.fail(key, format!("{number} is out of range"), "0, or a power of two from 32 to 8192");
                0
            }
        }
    }

    fn max_sessions_per_client(&mut self) -> usize {
        let key = &keys::MAX_SESSIONS_PER_CLIENT;
        let number = self.merged.integer(key);
        let count = usize::try_from(number).ok().filter(|count| (1..=1_000_000).contains(count));
        count.unwrap_or_else(|| {
            self.fail(key, format!("{number} is out of range"), "1 to 1000000");
            1
        })
    }

    fn store(&mut self) -> Store {
        let key = &keys::DATA_SOURCE;
        let data_source = PathBuf::from(self.merged.text(key));
        if data_source.as_os_str().is_empty() {
            self.fail(key, "is empty", "a directory");
        } else if data_source.exists() && !data_source.is_dir() {
            self.fail(key, format!("{} is no directory", data_source.display()), "a directory");
        }
        Store { data_source }
    }

    fn logger(&mut self) -> Logger {
        let console = self.merged.bool(&keys::ENABLE_CONSOLE).then(|| ConsoleLog {
            json: self.merged.bool(&keys::CONSOLE_JSON),
            level: self.level(&keys::CONSOLE_LEVEL),
            color: self.merged.bool(&keys::ENABLE_COLOR),
        });
        let file = self.merged.bool(&keys::ENABLE_FILE).then(|| FileLog {
            json: self.merged.bool(&keys::FILE_JSON),
            level: self.level(&keys::FILE_LEVEL),
            location: PathBuf::from(self.merged.text(&keys::FILE_LOCATION)),
        });
        if file.as_ref().is_some_and(|file| file.location.as_os_str().is_empty()) {
            self.needed(&keys::FILE_LOCATION, &keys::ENABLE_FILE);
        }
        if console.is_none() && file.is_none() {
            let allowed = "at least one of logger.enable_console and logger.enable_file is true";
            self.fail(&keys::ENABLE_CONSOLE, "nothing is logged anywhere", allowed);
        }
        Logger { console, file }
    }

    fn level(&mut self, key: &Key) -> LogLevel {
        let text = self.merged.text(key);
        match text.to_ascii_uppercase().as_str() {
            "PANIC" | "FATAL" | "ERROR" => LogLevel::Error,
            "WARN" => LogLevel::Warn,
            "INFO" => LogLevel::Info,
            "DEBUG" => LogLevel::Debug,
            "TRACE" => LogLevel::Trace,
            _ => {
                self.fail(key, format!("{text:?} is no level"), "PANIC, FATAL, ERROR, WARN, INFO, DEBUG, TRACE");
                LogLevel::Info
            }
        }
    }
}
