//! `rtcd demo`: the daemon, a small stand-in for Mattermost and a page to call each other with, in one command.
//!
//! The stand-in talks to the daemon through its API alone, as the Calls plugin does; the daemon is a process of its own.
mod bridge;
mod child;
mod upstream;
mod web;

use crate::auth::{BearerToken, Secret};
use anyhow::{Context as _, Result, ensure};
use child::LocalDaemon;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use upstream::Upstream;

/// How often the daemon's process is looked after.
const CHILD_CHECK: Duration = Duration::from_millis(500);

/// Try calls in a browser, without a Mattermost server.
///
/// Starts a daemon with a temporary store on this machine, or uses the one given by `--connect`, and serves a page.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Where the page is served.
    #[arg(long, default_value = "127.0.0.1:8066")]
    pub listen: SocketAddr,
    /// Allow --listen beyond this machine: anybody who reaches the page can take part.
    #[arg(long)]
    pub allow_remote: bool,
    /// Use the daemon with this API (http://host:8045) in place of an own one.
    #[arg(long, value_name = "URL", requires = "auth_key_file")]
    pub connect: Option<String>,
    /// The client id to use there.
    #[arg(long, value_name = "ID", default_value = "demo")]
    pub client_id: String,
    /// A file with the client's key (at least 32 characters).
    #[arg(long, value_name = "FILE")]
    pub auth_key_file: Option<PathBuf>,
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: DemoArgs) -> Result<()> {
    ensure!(
        args.listen.ip().is_loopback() || args.allow_remote,
        "--listen {} can be reached from other machines; add --allow-remote if that is what you want",
        args.listen
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("--listen {}", args.listen))?;
    let key = match &args.auth_key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("--auth-key-file {}", path.display()))?;
            Secret::from(text.trim())
        }
        // Two tokens are 64 characters: enough for a key.
        None => format!("{}{}", BearerToken::random().expose(), BearerToken::random().expose()).into(),
    };
    let (mut daemon, url) = match &args.connect {
        Some(url) => (None, url.clone()),
        None => {
            let daemon = LocalDaemon::start(args.listen.ip())?;
            let url = daemon.url();
            (Some(daemon), url)
        }
    };
    if let Some(daemon) = &mut daemon {
        daemon.wait_ready().await?;
    }
    let upstream = Upstream::new(&url, args.client_id.as_str().into(), key)?;
    let first = upstream.connect().await?;
    let (bridge, bridged) = bridge::start(upstream, first);
    println!("The demo runs at http://{}/ (stop it with Ctrl-C)", listener.local_addr()?);
    tokio::select! {
        () = web::serve(listener, bridge) => Ok(()),
        ended = bridged => Ok(ended?),
        ended = watch(daemon.as_mut()) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Resolves when the daemon has ended, which it should not.
async fn watch(daemon: Option<&mut LocalDaemon>) -> Result<()> {
    let Some(daemon) = daemon else { return std::future::pending().await };
    loop {
        daemon.check()?;
        tokio::time::sleep(CHILD_CHECK).await;
    }
}
