//! The journal as journalctl follows it. The program is systemd's own reader; nothing of the format is ours.
use super::SyslogError;
use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Entries that wait for the network. What is behind them waits in the journal.
const CAPACITY: usize = 64;
/// Bytes of an entry. journald itself makes none that is a tenth of it.
const LONGEST: u64 = 1024 * 1024;

/// A reader of the journal; ends with it.
pub struct Journal {
    child: Child,
    entries: Receiver<Vec<u8>>,
}

impl Journal {
    /// Starts behind a cursor, or with the first line of this boot.
    pub fn follow(after: Option<&str>) -> Result<Self, SyslogError> {
        let mut command = Command::new("journalctl");
        // All: a long field would be left out.
        command.args(["--follow", "--no-tail", "--all", "--quiet", "--no-pager", "--output=json"]);
        match after {
            Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
            None => command.arg("--boot"),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(SyslogError::Journal)?;
        let (sender, entries) = sync_channel(CAPACITY);
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || read(BufReader::new(output), &sender));
        }
        Ok(Self { child, entries })
    }

    /// The next entry, if there is one in this time.
    pub fn next(&self, patience: Duration) -> Result<Option<Vec<u8>>, SyslogError> {
        match self.entries.recv_timeout(patience) {
            Ok(entry) => Ok(Some(entry)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(SyslogError::JournalEnded),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes whole lines on until either side has gone.
fn read(mut output: BufReader<ChildStdout>, sender: &SyncSender<Vec<u8>>) {
    loop {
        let mut line = Vec::new();
        match output.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(_) => {
                if output.skip_until(b'\n').is_err() {
                    return;
                }
                tracing::warn!(bytes = LONGEST, "an entry of the journal is too long to be sent");
                continue;
            }
        }
        if sender.send(line).is_err() {
            return;
        }
    }
}
