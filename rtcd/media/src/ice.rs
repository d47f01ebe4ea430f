//! The ICE-lite agent of one transport (RFC 8445, section 2.5): it answers checks, learns addresses from them, follows
//! the peer's nomination and notices when the checks stop. It is always controlled and never sends a check.
pub mod candidate;

use crate::demux::Path;
use crate::footprint::{Footprint, flat};
use crate::handover::Age;
use crate::random::alphanumeric;
use crate::stun::{Answer, IntegrityKey, Request};
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// Checks have stopped for this long: the path may be dead. Firefox renews consent every 4 to 6 s, Chromium every 2.5 s.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(8);
/// Checks have stopped for this long: consent has expired (RFC 7675, section 5.1: 30 s), the transport has failed.
pub const FAILED_AFTER: Duration = Duration::from_secs(30);
/// Validated paths kept per transport: a phone with two networks on UDP and TCP has four, and may roam once.
pub const MAX_PATHS: usize = 8;

/// One side's short-term credentials (RFC 8445, section 5.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `a=ice-ufrag` (RFC 8839, section 5.4).
    pub ufrag: String,
    /// Password; never to be logged.
    pub password: String,
}

impl Credentials {
    /// Fresh credentials: 16 characters of ufrag (95 bits: it alone finds the transport) and 24 of password (142 bits).
    pub fn generate() -> Self {
        Self { ufrag: alphanumeric(16), password: alphanumeric(24) }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// What a check led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Not for us, or not authentic: silence, so that nobody learns anything.
    Ignored,
    /// Authentic, but refused: the answer is an error.
    Refused,
    /// Authentic, and the path is known to be the peer's from now on.
    Accepted {
        /// The path was not known before.
        new_path: bool,
    },
}

/// How alive the peer is, by its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// No check has come yet.
    New,
    /// The last check came less than [`DISCONNECTED_AFTER`] ago.
    Connected,
    /// Checks have been missing for [`DISCONNECTED_AFTER`].
    Disconnected,
    /// Checks have been missing for [`FAILED_AFTER`]: close the transport.
    Failed,
}

/// One generation of credentials: an ICE restart makes another.
#[derive(Serialize, Deserialize)]
struct Generation {
    local: Credentials,
    /// `None` until the peer's description is known.
    remote_ufrag: Option<String>,
}

impl Generation {
    /// It takes more than a kilobyte, and no time beside the check that it is for.
    fn key(&self) -> IntegrityKey {
        IntegrityKey::new(&self.local.password)
    }
}

/// ICE-lite state of one transport.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub struct IceLite {
    current: Generation,
    /// Still honoured until the first check of the new generation comes (RFC 8445, section 7.3).
    previous: Option<Generation>,
    paths: Vec<Path>,
    selected: Option<Path>,
    /// Whether the peer has nominated the selected path, or it is only the best guess so far.
    nominated: bool,
    #[serde_as(as = "Option<Age>")]
    last_check: Option<Instant>,
}

impl IceLite {
    /// An agent with the given local credentials, before any check.
    pub fn new(local: Credentials, remote_ufrag: Option<String>) -> Self {
        Self {
            current: Generation { local, remote_ufrag },
            previous: None,
            paths: Vec::new(),
            selected: None,
            nominated: false,
            last_check: None,
        }
    }

    /// The peer has restarted ICE: checks must use the new credentials, media goes on over the old path until they do.
    pub fn restart(&mut self, local: Credentials, remote_ufrag: Option<String>) {
        let old = std::mem::replace(&mut self.current, Generation { local, remote_ufrag });
        self.previous = Some(old);
    }

