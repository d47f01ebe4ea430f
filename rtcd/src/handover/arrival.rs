//! How a process begins where another one has left calls.
use super::{Legacy, door};
use crate::store::{Store, StoreError};
use crate::systemd::{self, Inheritance, Inherited};
use anyhow::Context as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the lock of a process that has ended may stay, and how often it is tried.
const LAST_LOCK: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Opens the store when the process before has ended. Its lock goes a moment after it.
pub async fn open_after(before: UnixStream, data_source: PathBuf) -> anyhow::Result<Store> {
    tokio::task::spawn_blocking(move || door::wait_for_end(before)).await.context("waiting for the process before")?;
    let deadline = Instant::now() + LAST_LOCK;
    loop {
        match Store::open(&data_source) {
            Err(StoreError::Open { .. }) if Instant::now() < deadline => tokio::time::sleep(LOCK_RETRY).await,
            opened => return Ok(opened?),
        }
    }
}

/// What there is to begin with.
pub struct Arrival {
    /// What another process has left.
    pub legacy: Option<Legacy>,
    /// A listener of the API that systemd has.
    pub api: Option<Inherited>,
    /// The process before, which has not ended yet.
    pub before: Option<UnixStream>,
}

/// Takes what another process has left, with systemd or by itself. What cannot be used is said, and the daemon begins anew.
pub async fn arrive(inheritance: Inheritance, take_over_in: Option<PathBuf>) -> Arrival {
    let Inheritance { api, calls } = inheritance;
    let (parcel, before) = match (calls, take_over_in) {
        (Some(parcel), _) => (Some(parcel), None),
        (None, Some(place)) => match tokio::task::spawn_blocking(move || door::take_over(&place)).await {
            Ok(Ok(Some((parcel, before)))) => (Some(parcel), Some(before)),
            Ok(Ok(None)) => {
                tracing::info!("there is no process to take over from");
                (None, None)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "nothing could be taken over");
                (None, None)
            }
            Err(_) => (None, None),
        },
        (None, None) => (None, None),
    };
    let legacy = parcel.map(Legacy::unpack).transpose().unwrap_or_else(|error| {
        let error = anyhow::Error::new(error);
        tracing::error!("the calls of the process before end: {error:#}");
        systemd::forget_calls();
        None
    });
    Arrival { legacy, api, before }
}
