//! `provision syslog`: the journal of this machine to a log server, as RFC 5424 over TCP or TLS (RFC 5425, RFC 6587).
//!
//! The way of a line: [`journal`] -> [`entry`] -> [`connection`] -> [`progress`]. The journal is the only buffer: while the
//! server is away nothing is read, and when it is back, reading goes on behind the last line that has arrived.
mod connection;
mod entry;
mod journal;
mod progress;

use crate::cloud_config::Syslog;
use crate::exit_code::ExitCode;
use crate::http::Pace;
use connection::{Connection, Tls};
use entry::Entry;
use journal::Journal;
use progress::{Place, Progress};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// The unit's credential, which `provision run` has written.
pub const CREDENTIAL: &str = "syslog.json";
/// How often the server is looked at, and how long a stop may wait.
const TICK: Duration = Duration::from_millis(250);
/// 1, 2, 4, .. s and at last a minute between two attempts.
const BETWEEN: Pace = Pace {
    request: Duration::ZERO,
    total: Duration::ZERO,
    first_delay: Duration::from_secs(1),
    longest_delay: Duration::from_secs(60),
};

/// Why lines do not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// Something that systemd gives the unit.
    #[error("{0} is not set: this is started by rtcd-syslog.service")]
    Unit(&'static str),
    /// The agent's own file of this boot.
    #[error("the credential {CREDENTIAL} cannot be read")]
    Wish(#[source] io::Error),
    /// journalctl did not start.
    #[error("journalctl cannot be run")]
    Journal(#[source] io::Error),
    /// It ends for no reason that it should have.
    #[error("journalctl has ended")]
    JournalEnded,
    /// The place in the journal cannot be read or kept.
    #[error("the place in the journal cannot be kept")]
    Place(#[source] io::Error),
    /// Something of the user data that was checked before.
    #[error("{0} cannot be used")]
    Certificates(String),
    /// Our own side of TLS.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// DNS.
    #[error("the name cannot be looked up")]
    Name(#[source] io::Error),
    /// Nobody there, or a firewall.
    #[error("it cannot be reached")]
    Connect(#[source] io::Error),
    /// A certificate that is not trusted or for another name, a server without TLS.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The connection broke.
    #[error("the connection was lost")]
    Lost(#[source] io::Error),
    /// The server ended it.
    #[error("the server has closed the connection")]
    Closed,
}

/// What the unit starts; ends when it is told to.
pub fn run() -> ExitCode {
    let asked_to_end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(error) = signal_hook::flag::register(signal, asked_to_end.clone()) {
            tracing::error!(%error, "no logs are sent: the agent cannot listen for signals");
            return ExitCode::System;
        }
    }
    match Sender::prepare() {
        Ok(sender) => {
            sender.run(&asked_to_end);
            ExitCode::Success
        }
        Err(error) => {
            tracing::error!("no logs are sent: {}", crate::chain::chain(&error));
            ExitCode::System
        }
    }
}

struct Sender {
    wish: Syslog,
    tls: Option<Tls>,
    place: Place,
}

impl Sender {
    fn prepare() -> Result<Self, SyslogError> {
        let directory = |name| std::env::var_os(name).map(PathBuf::from).ok_or(SyslogError::Unit(name));
        let wish = directory("CREDENTIALS_DIRECTORY")?.join(CREDENTIAL);
        let wish: Syslog = fs::read(wish)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from))
            .map_err(SyslogError::Wish)?;
        let place = Place::in_directory(Path::new(&directory("STATE_DIRECTORY")?));
        Ok(Self { tls: Tls::of(&wish.sink)?, wish, place })
    }

    /// Connects and sends until told to end. What goes wrong is said once, not at each attempt.
    fn run(&self, asked_to_end: &AtomicBool) {
        let server = self.wish.sink.target.authority();
        let (mut delays, mut said) = (BETWEEN.delays(), None);
        while !asked_to_end.load(Ordering::Relaxed) {
            let mut connected = false;
            let ended = self.session(asked_to_end, || {
                tracing::info!(server, "the log server is connected");
                connected = true;
            });
            if connected {
                (delays, said) = (BETWEEN.delays(), None);
            }
            if let Err(error) = ended {
                let why = crate::chain::chain(&error);
                if said.as_ref() != Some(&why) {
                    tracing::warn!(server, "no logs arrive at {server}: {why}");
                    said = Some(why);
                }
                let again = Instant::now() + delays.next();
                while Instant::now() < again && !asked_to_end.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                }
            }
        }
    }

    /// One connection, from the last line that has arrived.
    fn session(&self, asked_to_end: &AtomicBool, connected: impl FnOnce()) -> Result<(), SyslogError> {
        let place = self.place.load().map_err(SyslogError::Place)?;
        let mut connection = Connection::open(&self.wish.sink, self.tls.as_ref())?;
        connected();
        let journal = Journal::follow(place.as_deref())?;
        let mut progress = Progress::default();
        let mut looked = Instant::now();
        while !asked_to_end.load(Ordering::Relaxed) {
            let entry = match journal.next(TICK) {
                // Whoever stops us may stop it, too.
                Err(SyslogError::JournalEnded) if asked_to_end.load(Ordering::Relaxed) => break,
                next => next?,
            };
            // Before a line is sent after a pause, and now and then: a write to a server that has gone succeeds once.
            if entry.is_none() || looked.elapsed() >= TICK {
                connection.check()?;
                looked = Instant::now();
                if let Some(cursor) = progress.arrived(looked) {
                    self.place.save(&cursor).map_err(SyslogError::Place)?;
                }
            }
            if let Some(line) = entry {
                self.send(&line, &mut connection, &mut progress)?;
            }
        }
        drop(journal);
        if connection.close()
            && let Some(cursor) = progress.all()
        {
            self.place.save(&cursor).map_err(SyslogError::Place)?;
        }
        Ok(())
    }

    fn send(&self, line: &[u8], connection: &mut Connection, progress: &mut Progress) -> Result<(), SyslogError> {
        let entry = match Entry::read(line) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::debug!(%error, "journalctl wrote what is no entry");
                return Ok(());
            }
        };
        if let Some(message) = entry.message(self.wish.framing) {
            connection.send(&message)?;
        }
        if let Some(cursor) = entry.cursor() {
            progress.sent(cursor);
        }
        Ok(())
    }
}
