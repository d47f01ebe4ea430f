//! How far a log server has got. Syslog has no receipts, but its kernel has: a connection whose bytes are not confirmed ends
//! after [`UNCONFIRMED`], so what was sent longer ago over one that still stands has arrived. What is younger is sent once
//! more over the next connection: a line may come twice (it has the same number), and none is lost.
use super::connection::UNCONFIRMED;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, mem};

/// The kernel looks at its clock no more often than this; and a server that is killed may not have read what it confirmed.
const SLACK: Duration = Duration::from_secs(10);
/// How often a place is noted.
const EVERY: Duration = Duration::from_secs(1);

/// What has been sent over one connection.
#[derive(Default)]
pub struct Progress {
    /// When everything up to this cursor had been sent; at most one a second, so there are never many.
    sent: VecDeque<(Instant, String)>,
    newest: Option<String>,
}

impl Progress {
    /// This entry has been sent, and all before it.
    pub fn sent(&mut self, cursor: &str) {
        self.newest = Some(cursor.to_owned());
    }

    /// The last entry that has arrived, when there is news; the connection stands at `now`.
    pub fn arrived(&mut self, now: Instant) -> Option<String> {
        if self.sent.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= EVERY)
            && let Some(cursor) = self.newest.take()
        {
            self.sent.push_back((now, cursor));
        }
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= UNCONFIRMED + SLACK;
        let mut arrived = None;
        while self.sent.front().is_some_and(|(at, _)| is_old(at)) {
            arrived = self.sent.pop_front().map(|(_, cursor)| cursor);
        }
        arrived
    }

    /// The last entry that was sent, when the server has taken all of them.
    pub fn all(mut self) -> Option<String> {
        mem::take(&mut self.newest).or_else(|| self.sent.pop_back().map(|(_, cursor)| cursor))
    }
}

/// The cursor of the last entry that has arrived, over restarts and boots.
pub struct Place(PathBuf);

impl Place {
    /// Below the unit's `StateDirectory=`.
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.join("cursor"))
    }

    /// What was kept; `None` at the first start.
    pub fn load(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps it. After a power cut an older one is there, or none, and lines come twice: no need to wait for the disk.
    pub fn save(&self, cursor: &str) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(cursor.as_bytes())?;
        fs::rename(new, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_a_while_ago_has_arrived_and_what_is_younger_is_not_taken_for_it() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for number in 0..1000 {
            progress.sent(&format!("a{number}"));
        }
        assert_eq!(progress.arrived(at(0)), None);
        progress.sent("b");
        assert_eq!(progress.arrived(at(5)), None);
        progress.sent("c");
        assert_eq!(progress.arrived(at(30)).as_deref(), Some("a999"));
        assert_eq!(progress.arrived(at(31)), None);
        assert_eq!(progress.arrived(at(40)).as_deref(), Some("b"));
        assert_eq!(progress.all().as_deref(), Some("c"));
    }

    #[test]
    fn a_place_is_kept_and_at_first_there_is_none() {
        let directory = std::env::temp_dir().join(format!("provision-place-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("made");
        let place = Place::in_directory(&directory);
        assert_eq!(place.load().expect("read"), None);
        place.save("s=1;i=2").expect("written");
        assert_eq!(place.load().expect("read").as_deref(), Some("s=1;i=2"));
        fs::remove_dir_all(directory).expect("removed");
    }
}
