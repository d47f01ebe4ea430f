//! How a process leaves its calls to another one.
use super::Record;
use super::control::ControlMemory;
use super::door::Heir;
use crate::api::Api;
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::signal::SignalHandle;
use anyhow::Context as _;
use rtcd_media::dtls::Identity;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long data channels may take to get ready to go to another process: a packet of theirs that is lost is sent again
/// within that time, even on a way that loses a fourth. Media goes on meanwhile.
const SUSPEND: Duration = Duration::from_secs(10);
/// How long the WebSockets may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// What there is when another process goes on.
pub struct Leaving {
    /// Media.
    pub plane: Plane,
    /// Sessions and calls.
    pub signal: SignalHandle,
    /// Bearer tokens.
    pub api: Api,
    /// Ends the API.
    pub stop_api: oneshot::Sender<()>,
    /// Ends with the API.
    pub serving: JoinHandle<()>,
    /// Another handle on the API's listener.
    pub api_listener: TcpListener,
    /// What has been counted.
    pub metrics: Metrics,
    /// Our certificate.
    pub identity: Identity,
    /// What control has written down.
    pub memory: ControlMemory,
}

impl Leaving {
    /// Leaves everything. Media pauses from when the workers end until those of the next process have begun.
    pub async fn to(self, heir: Heir) -> anyhow::Result<UnixStream> {
        tracing::info!("the calls go to {}", heir.name());
        let begun = Instant::now();
        self.plane.handle().suspend(begun + SUSPEND).await;
        let suspended = Instant::now();
        let _ = self.stop_api.send(());
        let _ = tokio::time::timeout(GOODBYE, self.serving).await;
        let paused = Instant::now();
        let plane = self.plane.handle();
        let (left, signalling) =
            self.signal.leave(self.plane.leave()).await.context("signalling ended before the daemon did")?;
        let now = Instant::now();
        let mut record = Record::new(&self.identity, signalling, self.api.bearers(now), now);
        record.metrics = self.metrics.counted(&plane.counters());
        let parcel = record.pack(left, Some(self.api_listener.into()), now).context("leaving the calls")?;
        // From here on it is the other process's to say what is.
        self.memory.wipe().context("leaving the calls")?;
        let descriptors = parcel.descriptors.len();
        let heir = tokio::task::spawn_blocking(move || heir.give(parcel))
            .await
            .context("leaving the calls")?
            .context("leaving the calls")?;
        tracing::info!(
            descriptors,
            suspend_ms = (suspended - begun).as_millis() as u64,
            goodbye_ms = (paused - suspended).as_millis() as u64,
            leave_ms = paused.elapsed().as_millis() as u64,
            "the calls have been left"
        );
        Ok(heir)
    }
}
