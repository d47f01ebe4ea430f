//! SIGHUP: log files are opened again, the certificate and the configuration are read again, and what may change while
//! calls run is taken over. New participants are told the new addresses; those who are in a call keep the path they have.
//! Whatever cannot be read leaves what runs as it is.
use crate::config::keys::{self, Key};
use crate::config::{Loaded, Problems, Tls};
use crate::net::discovery::DiscoveryHandle;
use crate::net::relays::Relays;
use crate::{logging, systemd};
use tokio::signal::unix::Signal;

/// What is taken over without a restart: what decides the addresses that participants are told, and the certificate.
const RELOADED: [&Key; 7] = [
    &keys::ICE_HOST_OVERRIDE,
    &keys::ICE_HOST_PORT_OVERRIDE,
    &keys::ICE_SERVERS,
    &keys::TURN_SECRET,
    &keys::TURN_EXPIRATION,
    &keys::TLS_CERT_FILE,
    &keys::TLS_CERT_KEY,
];

/// How the configuration is read again.
pub type Load = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// Reads again what the daemon runs on.
pub struct Reload {
    started: Loaded,
    load: Load,
    discovery: DiscoveryHandle,
    relays: Relays,
    /// The configuration had a file the last time.
    file_found: bool,
}

impl Reload {
    /// For a daemon that was started with this configuration; `load` reads it again.
    pub fn new(started: Loaded, load: Load, discovery: DiscoveryHandle, relays: Relays) -> Self {
        let file_found = started.file_found;
        Self { started, load, discovery, relays, file_found }
    }

    /// Reloads at each hangup, until the daemon ends.
    pub async fn at_each(mut self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            systemd::reloading();
            logging::reopen();
            let running = self.reload().await;
            systemd::ready();
            if !running {
                return;
            }
        }
    }

    /// Whether the daemon still runs.
    async fn reload(&mut self) -> bool {
        let loaded = match (self.load)() {
            Ok(loaded) => loaded,
            Err(problems) => {
                tracing::error!(%problems, "not reloaded: the configuration has mistakes");
                self.renew_alone();
                return true;
            }
        };
        if self.file_found && !loaded.file_found {
            tracing::error!("not reloaded: the configuration file is missing, what was read from it stays in force");
            self.renew_alone();
            return true;
        }
        self.file_found = loaded.file_found;
        for warning in &loaded.warnings {
            tracing::warn!(origin = %warning.origin, key = warning.key, "configuration: {}", warning.what);
        }
        let restart: Vec<_> = loaded
            .other_than(&self.started)
            .filter(|key| RELOADED.iter().all(|known| known.path != key.path))
            .collect();
        if !restart.is_empty() {
            let keys: Vec<_> = restart.iter().map(|key| key.path).collect();
            tracing::warn!(?keys, "not reloaded: these keys need a restart");
        }
        if let (Some(running), Some(read)) = (&self.started.config.api.tls, &loaded.config.api.tls) {
            renew(running, read);
        }
        self.relays.set(&loaded.config.rtc);
        match self.discovery.reload(loaded.config.rtc).await {
            Some(true) => tracing::info!("configuration reloaded"),
            Some(false) => tracing::error!("not reloaded in full yet: what was known before is advertised until it is"),
            None => return false,
        }
        true
    }

    /// A certificate is renewed by a timer, which cannot wait until somebody has mended the configuration.
    fn renew_alone(&self) {
        let Some(running) = &self.started.config.api.tls else { return };
        match running.read_again() {
            Ok(read) => renew(running, &read),
            Err(problems) => tracing::error!(%problems, "the certificate cannot be read again, the last one is served"),
        }
    }
}

fn renew(running: &Tls, read: &Tls) {
    if running.take_certificate(read) {
        tracing::info!(file = %read.cert_file.display(), "another certificate is served from now on");
    }
}
