//! Where log lines go: the journal when systemd runs us, else standard error, and a file.
mod limit;

pub use limit::suppressed;

use crate::config::{ConsoleLog, FileLog, LogLevel, Logger};
use limit::Limited;
use nix::sys::stat::fstat;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file.
    #[error("logger.file_location: {0} cannot be written")]
    File(PathBuf, #[source] io::Error),
    /// Somebody else logs already.
    #[error("logging was started twice")]
    Twice,
}

/// Starts logging for the whole process; a panic is logged too.
pub fn start(logger: &Logger) -> Result<(), LoggingError> {
    let mut layers = Vec::new();
    layers.extend(logger.console.map(console));
    if let Some(log) = &logger.file {
        layers.push(file(log)?);
    }
    tracing_subscriber::registry().with(layers).try_init().map_err(|_| LoggingError::Twice)?;
    log_panics();
    Ok(())
}

fn console(log: ConsoleLog) -> BoxedLayer {
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return journal
            .with_field_prefix(Some("RTCD".into()))
            .with_syslog_identifier("rtcd".into())
            .with_filter(Limited::new(filter(log.level), 0))
            .boxed();
    }
    let text = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(log.color && !log.json);
    match log.json {
        true => text.json().flatten_event(true).with_filter(Limited::new(filter(log.level), 0)).boxed(),
        false => text.with_filter(Limited::new(filter(log.level), 0)).boxed(),
    }
}

fn file(log: &FileLog) -> Result<BoxedLayer, LoggingError> {
    // Appending, so that logrotate's copytruncate works; not for everybody's eyes.
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&log.location);
    let file = file.map_err(|error| LoggingError::File(log.location.clone(), error))?;
    let text = tracing_subscriber::fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
    Ok(match log.json {
        true => text.json().flatten_event(true).with_filter(Limited::new(filter(log.level), 1)).boxed(),
        false => text.with_filter(Limited::new(filter(log.level), 1)).boxed(),
    })
}

/// Our own lines at the chosen level; libraries talk less.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_target("rtcd", level).with_default(level.min(LevelFilter::WARN))
}

/// systemd tells device and inode of the journal's stream; standard error may have been redirected since
/// (systemd.exec(5), `$JOURNAL_STREAM`).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("not a text");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(target: "rtcd", message, location, thread = thread.name().unwrap_or_default(), "panic");
    }));
}

/// A value that identifies a person: shown only as far as it does not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pii<T>(pub T);

/// What is left of a value when it must not identify anybody.
pub trait Redact {
    /// Writes the harmless part.
    fn redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Redact for IpAddr {
    /// The first half of an IPv4 address, the provider's part of an IPv6 one: enough to tell networks apart.
    fn redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ip if ip.is_loopback() => write!(f, "{ip}"),
            Self::V4(ip) => write!(f, "{}.{}.x.x", ip.octets()[0], ip.octets()[1]),
            Self::V6(ip) => write!(f, "{:x}:{:x}:x", ip.segments()[0], ip.segments()[1]),
        }
    }
}

impl Redact for SocketAddr {
    fn redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().redacted(f)
    }
}

impl<T: Redact> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.redacted(f)
    }
}

impl<T: Redact> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.redacted(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_only_as_far_as_it_identifies_nobody() {
        let check = |text: &str, expected: &str| {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(format!("{} {:?}", Pii(address), Pii(address.ip())), format!("{expected} {expected}"));
        };
        check("192.0.2.7:1234", "192.0.x.x");
        check("[2001:db8:1:2::3]:1", "2001:db8:x");
        check("127.0.0.1:1", "127.0.0.1");
    }

    #[test]
    fn libraries_talk_less_than_we_do() {
        let filter = filter(LogLevel::Trace);
        assert!(filter.would_enable("rtcd::signal", &tracing::Level::TRACE));
        assert!(filter.would_enable("rtcd_media::ice", &tracing::Level::TRACE));
        assert!(!filter.would_enable("hyper::proto", &tracing::Level::INFO));
        assert!(filter.would_enable("sled", &tracing::Level::WARN));
    }
}
