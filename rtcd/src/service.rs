//! The running daemon.
use crate::config::Config;
use crate::net::listen;
use crate::shutdown::Shutdown;
use crate::systemd;
use anyhow::Context as _;
use std::time::Duration;

/// Serves until told to end.
pub fn run(config: Config, drain_timeout: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(config, drain_timeout))
}

async fn serve(config: Config, drain_timeout: Duration) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals(drain_timeout).context("listening for signals")?;
    let listener = match systemd::listener() {
        Some(listener) => listener,
        None => listen::bind(&config.api.listen).with_context(|| format!("cannot bind {}", config.api.listen))?,
    };
    tracing::info!(address = ?listener.local_addr().ok(), "API is listening");
    systemd::ready();
    shutdown.draining().await;
    systemd::stopping();
    shutdown.ending().await;
    Ok(())
}
