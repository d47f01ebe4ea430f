//! What the process takes and what for: a value for `/debug/memory`, as JSON or as text.
use rtcd_media::footprint::{Held, Per, Tally};
use serde::Serialize;
use std::fmt;

/// The kind that there is one of for each session.
const SESSIONS: &str = "signalling sessions";

/// What the process takes and what for. The names of the fields are those of the JSON at `/debug/memory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// As the kernel counts it.
    pub process: Process,
    /// Sessions that have joined and not ended.
    pub sessions: usize,
    /// Octets of what is there for sessions alone, over their number.
    pub bytes_per_session: usize,
    /// Octets of everything that is counted.
    pub counted_bytes: usize,
    /// What is held, the most first.
    pub kinds: Vec<Kind>,
}

/// What the kernel says of this process, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Process {
    /// All of it that is in memory.
    pub resident_bytes: u64,
    /// Of that what is no file's: heap and stacks.
    pub anonymous_bytes: u64,
    /// What is written down for whoever goes on after a crash: the kernel holds it beside the process.
    pub kept_bytes: u64,
}

/// All things of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// Which.
    pub kind: &'static str,
    /// `session`, `track` or `process`: what it is there for.
    pub per: &'static str,
    /// How many there are.
    pub count: usize,
    /// Octets that they hold together.
    pub bytes: usize,
}

impl Memory {
    /// Of what has been counted.
    pub fn new(tally: &Tally, process: Process) -> Self {
        let sessions = tally.all().iter().find(|held| held.kind == SESSIONS).map_or(0, |held| held.count);
        let mut kinds: Vec<Kind> = tally.all().iter().map(Kind::from).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
        Self {
            process,
            sessions,
            bytes_per_session: tally.bytes(Per::Session).checked_div(sessions).unwrap_or_default(),
            counted_bytes: kinds.iter().map(|kind| kind.bytes).sum(),
            kinds,
        }
    }
}

impl From<&Held> for Kind {
    fn from(held: &Held) -> Self {
        let per = match held.per {
            Per::Session => "session",
            Per::Track => "track",
            Per::Process => "process",
        };
        Self { kind: held.kind, per, count: held.count, bytes: held.bytes }
    }
}

impl Process {
    /// At this moment; zeros where /proc cannot be read.
    pub fn now() -> Self {
        let Ok(process) = procfs::process::Process::myself() else { return Self::default() };
        let status = process.status().ok();
        let bytes = |kib: Option<u64>| kib.unwrap_or_default() * 1024;
        Self {
            resident_bytes: bytes(status.as_ref().and_then(|status| status.vmrss)),
            anonymous_bytes: bytes(status.as_ref().and_then(|status| status.rssanon)),
            kept_bytes: kept(&process).unwrap_or_default(),
        }
    }
}

/// What `handover::cells` calls its files in memory.
const MEMORY: &str = "rtcd-memory";

/// Room that files in memory take. One of which there are two handles is counted once.
fn kept(process: &procfs::process::Process) -> procfs::ProcResult<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = std::collections::BTreeMap::new();
    for descriptor in process.fd()?.flatten() {
        if !matches!(&descriptor.target, procfs::process::FDTarget::MemFD(name) if name.starts_with(MEMORY)) {
            continue;
        }
        if let Ok(file) = std::fs::metadata(format!("/proc/self/fd/{}", descriptor.fd)) {
            seen.insert(file.ino(), file.blocks() * 512);
        }
    }
    Ok(seen.into_values().sum())
}

/// A table for a terminal.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let Process { resident_bytes, anonymous_bytes, kept_bytes } = self.process;
        writeln!(f, "{:<26}{:>10}{:>14}{:>14}", "", "", "KiB", "KiB/session")?;
        let line = |f: &mut fmt::Formatter<'_>, what: &str, count: &str, bytes: u64, is_of_session: bool| {
            write!(f, "{what:<26}{count:>10}{:>14.1}", kib(bytes))?;
            match self.sessions {
                sessions if is_of_session && sessions > 0 => writeln!(f, "{:>14.2}", kib(bytes) / sessions as f64),
                _ => writeln!(f),
            }
        };
        line(f, "resident", "", resident_bytes, false)?;
        line(f, "of it anonymous", "", anonymous_bytes, false)?;
        line(f, "beside it, written down", "", kept_bytes, false)?;
        line(f, "counted below", "", self.counted_bytes as u64, false)?;
        let of_sessions = self.bytes_per_session * self.sessions;
        line(f, "of it for sessions", &self.sessions.to_string(), of_sessions as u64, true)?;
        writeln!(f)?;
        for kind in &self.kinds {
            line(f, kind.kind, &kind.count.to_string(), kind.bytes as u64, kind.per == "session")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sessions_hold_is_shared_among_them_and_the_rest_is_not() {
        let mut tally = Tally::default();
        tally.add(Per::Session, SESSIONS, 2, 2048);
        tally.add(Per::Session, "ice", 2, 1024);
        tally.add(Per::Process, "letter boxes", 1, 100_000);
        let memory = Memory::new(&tally, Process::now());
        assert_eq!((memory.sessions, memory.bytes_per_session, memory.counted_bytes), (2, 1536, 103_072));
        let text = memory.to_string();
        let ice = text.lines().find(|line| line.starts_with("ice")).expect("a line");
        assert_eq!(ice.split_whitespace().collect::<Vec<_>>(), ["ice", "2", "1.0", "0.50"]);
        assert_eq!(Memory::new(&Tally::default(), Process::default()).bytes_per_session, 0);
    }
}
