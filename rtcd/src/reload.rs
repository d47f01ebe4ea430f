//! SIGHUP: log files are opened again, the certificate and the configuration are read again, and what may change while
//! calls run is taken over. New participants are told the new addresses; those who are in a call keep the path they have.
//! Whatever cannot be read leaves what runs as it is. A certificate is taken over without being told, too, when its files
//! have changed.
use crate::api::Api;
use crate::config::keys::{self, Key};
use crate::config::{Loaded, Problems, Tls};
use crate::logging::Once;
use crate::net::discovery::{Board, DiscoveryHandle};
use crate::net::relays::Relays;
use crate::notices::Topic;
use crate::{logging, systemd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

/// What is taken over without a restart: what decides the addresses that participants are told, who may do what, how much is
/// logged, and the certificate.
const RELOADED: [&Key; 12] = [
    &keys::ICE_HOST_OVERRIDE,
    &keys::ICE_HOST_PORT_OVERRIDE,
    &keys::ICE_SERVERS,
    &keys::TURN_SECRET,
    &keys::TURN_EXPIRATION,
    &keys::TLS_CERT_FILE,
    &keys::TLS_CERT_KEY,
    &keys::ALLOW_SELF_REGISTRATION,
    &keys::ENABLE_ADMIN,
    &keys::ADMIN_SECRET_KEY,
    &keys::CONSOLE_LEVEL,
    &keys::FILE_LEVEL,
];

/// Between two looks at the files of the certificate.
const FILES_INTERVAL: Duration = Duration::from_secs(5);

/// How the configuration is read again.
pub type Load = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// What takes over what has changed.
pub struct Running {
    /// The addresses that participants are told.
    pub discovery: DiscoveryHandle,
    /// TURN servers.
    pub relays: Relays,
    /// Who may do what.
    pub api: Api,
    /// Where the admin reads of it.
    pub board: Board,
}

/// Reads again what the daemon runs on.
pub struct Reload {
    started: Loaded,
    load: Load,
    running: Running,
    /// The configuration had a file the last time.
    file_found: bool,
    /// The files of the certificate, as they were when it was read.
    files: Files,
    unreadable: Once,
}

/// What tells a file from another: device, inode, length, time of the last change. `None`: it cannot be looked at.
type File = Option<(u64, u64, u64, i64, i64)>;

/// The certificate and its key.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Files([File; 2]);

impl Files {
    fn look(tls: Option<&Tls>) -> Self {
        let look = |path: &Path| {
            let about = path.metadata().ok()?;
            Some((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
        };
        tls.map_or_else(Self::default, |tls| Self([look(&tls.cert_file), look(&tls.cert_key)]))
    }
}

impl Reload {
    /// For a daemon that was started with this configuration; `load` reads it again.
    pub fn new(started: Loaded, load: Load, running: Running) -> Self {
        let (file_found, files) = (started.file_found, Files::look(started.config.api.tls.as_ref()));
        Self { started, load, running, file_found, files, unreadable: Once::new() }
    }

    /// Reloads at each hangup, until the daemon ends.
    pub async fn at_each(mut self, mut hangup: Signal) {
        let mut looks = interval(FILES_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                hangup = hangup.recv() => {
                    if hangup.is_none() {
                        return;
                    }
                    systemd::reloading();
                    logging::reopen();
                    let running = self.reload().await;
                    systemd::ready();
                    if !running {
                        return;
                    }
                }
                _ = looks.tick() => self.look_at_files(),
            }
        }
    }

    /// Whether the daemon still runs.
    async fn reload(&mut self) -> bool {
        let loaded = match (self.load)() {
            Ok(loaded) => loaded,
            Err(problems) => {
                // The journal shows the message alone.
                tracing::error!("not reloaded: {problems}");
                return self.refuse(format!("not reloaded: {problems}"));
            }
        };
        if self.file_found && !loaded.file_found {
            let file = loaded.path.display();
            tracing::error!(
                "not reloaded: the configuration file is missing, what was read from it stays in force: {file}"
            );
            return self.refuse(format!("not reloaded: {file} is missing, what was read from it stays in force"));
        }
        self.file_found = loaded.file_found;
        for warning in &loaded.warnings {
            tracing::warn!(origin = %warning.origin, key = warning.key, "configuration: {}", warning.what);
        }
        let notices = self.running.board.notices.clone();
        notices.set(Topic::Configuration, loaded.oddities());
        let restart: Vec<_> = loaded
            .other_than(&self.started)
            .filter(|key| RELOADED.iter().all(|known| known.path != key.path))
            .map(|key| key.path)
            .collect();
        if !restart.is_empty() {
            tracing::warn!("not reloaded: these keys need a restart: {}", restart.join(", "));
        }
        let waiting = restart.iter().map(|key| format!("{key} has changed and needs a restart"));
        notices.set(Topic::Reload, waiting.collect());
        self.renew(loaded.config.api.tls.as_ref());
        let api = &loaded.config.api;
        self.running.api.reconfigure(api.allow_self_registration, api.admin_secret_key.clone());
        self.running.api.set_ice_servers(&loaded.config.rtc);
        logging::set_levels(&loaded.config.logger);
        self.running.relays.set(&loaded.config.rtc);
        let told = || self.running.board.advertised.to_string();
        match self.running.discovery.reload(loaded.config.rtc).await {
            Some(true) => tracing::info!(told = told(), "configuration reloaded"),
            Some(false) => tracing::error!(
                told = told(),
                "not reloaded in full yet: what was known before is advertised until it is"
            ),
            None => return false,
        }
        true
    }

    /// What runs stays; a certificate is renewed by a timer, which cannot wait until somebody has mended the configuration.
    fn refuse(&mut self, why: String) -> bool {
        self.running.board.notices.set(Topic::Reload, vec![why]);
        self.files = Files::default();
        self.look_at_files();
        true
    }

    /// Takes over the certificate when its files have changed.
    fn look_at_files(&mut self) {
        let Some(running) = self.started.config.api.tls.clone() else { return };
        let files = Files::look(Some(&running));
        if files == self.files {
            return;
        }
        match running.read_again() {
            Ok(read) => {
                self.files = files;
                if self.unreadable.works() {
                    self.running.board.notices.set(Topic::Certificate, Vec::new());
                    tracing::info!("the certificate can be read again");
                }
                self.renew(Some(&read));
            }
            // It is looked at again soon: whoever renews it may be between both files.
            Err(problems) if self.unreadable.failed() => {
                tracing::error!("the certificate cannot be read again, the last one is served: {problems}");
                let notice = format!("the certificate cannot be read again, the last one is served: {problems}");
                self.running.board.notices.set(Topic::Certificate, vec![notice]);
            }
            Err(_) => {}
        }
    }

    fn renew(&mut self, read: Option<&Tls>) {
        let (Some(running), Some(read)) = (&mut self.started.config.api.tls, read) else { return };
        if running.take_certificate(read) {
            tracing::info!(file = %read.cert_file.display(), "another certificate is served from now on");
        }
        // From now on these are the files that are looked at.
        (running.cert_file, running.cert_key) = (read.cert_file.clone(), read.cert_key.clone());
        self.files = Files::look(Some(running));
    }
}
