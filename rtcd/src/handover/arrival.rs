//! How a process begins where another one has left calls.
use super::crash::Graves;
use super::{Legacy, Parcel, door};
use crate::plane::handover::{Inode, inode};
use crate::store::{Store, StoreError};
use crate::systemd::{Inheritance, Inherited};
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
    /// What processes have written down that have died.
    pub graves: Graves,
    /// Sockets with systemd that nothing is to be done with any more.
    pub unused: Vec<Inode>,
}

/// Takes what another process has left, with systemd or by itself. What cannot be used is said, and the daemon begins anew.
pub async fn arrive(inheritance: Inheritance, take_over_in: Option<PathBuf>) -> Arrival {
    let Inheritance { api, calls, sockets, written } = inheritance;
    let graves = Graves::of(written);
    let mut unused: Vec<Inode> = sockets.iter().map(inode).collect();
    let (legacy, before) = match (calls, take_over_in) {
        // Whoever took these over has died in turn, and knew more.
        _ if graves.has_calls() => (Some(graves.read(sockets)), None),
        (Some(memory), _) => (Some(Legacy::unpack(Parcel { memory, descriptors: sockets })), None),
        (None, Some(place)) => match tokio::task::spawn_blocking(move || door::take_over(&place)).await {
            Ok(Ok(Some((parcel, before)))) => (Some(Legacy::unpack(parcel)), Some(before)),
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
    let legacy = legacy.transpose().unwrap_or_else(|error| {
        let error = anyhow::Error::new(error);
        tracing::error!("the calls of the process before end: {error:#}");
        None
    });
    if legacy.is_some() {
        // It says itself what it does not use.
        unused.clear();
    }
    Arrival { legacy, api, before, graves, unused }
}
