//! SIGHUP: the configuration is read again, and what may change while calls run is taken over. New participants are told
//! the new addresses; those who are in a call keep the path they have.
use crate::config::keys::{self, Key};
use crate::config::{Loaded, Problems};
use crate::net::candidates::candidates;
use crate::signal::SignalHandle;
use crate::systemd;
use std::net::SocketAddr;
use tokio::signal::unix::Signal;

/// What decides the addresses that participants are told.
const RELOADED: [&Key; 3] = [&keys::ICE_HOST_OVERRIDE, &keys::ICE_HOST_PORT_OVERRIDE, &keys::ICE_SERVERS];

/// How the configuration is read again.
pub type Load = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// What the daemon started with.
pub struct Reload {
    /// The configuration.
    pub started: Loaded,
    /// Reads it again.
    pub load: Load,
    /// The bound UDP sockets.
    pub udp: Vec<SocketAddr>,
    /// The bound TCP sockets.
    pub tcp: Vec<SocketAddr>,
}

impl Reload {
    /// Reloads at each hangup, until signalling has ended.
    pub async fn at_each(self, mut hangup: Signal, signal: SignalHandle) {
        while hangup.recv().await.is_some() {
            systemd::reloading();
            let running = self.reload(&signal).await;
            systemd::ready();
            if !running {
                return;
            }
        }
    }

    /// Whether signalling still runs.
    async fn reload(&self, signal: &SignalHandle) -> bool {
        let loaded = match (self.load)() {
            Ok(loaded) => loaded,
            Err(problems) => {
                tracing::error!(%problems, "not reloaded: the configuration has mistakes");
                return true;
            }
        };
        let restart: Vec<_> = loaded
            .other_than(&self.started)
            .filter(|key| RELOADED.iter().all(|known| known.path != key.path))
            .collect();
        if !restart.is_empty() {
            let keys: Vec<_> = restart.iter().map(|key| key.path).collect();
            tracing::warn!(?keys, "not reloaded: these keys need a restart");
        }
        let candidates = candidates(&loaded.config, &self.udp, &self.tcp).await;
        tracing::info!(candidates = candidates.len(), "configuration reloaded");
        signal.advertise(candidates).await.is_ok()
    }
}
