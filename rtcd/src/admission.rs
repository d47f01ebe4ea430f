//! Whether new calls are welcome. SIGUSR1 sends them elsewhere and SIGUSR2 takes them again; running calls notice neither.
//! Where there is no other host they come all the same, and are taken unless `--refuse-calls-while-draining` is given.
//!
//! Whoever wants the machine for itself (an update that must reboot) sends SIGUSR1 and waits until the status of the unit
//! is [`DRAINED`]; when that takes too long, SIGUSR2 makes it a server like any other again. A call may begin behind
//! [`DRAINED`], and the status says so: SIGTERM lets it end.
use crate::api::Api;
use crate::shutdown::Shutdown;
use crate::signal::{SignalHandle, Status, Stopped};
use crate::systemd;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// `systemctl show -P StatusText rtcd` when no call runs and new ones shall go elsewhere.
pub const DRAINED: &str = "drained";

/// SIGUSR1 (new calls go elsewhere) and SIGUSR2 (they are taken again).
pub struct Signals {
    close: Signal,
    open: Signal,
}

impl Signals {
    /// Listens from now on.
    pub fn new() -> io::Result<Self> {
        Ok(Self { close: signal(SignalKind::user_defined1())?, open: signal(SignalKind::user_defined2())? })
    }

    /// Obeys until signalling has ended, or the daemon is about to: whoever ends takes no new calls, whatever it is told.
    pub async fn obey(mut self, admission: Admission, shutdown: Shutdown) {
        loop {
            let draining = tokio::select! {
                biased;
                () = shutdown.draining() => return,
                _ = self.close.recv() => true,
                _ = self.open.recv() => false,
            };
            if draining {
                tracing::info!(
                    "draining: new calls go to other hosts, running ones go on; SIGUSR2 takes new ones again"
                );
            } else {
                tracing::info!("new calls are taken again");
            }
            if admission.set_draining(draining).await.is_err() {
                return;
            }
        }
    }
}

/// The door that new calls come through.
#[derive(Clone)]
pub struct Admission {
    /// Tells Mattermost how busy this host is.
    pub api: Api,
    /// Counts what comes all the same, or refuses it.
    pub signal: SignalHandle,
}

impl Admission {
    /// Closes or opens the door.
    pub async fn set_draining(&self, draining: bool) -> Result<(), Stopped> {
        self.api.set_draining(draining);
        self.signal.set_draining(draining).await
    }
}

/// Keeps the status line of the unit current.
pub async fn follow(mut status: watch::Receiver<Status>) {
    loop {
        let line = line(*status.borrow_and_update());
        systemd::status(&line);
        // One line a second is enough for everybody who looks.
        tokio::time::sleep(Duration::from_secs(1)).await;
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn line(Status { calls, sessions, draining, .. }: Status) -> String {
    match (draining, sessions) {
        (false, _) => format!("{calls} calls, {sessions} sessions"),
        (true, 0) => DRAINED.to_owned(),
        (true, _) => format!("draining: {calls} calls, {sessions} sessions left"),
    }
}
