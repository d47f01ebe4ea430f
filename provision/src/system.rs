//! What is told to the running system after the files are in place.
use std::process::{Command, Stdio};
use std::{fmt, io};

/// Each has the condition that the agent has written a file for it.
const LOG_UNITS: [&str; 3] = ["rtcd-syslog.service", "systemd-journal-upload.service", "rtcd-logs-watch.service"];

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Sets the transient host name (RFC 1123 label or labels).
    SetHostname(String),
    /// systemd-timesyncd reads its servers again.
    RestartTimesyncd,
    /// The clock is not set from the network.
    StopTimesyncd,
    /// Logs go where the user data say now, or nowhere: each unit looks whether it is meant.
    RestartLogs,
    /// rtcd reads its configuration again; running calls go on.
    ReloadRtcd,
    /// networkd and udev read their files again.
    ApplyNetwork,
    /// What waited for a configuration starts.
    StartRtcd,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetHostname(name) => write!(f, "the host name is {name}"),
            Self::RestartTimesyncd => f.write_str("systemd-timesyncd reads its servers again"),
            Self::StopTimesyncd => f.write_str("systemd-timesyncd is stopped"),
            Self::RestartLogs => f.write_str("logs are sent to where the user data say"),
            Self::ReloadRtcd => f.write_str("rtcd reads its configuration again"),
            Self::ApplyNetwork => f.write_str("networkd reads its configuration again"),
            Self::StartRtcd => f.write_str("rtcd starts"),
        }
    }
}

impl Action {
    /// Does it on the machine that we run on.
    pub fn perform(&self) -> io::Result<()> {
        match self {
            Self::SetHostname(name) => Ok(nix::unistd::sethostname(name)?),
            Self::RestartTimesyncd => systemctl(&["try-restart", "systemd-timesyncd.service"]),
            Self::StopTimesyncd => systemctl(&["stop", "systemd-timesyncd.service"]),
            Self::RestartLogs => systemctl(&[&["restart"], &LOG_UNITS[..]].concat()),
            Self::ReloadRtcd => match Rtcd::running()? {
                Some(rtcd) => rtcd.signal("SIGHUP"),
                // It reads the new files when it starts.
                None => Ok(()),
            },
            // A unit of its own: it may change the network, and we may not. Nothing has to run before it, so it can be
            // waited for.
            Self::ApplyNetwork => systemctl_output(&["restart", "provision-network.service"]).map(drop),
            // The check pulls rtcd in, and rtcd this boot's provisioning, which finds what was just found.
            Self::StartRtcd => systemctl(&["restart", "rtcd-healthcheck.service"])
                .and_then(|()| systemctl(&["start", "rtcd.service", "rtcd-update.timer"]))
                .and_then(|()| systemctl(&[&["start"], &LOG_UNITS[..]].concat())),
        }
    }
}

/// rtcd as systemd runs it, asked by its unit and its HTTP API.
pub struct Rtcd {
    status: String,
}

impl Rtcd {
    const UNIT: &str = "rtcd.service";
    /// rtcd's status (`rtcd::admission::DRAINED`) when no call runs and new ones shall go elsewhere.
    const DRAINED: &str = "drained";

    /// `None` when it does not run.
    pub fn running() -> io::Result<Option<Self>> {
        let shown = systemctl_output(&["show", "--property=ActiveState,StatusText", Self::UNIT])?;
        let property = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        // While it reloads or stops, calls run as well.
        let runs = matches!(property("ActiveState"), Some("active" | "reloading" | "deactivating"));
        Ok(runs.then(|| Self { status: property("StatusText").unwrap_or_default().to_owned() }))
    }

    /// Whether no call ran when it was looked at. One may begin at any time where there is no other host; to end rtcd is
    /// to wait for that one, too.
    pub fn is_drained(&self) -> bool {
        self.status == Self::DRAINED
    }

    /// Whether new calls go elsewhere.
    pub fn sends_new_calls_elsewhere(&self) -> bool {
        self.is_drained() || self.status.starts_with("draining")
    }

    /// New calls go elsewhere; running ones do not notice.
    pub fn send_new_calls_elsewhere(&self) -> io::Result<()> {
        self.signal("SIGUSR1")
    }

    /// It is a server like any other again.
    pub fn take_new_calls(&self) -> io::Result<()> {
        self.signal("SIGUSR2")
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        systemctl(&["kill", "--kill-whom=main", &format!("--signal={name}"), Self::UNIT])
    }
}

/// `--no-block`: we run before units that the manager may be waiting to start.
pub fn systemctl(arguments: &[&str]) -> io::Result<()> {
    systemctl_output(&[&["--no-block"], arguments].concat()).map(drop)
}

fn systemctl_output(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("systemctl {}: {}", arguments.join(" "), said.trim())))
}
