//! `rtcd demo`: the daemon, a small stand-in for Mattermost and a page to call each other with, in one command.
//!
//! The stand-in talks to the daemon through its API alone, as the Calls plugin does; the daemon is a process of its own.
mod bridge;
mod certificate;
mod child;
mod code;
mod connection;
mod reach;
mod table;
mod upstream;
mod web;

use crate::auth::{BearerToken, Secret};
use crate::check::target::Target;
use anyhow::{Context as _, Result, ensure};
use child::LocalDaemon;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use upstream::Upstream;

/// How often the daemon's process is looked after.
const CHILD_CHECK: Duration = Duration::from_millis(500);

/// How long browsers may take to hear that the demo ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where the page is served unless --listen says so.
const PORT: u16 = 8066;

/// Try calls in a browser, without a Mattermost server.
///
/// Starts a daemon with a temporary store on this machine, or uses the one given by `--connect`, and serves a page.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Where the page is served [default: 127.0.0.1:8066; with --allow-remote 0.0.0.0:8066].
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// Let other machines in, over HTTPS with a certificate made for it: anybody who reaches the page can take part.
    #[arg(long)]
    pub allow_remote: bool,
    /// Use the daemon with this API (http://host:8045 or https://host:8045) in place of an own one.
    #[arg(long, value_name = "URL", requires = "auth_key_file")]
    pub connect: Option<Target>,
    /// A PEM file with a certificate authority to trust beside the system's, for --connect https://.
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub ca: Option<PathBuf>,
    /// The client id to use there.
    #[arg(long, value_name = "ID", default_value = "demo")]
    pub client_id: String,
    /// A file with the client's key (at least 32 characters).
    #[arg(long, value_name = "FILE")]
    pub auth_key_file: Option<PathBuf>,
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: DemoArgs) -> Result<()> {
    let any = if args.allow_remote { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let listen = args.listen.unwrap_or_else(|| SocketAddr::from((any, PORT)));
    ensure!(
        listen.ip().is_loopback() || args.allow_remote,
        "--listen {listen} can be reached from other machines; add --allow-remote if that is what you want"
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("--listen {listen}"))?;
    let key = match &args.auth_key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("--auth-key-file {}", path.display()))?;
            Secret::from(text.trim())
        }
        // Two tokens are 64 characters: enough for a key.
        None => format!("{}{}", BearerToken::random().expose(), BearerToken::random().expose()).into(),
    };
    let (mut daemon, target) = match &args.connect {
        Some(target) => (None, target.clone()),
        None => {
            let daemon = LocalDaemon::start(listen.ip())?;
            let target = daemon.target();
            (Some(daemon), target)
        }
    };
    if let Some(daemon) = &mut daemon {
        daemon.wait_ready().await?;
    }
    let upstream = Upstream::new(target.clone(), args.ca.as_deref(), args.client_id.as_str().into(), key)?;
    let first = upstream.connect().await?;
    let (bridge, bridged) = bridge::start(upstream, first);
    let port = listener.local_addr()?.port();
    let addresses = reach::addresses(listen);
    let tls = if listen.ip().is_loopback() {
        None
    } else {
        Some(certificate::generate(&addresses, reach::host_name().as_deref())?)
    };
    let about = web::About {
        daemon: format!("{}{}", target.authority(), target.prefix),
        own: daemon.is_some(),
        addresses: shared(&addresses, port),
    };
    announce(&addresses, port, tls.as_ref());
    let places = web::places();
    let acceptor = tls.map(|tls| tls.acceptor);
    let ended = tokio::select! {
        () = web::serve(listener, acceptor, bridge.clone(), about, places.clone()) => Ok(()),
        ended = bridged => Ok(ended?),
        ended = watch(daemon.as_mut()) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let farewell = async {
        bridge.stop().await;
        web::are_free(&places).await;
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    ended
}

/// The addresses of the page for other machines.
fn shared(addresses: &[IpAddr], port: u16) -> Vec<String> {
    addresses.iter().filter(|ip| !ip.is_loopback()).map(|ip| reach::url(true, *ip, port)).collect()
}

/// Says on the terminal where the page is.
fn announce(addresses: &[IpAddr], port: u16, tls: Option<&certificate::Certificate>) {
    let urls: Vec<_> = addresses.iter().map(|ip| reach::url(tls.is_some(), *ip, port)).collect();
    println!("The demo runs at {} (stop it with Ctrl-C)", urls.join(", "));
    if let Some(tls) = tls {
        println!("Its certificate was made for this run: each browser warns once. SHA-256 {}", tls.fingerprint);
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
