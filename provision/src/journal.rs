//! Where the agent's lines go: to the journal with their fields, or to standard error as text.
use nix::sys::stat::fstat;
use std::io;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging for the whole process; to be called once.
pub fn start() {
    let journal = is_journal()
        .then(tracing_journald::layer)
        .and_then(Result::ok)
        .map(|layer| layer.with_field_prefix(Some("PROVISION".into())).with_syslog_identifier("provision".into()));
    let text = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false).without_time()
    });
    tracing_subscriber::registry()
        .with(journal.with_filter(LevelFilter::INFO))
        .with(text.with_filter(LevelFilter::INFO))
        .init();
}

/// systemd tells device and inode of the journal's stream; standard error may have been redirected since
/// (systemd.exec(5), `$JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
