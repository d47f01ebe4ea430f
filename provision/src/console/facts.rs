//! What the panel knows: plain data. [`super::look`] finds it.
use super::daemon::Daemon;
use super::units::Unit;
use crate::status::Status;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Everything that is shown comes from here.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// `IMAGE_VERSION` of os-release.
    pub version: String,
    /// The machine's name.
    pub host: String,
    /// Since power on.
    pub uptime: Duration,
    /// How the last attempt at provisioning went.
    pub provisioned: Option<Status>,
    /// What systemd says; empty when it does not answer.
    pub units: HashMap<String, Unit>,
    /// What rtcd says of itself, or why it does not.
    pub daemon: Option<Daemon>,
    /// Where its API is, by its configuration.
    pub api: Option<Endpoint>,
    /// Addresses of the machine that others may reach; `None`: not known.
    pub addresses: Option<Vec<IpAddr>>,
    /// Whether and when it updates itself.
    pub updates: Option<String>,
    /// What other parts of the machine have left: topic and text.
    pub left: Vec<(String, String)>,
    /// Lines of the journal.
    pub journal: Journal,
}

/// Where Mattermost finds the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// `https` in place of `http`.
    pub tls: bool,
    /// The host that the configuration names; `None`: every address of the machine.
    pub host: Option<String>,
    /// TCP.
    pub port: u16,
    /// Whoever asks may register.
    pub is_open: bool,
}

/// What the journal has.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Journal {
    /// Last errors of rtcd, while it fails.
    pub rtcd: Vec<String>,
    /// The last errors of provisioning, when it has left no report.
    pub provision: Vec<String>,
    /// What fails in the last health check, and what it warns of.
    pub check: Vec<String>,
    /// The last error of all of these since the start, with its time.
    pub last: Option<String>,
}

impl Facts {
    /// What systemd says of a unit; of one that it does not know: nothing is so.
    pub fn unit(&self, name: &str) -> Unit {
        self.units.get(name).cloned().unwrap_or_default()
    }
}

/// As it stands in a URL.
pub fn written(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
