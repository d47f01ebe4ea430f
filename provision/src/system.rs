//! What is told to the running system after the files are in place.
use std::process::{Command, Stdio};
use std::{fmt, io};

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Names the machine.
    SetHostname(String),
    /// systemd-timesyncd reads its servers again.
    RestartTimesyncd,
    /// The clock is not set from the network.
    StopTimesyncd,
    /// rtcd reads its configuration again; running calls go on.
    ReloadRtcd,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetHostname(name) => write!(f, "the host name is {name}"),
            Self::RestartTimesyncd => f.write_str("systemd-timesyncd reads its servers again"),
            Self::StopTimesyncd => f.write_str("systemd-timesyncd is stopped"),
            Self::ReloadRtcd => f.write_str("rtcd reads its configuration again"),
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
            Self::ReloadRtcd => match systemctl(&["is-active", "--quiet", "rtcd.service"]) {
                Ok(()) => systemctl(&["kill", "--kill-whom=main", "--signal=SIGHUP", "rtcd.service"]),
                // It reads the new files when it starts.
                Err(_) => Ok(()),
            },
        }
    }
}

/// `--no-block`: we run before units that the manager may be waiting to start.
fn systemctl(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("systemctl").arg("--no-block").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("systemctl {}: {}", arguments.join(" "), said.trim())))
}
