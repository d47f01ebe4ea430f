//! What systemd is told and what it hands over. Without systemd all of this does nothing.
use crate::logging::Once;
use sd_notify::NotifyState;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// `READY=1`: every listener is bound and the plane runs.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd could not be told of the reload"),
    }
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// The daemon begins to end.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    static FAILING: Once = Once::new();
    match sd_notify::notify(states) {
        Ok(()) if FAILING.works() => tracing::info!("systemd can be notified again"),
        Ok(()) => {}
        Err(error) if FAILING.failed() => tracing::warn!(%error, "systemd could not be notified"),
        Err(_) => {}
    }
}

/// Under this name (`FDNAME=`) the listener of the API is left with systemd.
const API: &str = "api";

/// A listener of the API that was bound before this process began.
#[derive(Debug)]
pub enum Inherited {
    /// The process before this one left it with systemd ([`keep`]); who connected meanwhile waits in its queue.
    Kept(TcpListener),
    /// A socket unit of the operator's has bound it.
    Activated(TcpListener),
}

/// The first TCP listener of `LISTEN_FDS`, a kept one before others. To be called once.
pub fn inherited() -> Option<Inherited> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = listenfd::ListenFd::from_env();
    let kept = names.split(':').take(given.len()).position(|name| name == API);
    if let Some(listener) = kept.and_then(|index| given.take_tcp_listener(index).ok().flatten()) {
        return Some(Inherited::Kept(listener));
    }
    (0..given.len()).find_map(|index| given.take_tcp_listener(index).ok().flatten()).map(Inherited::Activated)
}

/// Leaves the listener with systemd until the unit is stopped, so that nobody is refused while the daemon restarts. A unit
/// without `FileDescriptorStoreMax=` does not take it.
pub fn keep(listener: &TcpListener) {
    if let Err(error) =
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(API)], &[listener.as_fd()])
    {
        tracing::warn!(%error, "the listener of the API could not be left with systemd: a restart will refuse who connects");
    }
}

/// The listener that was kept is of no use any more.
pub fn forget() {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(API)]);
}

/// Feeds the watchdog for as long as every heartbeat moves; ends at once when the unit has no `WatchdogSec=`.
///
/// The plane's heartbeats move twice a second, so that `WatchdogSec=` must be 2 s or more.
pub async fn feed_watchdog(heartbeats: Vec<Arc<AtomicU64>>) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    let mut pulse = Pulse::new(heartbeats);
    // Half of what is allowed, as sd_watchdog_enabled(3) advises.
    let mut ticks = tokio::time::interval((timeout / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is immediate: nothing can have moved yet.
    ticks.tick().await;
    let standing = Once::new();
    loop {
        ticks.tick().await;
        match pulse.stuck() {
            None => {
                standing.works();
                notify(&[NotifyState::Watchdog]);
            }
            Some(worker) if standing.failed() => {
                tracing::error!(worker, "a heartbeat stands still, the watchdog is not fed");
            }
            Some(_) => {}
        }
    }
}

/// Heartbeats and where they were last seen.
struct Pulse(Vec<(Arc<AtomicU64>, u64)>);

impl Pulse {
    fn new(heartbeats: Vec<Arc<AtomicU64>>) -> Self {
        let seen = |heartbeat: Arc<AtomicU64>| {
            let now = heartbeat.load(Ordering::Relaxed);
            (heartbeat, now)
        };
        Self(heartbeats.into_iter().map(seen).collect())
    }

    /// The first heartbeat that has not moved since the last call.
    fn stuck(&mut self) -> Option<usize> {
        let mut stuck = None;
        for (index, (heartbeat, seen)) in self.0.iter_mut().enumerate() {
            let now = heartbeat.load(Ordering::Relaxed);
            if std::mem::replace(seen, now) == now {
                stuck.get_or_insert(index);
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_when_every_heartbeat_has_moved() {
        let beats: Vec<_> = (0..2).map(|_| Arc::new(AtomicU64::new(7))).collect();
        let mut pulse = Pulse::new(beats.clone());
        assert_eq!(pulse.stuck(), Some(0));
        for beat in &beats {
            beat.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(pulse.stuck(), None);
        beats[0].fetch_add(1, Ordering::Relaxed);
        assert_eq!(pulse.stuck(), Some(1));
    }
}