    /// The ufrags under which checks for this transport arrive.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().map(|g| g.local.ufrag.as_str())
    }

    /// Where to send, once a path is known.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether an authentic check has come over this path.
    pub fn knows(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// All paths that an authentic check has come over.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// A TCP connection has closed: its path leads nowhere.
    pub fn forget(&mut self, path: &Path) {
        self.paths.retain(|known| known != path);
        if self.selected == Some(*path) {
            self.selected = self.paths.last().copied();
            self.nominated = false;
        }
    }

    /// In another process sockets and connections have other numbers: `place` says which, and `None` where nothing leads to
    /// any more.
    pub(crate) fn renumber_paths(&mut self, mut place: impl FnMut(Path) -> Option<Path>) {
        let selected = self.selected.take();
        let old = std::mem::take(&mut self.paths);
        for path in old {
            let new = place(path);
            if Some(path) == selected {
                self.selected = new;
            }
            self.paths.extend(new);
        }
        if self.selected.is_none() {
            self.selected = self.paths.last().copied();
            self.nominated = false;
        }
    }

    /// Handles a check; `answer` gets what is to be sent back over `path`.
    pub fn handle_check(&mut self, now: Instant, path: Path, request: &Request<'_>) -> (Check, Option<Answer>) {
        let Some((local, remote)) = request.ufrags() else { return (Check::Ignored, None) };
        let is_current = self.current.local.ufrag == local;
        let generation = match &self.previous {
            _ if is_current => &self.current,
            Some(previous) if previous.local.ufrag == local => previous,
            _ => return (Check::Ignored, None),
        };
        let stranger = generation.remote_ufrag.as_deref().is_some_and(|expected| expected != remote);
        let key = generation.key();
        if stranger || !request.verify(&key) {
            return (Check::Ignored, None);
        }
        if let Some(unknown) = request.unknown {
            let answer = Answer::unknown_attribute(&request.transaction, unknown, &key);
            return (Check::Refused, Some(answer));
        }
        if request.controlled {
            return (Check::Refused, Some(Answer::role_conflict(&request.transaction, &key)));
        }
        let answer = Answer::success(&request.transaction, path.remote, Some(&key));
        if is_current && self.previous.take().is_some() {
            // The restart has taken hold: the peer nominates anew.
            self.nominated = false;
        }
        (Check::Accepted { new_path: self.accept(now, path, request.use_candidate) }, Some(answer))
    }

    fn accept(&mut self, now: Instant, path: Path, nominated: bool) -> bool {
        self.last_check = Some(now);
        let new = !self.knows(&path);
        if new {
            if self.paths.len() == MAX_PATHS {
                // The oldest that is not in use makes room: a peer cannot make us remember addresses without end.
                let oldest = self.paths.iter().position(|known| Some(*known) != self.selected).unwrap_or(0);
                self.paths.remove(oldest);
            }
            self.paths.push(path);
        }
        // The last nomination wins; before the first one, the latest path that works is used to answer.
        if nominated {
            self.selected = Some(path);
            self.nominated = true;
        } else if !self.nominated {
            self.selected = Some(path);
        }
        new
    }

    /// Nobody has listened for a while: the peer is not to be blamed for its silence.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.last_check = self.last_check.map(|_| now);
    }

    /// When the last authentic check was answered.
    pub fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// How alive the peer is at `now`.
    pub fn liveness(&self, now: Instant) -> Liveness {
        let Some(last) = self.last_check else { return Liveness::New };
        match now.saturating_duration_since(last) {
            silent if silent >= FAILED_AFTER => Liveness::Failed,
            silent if silent >= DISCONNECTED_AFTER => Liveness::Disconnected,
            _ => Liveness::Connected,
        }
    }

    /// When [`liveness`](Self::liveness) may change next.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let last = self.last_check?;
        Some(if now < last + DISCONNECTED_AFTER { last + DISCONNECTED_AFTER } else { last + FAILED_AFTER })
    }
}

impl Footprint for Credentials {
    fn heap_bytes(&self) -> usize {
        self.ufrag.heap_bytes() + self.password.heap_bytes()
    }
}

impl Footprint for Generation {
    fn heap_bytes(&self) -> usize {
        self.local.heap_bytes() + self.remote_ufrag.heap_bytes()
    }
}

impl Footprint for IceLite {
    fn heap_bytes(&self) -> usize {
        self.current.heap_bytes() + self.previous.heap_bytes() + flat(&self.paths)
    }
}

#[cfg(test)]
pub(crate) mod tests;
