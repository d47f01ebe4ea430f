//! `provision logs-watch`: says on the status page when logs do not arrive where the user data send them.
//!
//! Both senders keep the place in the journal up to which everything has arrived. A place that stays where it is while there
//! are lines behind it is a log server that does not take them, whatever the reason.
use crate::cloud_config::Syslog;
use crate::exit_code::ExitCode;
use crate::{notice, plan};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(30);
/// A server that is restarted, and a network that is away for a moment, are not worth a notice. The sender of syslog takes half
/// a minute to be sure of a line.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the notice is about.
const TOPIC: &str = "logs";

/// One of the two ways.
struct Way {
    unit: &'static str,
    /// Where it keeps its place.
    place: &'static str,
    /// Where it sends to, as a URL; `None` when it does not.
    server: fn() -> Option<String>,
}

const WAYS: [Way; 2] = [
    Way { unit: "rtcd-syslog.service", place: "/var/lib/rtcd-syslog/cursor", server: syslog_server },
    Way {
        unit: "systemd-journal-upload.service",
        place: "/var/lib/systemd/journal-upload/state",
        server: upload_server,
    },
];

fn syslog_server() -> Option<String> {
    let text = fs::read(plan::run_path(plan::SYSLOG)).ok()?;
    let target = serde_json::from_slice::<Syslog>(&text).ok()?.sink.target;
    Some(format!("{}://{}", if target.tls { "tls" } else { "tcp" }, target.authority()))
}

fn upload_server() -> Option<String> {
    let text = fs::read_to_string(plan::run_path(plan::UPLOAD)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("URL=")).map(str::to_owned)
}

/// What the unit starts; ends with it.
pub fn run() -> ExitCode {
    let mut stalls = WAYS.map(|_| Stall::default());
    let mut said = None;
    loop {
        let late: Vec<String> = WAYS.iter().zip(&mut stalls).filter_map(|(way, stall)| late(way, stall)).collect();
        let text = (!late.is_empty()).then(|| late.join("\n"));
        // Each time: a new configuration takes the notices along.
        if text.is_some() || said.is_some() {
            notice::say(TOPIC, text.as_deref());
        }
        match (&said, &text) {
            (None, Some(text)) => tracing::warn!("{text}"),
            (Some(_), None) => tracing::info!("logs arrive again"),
            _ => {}
        }
        said = text;
        thread::sleep(EVERY);
    }
}

/// What there is to say of one way.
fn late(way: &Way, stall: &mut Stall) -> Option<String> {
    let server = (way.server)()?;
    let place = fs::read_to_string(way.place).ok().as_deref().and_then(cursor);
    let waits = match lines_wait(place.as_deref()) {
        Ok(waits) => waits,
        Err(error) => {
            tracing::warn!(%error, "journalctl cannot be asked");
            return None;
        }
    };
    let stalled = stall.seen(place, waits, Instant::now())?;
    let why = last_words(way.unit).map(|why| format!(": {why}")).unwrap_or_default();
    Some(format!("no lines arrive at {server} since {} min{why}", stalled.as_secs() / 60))
}

/// How long a place has not moved though it could.
#[derive(Default)]
struct Stall {
    place: Option<String>,
    since: Option<Instant>,
}

impl Stall {
    fn seen(&mut self, place: Option<String>, waits: bool, now: Instant) -> Option<Duration> {
        if !waits || place != self.place {
            self.since = None;
        }
        self.place = place;
        let since = waits.then(|| *self.since.get_or_insert(now))?;
        Some(now.saturating_duration_since(since)).filter(|time| *time >= PATIENCE)
    }
}

/// The place, as either sender writes it down.
fn cursor(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.starts_with('#') && !line.is_empty())?;
    Some(line.strip_prefix("LAST_CURSOR=").unwrap_or(line).to_owned())
}

/// Whether there is a line behind the place.
fn lines_wait(place: Option<&str>) -> io::Result<bool> {
    let from = place.map_or_else(|| "--boot".to_owned(), |cursor| format!("--after-cursor={cursor}"));
    Ok(!journalctl(&["--lines=1", "--output=cat", &from])?.trim().is_empty())
}

/// The last thing that a unit has complained of in this boot.
fn last_words(unit: &str) -> Option<String> {
    let unit = format!("--unit={unit}");
    let text = journalctl(&["--boot", "--lines=1", "--priority=warning", "--output=cat", &unit]).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.chars().filter(|c| !c.is_control()).take(300).collect())
}

fn journalctl(arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new("journalctl");
    let output = command.args(["--quiet", "--no-pager"]).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_stays_while_lines_wait_is_late_and_one_that_moves_or_has_nothing_to_do_is_not() {
        let (mut stall, start) = (Stall::default(), Instant::now());
        let mut seen = |place: &str, waits, seconds| {
            let at = start + Duration::from_secs(seconds);
            stall.seen(Some(place.to_owned()), waits, at).map(|time| time.as_secs())
        };
        assert_eq!(seen("a", true, 0), None);
        assert_eq!(seen("a", true, 110), None);
        assert_eq!(seen("a", true, 200), Some(200));
        assert_eq!(seen("b", true, 230), None, "it moves");
        assert_eq!(seen("b", true, 370), Some(140));
        assert_eq!(seen("b", false, 430), None, "all has arrived");
        assert_eq!(seen("b", true, 9000), None, "a quiet night");
        assert_eq!(seen("b", true, 9200), Some(200));
    }

    #[test]
    fn both_ways_of_writing_a_place_down_are_read() {
        assert_eq!(cursor("s=1;i=2\n").as_deref(), Some("s=1;i=2"));
        let state = "# This is private data. Do not parse.\nLAST_CURSOR=s=1;i=2\n";
        assert_eq!(cursor(state).as_deref(), Some("s=1;i=2"));
        assert_eq!(cursor("# only this\n"), None);
    }
}
