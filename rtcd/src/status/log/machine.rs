//! Lines of the machine: its journal, where this process may read it. On the appliance it may; nobody logs in there.
use super::{Level, Line};
use serde_json::{Map, Value};
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// Lines that are asked for.
const LINES: &str = "--lines=300";
/// What is read of them. One that is cut off is left out.
const MAX_BYTES: u64 = 2 * 1024 * 1024;
/// A journal on a slow disk takes a second or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// Two admins at once.
static READERS: Semaphore = Semaphore::const_new(2);

/// What can be asked for. Nothing of what somebody asks for gets to a command line but one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// Whatever has failed.
    Errors,
    /// User data and cloud.
    Provision,
    /// Looking for, trying and giving up versions.
    Updates,
    /// The daemon, over its restarts.
    Daemon,
    /// Cards, addresses, names.
    Network,
    /// Whether logs get to where they are sent.
    Logs,
    /// The kernel.
    Kernel,
    /// All of it.
    Everything,
}

impl Of {
    /// In the order of the page.
    pub const ALL: [Self; 8] = [
        Self::Errors,
        Self::Provision,
        Self::Updates,
        Self::Daemon,
        Self::Network,
        Self::Logs,
        Self::Kernel,
        Self::Everything,
    ];

    /// In the address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Provision => "provision",
            Self::Updates => "updates",
            Self::Daemon => "daemon",
            Self::Network => "network",
            Self::Logs => "logs",
            Self::Kernel => "kernel",
            Self::Everything => "everything",
        }
    }

    /// For journalctl. What systemd says of a unit is among the lines of that unit.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Errors => &["--priority=err"],
            Self::Provision => &["--unit=provision*.service"],
            Self::Updates => &[
                "--unit=rtcd-update.service",
                "--unit=rtcd-healthcheck.service",
                "--unit=rtcd-rollback.service",
                "--unit=systemd-bless-boot.service",
            ],
            Self::Daemon => &["--unit=rtcd.service"],
            Self::Network => &[
                "--unit=systemd-networkd.service",
                "--unit=systemd-resolved.service",
                "--unit=systemd-timesyncd.service",
                "--unit=provision-network.service",
            ],
            Self::Logs => &[
                "--unit=rtcd-syslog.service",
                "--unit=rtcd-logs-watch.service",
                "--unit=systemd-journal-upload.service",
                "--unit=systemd-journald.service",
            ],
            Self::Kernel => &["--dmesg", "--boot=all"],
            Self::Everything => &[],
        }
    }
}

/// Why there are no lines of the machine.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The program is not there, or may not run.
    #[error("journalctl cannot be run: {0}")]
    Run(#[from] std::io::Error),
    /// It complained.
    #[error("journalctl failed: {0}")]
    Failed(String),
    /// It took too long.
    #[error("journalctl took too long")]
    TookTooLong,
}

/// Whether there is a journal that this process may read.
pub fn can_be_read() -> bool {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let of_machine = |directory: &str| File::open(format!("{directory}/{}/system.journal", id.trim()));
    !id.trim().is_empty() && (of_machine("/var/log/journal").is_ok() || of_machine("/run/log/journal").is_ok())
}

/// The last lines, the oldest first.
pub async fn read(of: Of, warnings_only: bool) -> Result<Vec<Line>, Unreadable> {
    let Ok(_permit) = READERS.acquire().await else { return Err(Unreadable::TookTooLong) };
    tokio::time::timeout(PATIENCE, run(of, warnings_only)).await.unwrap_or(Err(Unreadable::TookTooLong))
}

async fn run(of: Of, warnings_only: bool) -> Result<Vec<Line>, Unreadable> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=json", LINES]).args(of.arguments());
    if warnings_only && of != Of::Errors {
        command.arg("--priority=warning");
    }
    let piped = || (Stdio::piped(), Stdio::piped());
    let (output, errors) = piped();
    let mut child = command.stdin(Stdio::null()).stdout(output).stderr(errors).kill_on_drop(true).spawn()?;
    let (mut lines, mut complaint) = (Vec::new(), Vec::new());
    if let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) {
        // What is beyond the bound stays unread, and the program ends with its pipe.
        let (read, complained) = tokio::join!(async { output.take(MAX_BYTES).read_to_end(&mut lines).await }, async {
            errors.take(4096).read_to_end(&mut complaint).await
        });
        read.and(complained)?;
    }
    if !child.wait().await?.success() && lines.is_empty() {
        return Err(Unreadable::Failed(String::from_utf8_lossy(&complaint).trim().to_owned()));
    }
    Ok(lines.split(|byte| *byte == b'\n').filter_map(line).collect())
}

/// A line of `journalctl --output=json`.
fn line(json: &[u8]) -> Option<Line> {
    let entry: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let text = |name: &str| entry.get(name).and_then(text);
    let microseconds = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
    let time = jiff::Timestamp::from_microsecond(microseconds).ok()?;
    let level = match text("PRIORITY")?.parse::<u8>().ok()? {
        0..=3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    };
    let source = ["UNIT", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER"].into_iter().find_map(text);
    let fields = entry.iter().filter_map(|(name, value)| {
        let short = ["RTCD_", "PROVISION_"].into_iter().find_map(|prefix| name.strip_prefix(prefix))?;
        Some((short.to_ascii_lowercase(), Value::from(self::text(value)?)))
    });
    Some(Line {
        time: time.strftime("%Y-%m-%d %H:%M:%S.%3f Z").to_string(),
        level,
        source: source.map(|source| source.trim_end_matches(".service").to_owned()),
        text: text("MESSAGE")?,
        fields: fields.collect(),
    })
}

/// A field. What is no UTF-8 comes as a list of bytes, and a field that is there twice as a list of both.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(all) if all.first().is_some_and(Value::is_u64) => {
            let bytes: Vec<u8> = all.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Array(all) => all.first().and_then(self::text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_journal_becomes_a_line() {
        let json = br#"{"__REALTIME_TIMESTAMP":"1700000000123456","PRIORITY":"3","MESSAGE":[104,105,255],
                        "_SYSTEMD_UNIT":"init.scope","UNIT":"provision.service","PROVISION_KEY":["rtc.a","rtc.b"],"_PID":"1"}"#;
        let line = line(json).expect("a line");
        assert_eq!((line.time.as_str(), line.level), ("2023-11-14 22:13:20.123 Z", Level::Error));
        assert_eq!((line.source.as_deref(), line.text.as_str()), (Some("provision"), "hi\u{fffd}"));
        assert_eq!(Value::from(line.fields), serde_json::json!({"key": "rtc.a"}));
        for other in [&b""[..], b"{}", b"[1]", br#"{"__REALTIME_TIMESTAMP":"1","PRIORITY":"6","MESSAGE":null}"#] {
            assert_eq!(super::line(other), None);
        }
    }

    #[test]
    fn each_choice_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = Of::ALL.map(Of::as_str).into();
        assert!(names.len() == Of::ALL.len() && !names.contains("rtcd"));
    }
}
