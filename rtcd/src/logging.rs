//! Where log lines go: the journal when systemd runs us, else standard output, and a file. Whoever logs waits for neither.
#[cfg(test)]
mod captured;
mod console;
mod file;
mod json;
mod limit;
mod once;
mod queue;
mod recent;
mod rotate;
mod time;

pub use file::MAX_BYTES;
pub use limit::suppressed;
pub use once::{Once, OnceEach};
pub use queue::dropped;

use crate::config::{ConsoleLog, LogLevel, Logger};
use crate::source::Source;
use console::Console;
use file::LogFile;
use limit::Limited;
use nix::sys::stat::{FileStat, fstat};
use queue::Queue;
use recent::Recent;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What is queued when the process ends may take as long as this to be written: a reader that is stuck is not waited for.
const LAST_LINES: Duration = Duration::from_millis(500);

static CONSOLE: OnceLock<Queue> = OnceLock::new();
static FILE: OnceLock<Queue> = OnceLock::new();
static RECENT: OnceLock<Recent> = OnceLock::new();

/// Somebody else logs already.
#[derive(Debug, thiserror::Error)]
#[error("logging was started twice")]
pub struct Twice;

/// Starts logging for the whole process; a panic is logged too. Lines wait until [`write()`].
pub fn start(logger: &Logger) -> Result<(), Twice> {
    let mut layers = Vec::new();
    layers.extend(logger.console.map(console));
    if let Some(log) = &logger.file {
        layers.push(lines(FILE.get_or_init(|| Queue::new("the log file")), log.json, false, log.level, 1));
    }
    layers.push(recent_lines(logger));
    tracing_subscriber::registry().with(layers).try_init().map_err(|_| Twice)?;
    log_panics();
    Ok(())
}

/// Starts the threads that write. What cannot be written, or opened, is no reason to end.
pub fn write(logger: &Logger) {
    let console = CONSOLE.get().map_or(Ok(()), |queue| Console::new().and_then(|console| queue.start(console)));
    let file = logger.file.as_ref().zip(FILE.get());
    let file = file.map_or(Ok(()), |(log, queue)| {
        queue.reopen();
        let path = &log.location;
        queue.start(if logger.console.is_none() { LogFile::alone(path)? } else { LogFile::new(path) })
    });
    for error in [console, file].into_iter().filter_map(Result::err) {
        eprintln!("rtcd: nothing can be logged: {error}");
    }
}

/// Takes over the levels of what is logged to already.
pub fn set_levels(logger: &Logger) {
    let file = logger.file.as_ref().map(|log| log.level);
    let places = [logger.console.map(|log| log.level), file, Some(recent_level(logger))];
    for (place, level) in places.into_iter().enumerate() {
        if let Some(level) = level {
            limit::set_targets(place, filter(level));
        }
    }
    // What is wanted is remembered at each place that logs.
    tracing::callsite::rebuild_interest_cache();
}

/// The log file is opened again: it may have been renamed.
pub fn reopen() {
    FILE.get().inspect(|queue| queue.reopen());
}

/// Octets of lines that wait to be written, and of the last ones.
pub fn bytes() -> usize {
    let queues = [&CONSOLE, &FILE].into_iter().filter_map(OnceLock::get).map(Queue::bytes).sum::<usize>();
    queues + RECENT.get().map_or(0, Recent::bytes)
}

/// The last lines, the oldest first, as JSON objects with `timestamp`, `level`, `msg`, `caller` and what belongs to each.
pub fn recent() -> Vec<serde_json::Map<String, serde_json::Value>> {
    RECENT.get().map(Recent::lines).unwrap_or_default()
}

/// Waits for the last lines, but not for ever.
pub fn flush() {
    [&CONSOLE, &FILE].into_iter().filter_map(OnceLock::get).for_each(|queue| queue.flush(LAST_LINES));
}

fn console(log: ConsoleLog) -> BoxedLayer {
    if console_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return journal
            .with_field_prefix(Some("RTCD".into()))
            .with_syslog_identifier("rtcd".into())
            .with_filter(Limited::new(filter(log.level), 0))
            .boxed();
    }
    lines(CONSOLE.get_or_init(|| Queue::new("the console")), log.json, log.color, log.level, 0)
}

/// What the console has, or else the file: the same lines, whoever reads those.
fn recent_level(logger: &Logger) -> LogLevel {
    let level = logger.console.map(|log| log.level).or(logger.file.as_ref().map(|log| log.level));
    level.unwrap_or(LogLevel::Info)
}

fn recent_lines(logger: &Logger) -> BoxedLayer {
    let recent = RECENT.get_or_init(Recent::default).clone();
    let text = tracing_subscriber::fmt::layer().with_writer(move || recent.clone()).with_ansi(false);
    let filter = Limited::new(filter(recent_level(logger)), limit::RECENT);
    text.fmt_fields(JsonFields::new()).event_format(json::Json).with_filter(filter).boxed()
}

fn lines(queue: &Queue, json: bool, color: bool, level: LogLevel, place: usize) -> BoxedLayer {
    let queue = queue.clone();
    let text = tracing_subscriber::fmt::layer().with_writer(move || queue.clone()).with_ansi(color && !json);
    let filter = Limited::new(filter(level), place);
    match json {
        true => text.fmt_fields(JsonFields::new()).event_format(json::Json).with_filter(filter).boxed(),
        false => text.with_filter(filter).boxed(),
    }
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

/// systemd tells device and inode of the journal's stream, that of standard error where there are two; either may have been
/// redirected since (systemd.exec(5), `$JOURNAL_STREAM`).
fn console_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let (Ok(error), Ok(output)) = (fstat(io::stderr()), fstat(io::stdout())) else { return false };
    let is_stream = |stat: &FileStat| stream == format!("{}:{}", stat.st_dev, stat.st_ino);
    let socket = output.st_mode & nix::libc::S_IFMT == nix::libc::S_IFSOCK;
    is_stream(&output) || (is_stream(&error) && socket)
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

impl Redact for Source {
    fn redacted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().redacted(f)
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
