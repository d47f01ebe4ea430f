//! What systemd is told and what it hands over. Without systemd all of this does nothing.
use crate::handover::Parcel;
use crate::logging::Once;
use crate::plane::Stored;
use crate::plane::handover::Inode;
use crate::plane::socket::passed_descriptors;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use sd_notify::NotifyState;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

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

/// Under these names (`FDNAME=`) the listener of the API, the state of the calls and their sockets are left with systemd.
const API: &str = "api";
const MEMORY: &str = "calls";
const MEDIA: &str = "media";
/// Sockets that are there as long as the process has them, each under its inode, and what is written down for whoever goes on
/// after a crash, under the generation of the process.
const SOCKET: &str = "socket-";
const WRITTEN: &str = "written-";
/// Descriptors in one message to systemd; the kernel takes 253.
const DESCRIPTORS_AT_ONCE: usize = 128;
/// How long systemd may take to read what it was told.
const BARRIER_MS: u16 = 5000;

/// A listener of the API that was bound before this process began.
#[derive(Debug)]
pub enum Inherited {
    /// The process before this one left it with systemd ([`keep`]); who connected meanwhile waits in its queue.
    Kept(TcpListener),
    /// A socket unit of the operator's has bound it.
    Activated(TcpListener),
}

/// What the process before has left with systemd, or a socket unit has bound.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// A listener of the API, a kept one before others.
    pub api: Option<Inherited>,
    /// Its calls.
    pub calls: Option<OwnedFd>,
    /// Their sockets.
    pub sockets: Vec<OwnedFd>,
    /// What processes before have written down while they worked, each with its generation.
    pub written: Vec<(u64, OwnedFd)>,
}

/// Takes what `LISTEN_FDS` names. To be called once, before any thread is started.
pub fn inherit() -> Inheritance {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    // Whether they are for this process is the library's to know.
    let count = sd_notify::listen_fds().map_or(0, |fds| fds.len());
    let mut inheritance = Inheritance::default();
    for (fd, name) in passed_descriptors(count).into_iter().zip(names.split(':').chain(std::iter::repeat(""))) {
        let generation = name.strip_prefix(WRITTEN).and_then(|generation| generation.parse().ok());
        match name {
            MEMORY => inheritance.calls = Some(fd),
            MEDIA => inheritance.sockets.push(fd),
            _ if name.starts_with(SOCKET) => inheritance.sockets.push(fd),
            _ if generation.is_some() => inheritance.written.extend(generation.map(|generation| (generation, fd))),
            API => inheritance.api = Some(Inherited::Kept(fd.into())),
            _ if inheritance.api.is_none() && is_tcp_listener(&fd) => {
                inheritance.api = Some(Inherited::Activated(fd.into()));
            }
            _ => {}
        }
    }
    inheritance
}

fn is_tcp_listener(fd: &OwnedFd) -> bool {
    let is_stream = getsockopt(fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    is_stream && getsockopt(fd, sockopt::AcceptConn).is_ok_and(|listens| listens)
}

/// Whether there is a systemd that could keep anything.
pub fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Leaves the calls with systemd until the unit is started again; a stop would end them. Returns when it has them.
pub fn keep_calls(parcel: &Parcel) -> io::Result<()> {
    // First: when there is no room for all sockets, some sessions end, and not all.
    sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(MEMORY)], &[parcel.memory.as_fd()])?;
    // Sockets are kept whatever becomes of them: an error that a peer's network reports is none.
    let state = [NotifyState::FdStore, NotifyState::FdName(MEDIA), NotifyState::Custom("FDPOLL=0")];
    for some in parcel.descriptors.chunks(DESCRIPTORS_AT_ONCE) {
        let some: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        sd_notify::notify_with_fds(&state, &some)?;
    }
    barrier()
}

/// Returns when systemd has read everything that it was told: a message of a process that has ended by then is nobody's.
fn barrier() -> io::Result<()> {
    let (ours, theirs) = std::io::pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
    drop(theirs);
    let mut end = [PollFd::new(ours.as_fd(), PollFlags::POLLHUP)];
    match poll(&mut end, PollTimeout::from(BARRIER_MS))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Everything that was left with systemd has been taken over: it closes its copies.
pub fn forget_calls() {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(MEMORY)]);
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(MEDIA)]);
}

/// Keeps what a process writes down while it works, so that the next one can go on when it has died.
pub fn keep_written(generation: u64, memories: &[OwnedFd]) -> io::Result<()> {
    let name = format!("{WRITTEN}{generation}");
    let memories: Vec<BorrowedFd<'_>> = memories.iter().map(AsFd::as_fd).collect();
    sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &memories).map(drop)
}

/// Another process goes on with what was written down.
pub fn forget_written(generation: u64) {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&format!("{WRITTEN}{generation}"))]);
}

/// Keeps a socket whatever becomes of this process.
pub fn keep_socket(inode: Inode, socket: &OwnedFd) -> io::Result<()> {
    let name = format!("{SOCKET}{inode}");
    let state = [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
    sd_notify::notify_with_fds(&state, &[socket.as_fd()]).map(drop)
}

/// A socket was closed: what arrives there is nobody's.
pub fn forget_socket(inode: Inode) {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&format!("{SOCKET}{inode}"))]);
}

/// Sockets that wait to be kept or forgotten.
#[derive(Debug)]
pub struct SocketStore(mpsc::UnboundedReceiver<Stored>);

/// Where sockets are told of as they come and go. `None` without systemd.
pub fn store_sockets() -> Option<(mpsc::UnboundedSender<Stored>, SocketStore)> {
    is_there().then(mpsc::unbounded_channel).map(|(sender, stored)| (sender, SocketStore(stored)))
}

impl SocketStore {
    /// Tells systemd of them. To be called after [`forget_calls`]: what systemd has under one name it does not take under another.
    pub fn begin(mut self) {
        // What is told to systemd may have to wait until it reads.
        let work = move || {
            while let Some(what) = self.0.blocking_recv() {
                match what {
                    Stored::Kept(inode, socket) => {
                        if let Err(error) = keep_socket(inode, &socket) {
                            tracing::warn!(%error, "a socket could not be left with systemd: a crash will end calls");
                        }
                    }
                    Stored::Gone(inode) => forget_socket(inode),
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("store".into()).spawn(work) {
            tracing::warn!(%error, "no socket can be left with systemd: a crash will end calls");
        }
    }
}

/// Whether systemd stops this unit only to start it again, by its list of jobs.
pub fn is_restarting(unit: &str) -> io::Result<bool> {
    let jobs = Command::new("systemctl").args(["list-jobs", "--no-legend", "--plain", "--full"]).output()?;
    if !jobs.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&jobs.stderr).trim().to_owned()));
    }
    Ok(is_restart_among(&String::from_utf8_lossy(&jobs.stdout), unit))
}

/// Lines of number, unit, kind of job, state.
fn is_restart_among(jobs: &str, unit: &str) -> bool {
    let mut jobs = jobs.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    jobs.any(|job| matches!(job[..], [_, of, "restart" | "try-restart", ..] if of == unit))
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
    fn a_restart_is_told_from_a_stop_and_from_jobs_of_others() {
        let jobs = "1234 rtcd.service    restart running\n  77 other.service stop waiting\n";
        assert!(is_restart_among(jobs, "rtcd.service"));
        assert!(!is_restart_among(jobs, "other.service"));
        assert!(!is_restart_among("1 rtcd.service stop running\n2 x-rtcd.service restart waiting", "rtcd.service"));
        assert!(!is_restart_among("No jobs running.\n", "rtcd.service"));
    }

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
