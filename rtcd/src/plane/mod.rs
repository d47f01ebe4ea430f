//! The packet plane: one OS thread per core, each owning sockets, peers, buffers and a clock. It knows no signalling.
//!
//! [`worker`] is the loop, [`sockets`] binds what it listens on. What a [`socket`] gives goes into the worker's switch (the SFU, `rtcd_media::sfu::switch`); what
//! the switch sends leaves by `io`: the `batch` and the sockets, or the [`outbox`] of a TCP connection. Control speaks
//! through [`command`], workers to each other through [`handoff`].
mod accept;
mod batch;
pub mod command;
mod connections;
pub mod counters;
pub mod deframer;
pub mod handoff;
pub mod handover;
mod io;
pub mod keep;
pub mod outbox;
pub mod owner;
pub mod relay;
pub mod remains;
pub mod socket;
pub mod sockets;
mod stalls;
mod steering;
mod strangers;
pub mod tcp;
pub mod torn;
pub mod web;
pub mod worker;

use crate::handover::cells::{Cells, Owner};
use command::Command;
use handoff::Shared;
use handover::{Left, Meeting, WorkerStart};
use keep::Keep;
pub use keep::Stored;
use rtcd_media::dtls::Identity;
use rtcd_media::footprint::Tally;
use rtcd_media::sfu::command::{Event, MAX_WORKERS, WorkerId};
use rtcd_media::sfu::switch::{PeerStatus, Reflex};
use std::io::Error as IoError;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use web::Visitor;
use worker::Worker;

/// How long a worker may take to leave.
const LEAVE: Duration = Duration::from_secs(2);

/// How long a worker may take to say how its peers are.
const DESCRIBE: Duration = Duration::from_secs(1);

/// Events that may wait for control.
const EVENTS: usize = 16 * 1024;

/// What a plane is made of.
#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// Threads.
    pub workers: usize,
    /// Packets kept per stream for retransmission: 0 or a power of two.
    pub nack_buffer: usize,
    /// What is answered on data channels at once.
    pub reflex: Reflex,
    /// Grows from process to process.
    pub generation: u64,
    /// Who keeps sockets for whoever goes on after a crash.
    pub store: Option<mpsc::UnboundedSender<Stored>>,
}

impl PlaneConfig {
    /// A plane that nobody goes on after.
    pub fn new(workers: usize, nack_buffer: usize) -> Self {
        Self { workers, nack_buffer, reflex: |_, _| None, generation: 0, store: None }
    }
}

/// Why a plane could not be started, or an address not be bound: the operator's to fix.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// An address is taken, or not ours, or we may not bind it.
    #[error("rtc.ice_address_{}: cannot bind {protocol} {address}", .protocol.to_ascii_lowercase())]
    Bind {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: IoError,
    },
    /// Another process has the port: it would get a part of our packets, or we of its.
    #[error(
        "rtc.ice_port_{}: cannot bind {protocol} {address}: port {} is in use by {owner}",
        .protocol.to_ascii_lowercase(),
        .address.port()
    )]
    Taken {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// Who it is, if that can be seen.
        owner: owner::PortOwner,
    },
    /// Nothing that is bound has gone for long enough to make room.
    #[error("cannot bind {protocol} {address}: media is bound to {} addresses already", sockets::MAX_ADDRESSES)]
    TooMany {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// The machine refuses threads, event descriptors or the like.
    #[error("cannot start the packet plane")]
    System(#[from] IoError),
}

impl PlaneError {
    fn bind(protocol: &'static str, address: SocketAddr) -> impl Fn(IoError) -> Self {
        move |source| match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                Self::Taken { protocol, address, owner: owner::PortOwner::of(protocol, address) }
            }
            _ => Self::Bind { protocol, address, source },
        }
    }
}

/// The running plane.
pub struct Plane {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    memories: Vec<OwnedFd>,
}

/// A cheap handle that control sends commands through.
#[derive(Clone)]
pub struct PlaneHandle(Arc<Shared>);

impl PlaneHandle {
    /// The workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        self.0.workers()
    }
    /// Gives the command back when the worker's queue is full.
    fn offer(&self, worker: WorkerId, command: Command) -> Result<(), Command> {
        self.0.offer(worker, command)
    }
    /// Tells one worker.
    pub fn send(&self, worker: WorkerId, command: impl Into<Command>) -> Result<(), handoff::QueueFull> {
        self.0.command(worker, command.into())
    }
    /// Suspends all data channels as they get ready, and at `until` whatever they are; returns when they are.
    pub async fn suspend(&self, until: Instant) {
        let mut suspending = Vec::new();
        for worker in self.0.workers() {
            let (done, suspended) = oneshot::channel();
            if self.0.command(worker, Command::Suspend { until, done }).is_ok() {
                suspending.push(suspended);
            }
        }
        let all = async {
            for suspended in suspending {
                // A worker that has ended has suspended nothing that could be waited for.
                let _ = suspended.await;
            }
        };
        // One that hangs will be found out when it is to leave.
        let _ = tokio::time::timeout_at((until + LEAVE).into(), all).await;
    }

    /// How all peers are at this moment, by worker; a worker that does not answer soon is left out.
    pub async fn describe(&self) -> Vec<(WorkerId, Vec<PeerStatus>)> {
        self.ask(Command::Describe).await
    }

    /// What workers and the queues between them hold; a worker that does not answer soon is left out.
    pub async fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.ask(Command::Tally).await.iter().for_each(|(_, worker)| tally.merge(worker));
        self.0.count(&mut tally);
        tally
    }

    async fn ask<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<(WorkerId, T)> {
        let mut asked = Vec::new();
        for worker in self.0.workers() {
            let (reply, answer) = oneshot::channel();
            if self.0.command(worker, command(reply)).is_ok() {
                asked.push((worker, answer));
            }
        }
        let deadline = tokio::time::Instant::now() + DESCRIBE;
        let mut all = Vec::new();
        for (worker, answer) in asked {
            if let Ok(Ok(said)) = tokio::time::timeout_at(deadline, answer).await {
                all.push((worker, said));
            }
        }
        all
    }

    /// Who begins with TLS or HTTP on the media's TCP port, while [`open_web`](Self::open_web) says so; for one who takes them.
    pub fn web_visitors(&self) -> Option<mpsc::Receiver<Visitor>> {
        self.0.web.visitors()
    }
    /// Whether those are passed on; else they are closed, as all that is not ICE's.
    pub fn open_web(&self, is_open: bool) {
        self.0.web.set_open(is_open);
    }

    /// The workers' counters, summed.
    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut sum: Vec<(&'static str, &'static str, u64)> = Vec::new();
        for worker in self.0.workers() {
            let snapshot = self.0.inbox(worker).counted();
            if sum.is_empty() {
                sum = snapshot;
            } else {
                sum.iter_mut().zip(snapshot).for_each(|(sum, one)| sum.2 += one.2);
            }
        }
        sum
    }
    /// The part of pictures that each worker has time for, by its number; 1 as a rule.
    pub fn shares(&self) -> Vec<f64> {
        self.0.workers().map(|worker| self.0.inbox(worker).share()).collect()
    }
    /// One heartbeat per worker; each grows at least twice a second while its worker lives.
    pub fn heartbeats(&self) -> Vec<Arc<AtomicU64>> {
        self.0.workers().map(|worker| self.0.inbox(worker).heartbeat.clone()).collect()
    }
}

impl Plane {
    /// Starts the workers, which listen nowhere yet: see [`sockets`]. Events come out of the receiver.
    pub fn start(config: &PlaneConfig, identity: Identity) -> Result<(Self, mpsc::Receiver<Event>), PlaneError> {
        let count = config.workers.clamp(1, MAX_WORKERS);
        let shared = Arc::new(Shared::new(identity, config.nack_buffer, config.reflex, count)?);
        let (sender, events) = mpsc::channel(EVENTS);
        // What can fail comes before the first thread. A worker itself never leaves its own: SCTP associations cannot.
        let polls = shared.workers().map(|id| worker::poll_set(&shared, id)).collect::<Result<Vec<_>, _>>()?;
        let cells = |id: WorkerId| Cells::new(Owner::Worker(id.0), config.generation);
        let cells = shared.workers().map(cells).collect::<Result<Vec<_>, _>>()?;
        let memories = cells.iter().map(Cells::handle).collect::<Result<_, _>>()?;
        let mut threads = Vec::with_capacity(count);
        for ((id, epoll), cells) in shared.workers().zip(polls).zip(cells) {
            let (shared, sender, store) = (shared.clone(), sender.clone(), config.store.clone());
            let work = move || {
                let now = Instant::now();
                Worker::new(id, shared, epoll, sender, Keep::new(cells, store, now), now).run();
            };
            threads.push(std::thread::Builder::new().name(format!("plane-{}", id.0)).spawn(work)?);
        }
        Ok((Self { shared, threads, memories }, events))
    }

    /// A handle for control.
    pub fn handle(&self) -> PlaneHandle {
        PlaneHandle(self.shared.clone())
    }

    /// What the workers write down is in there.
    pub fn memories(&self) -> &[OwnedFd] {
        &self.memories
    }

    /// Workers begin with what another process has left; to be called before anything else.
    pub fn begin(&self, starts: Vec<WorkerStart>) {
        for (worker, start) in self.shared.workers().zip(starts) {
            // The queue of a worker that has just been made is empty.
            let _ = self.shared.command(worker, Command::Start(Box::new(start)));
        }
    }

    /// All workers end, and leave everything to another process; in the order of their numbers. One that hangs leaves
    /// nothing.
    pub async fn leave(self) -> Vec<Option<Left>> {
        let meeting = Arc::new(Meeting::new(self.threads.len()));
        let mut leaving = Vec::new();
        for worker in self.shared.workers() {
            let (left, receiver) = oneshot::channel();
            // A full queue is that of a worker that hangs.
            let _ = self.shared.command(worker, Command::Leave { meeting: meeting.clone(), left });
            leaving.push(receiver);
        }
        let mut all = Vec::new();
        for left in leaving {
            all.push(tokio::time::timeout(LEAVE, left).await.ok().and_then(Result::ok));
        }
        all
    }

    /// Stops all workers and waits for them.
    pub fn stop(self) {
        for worker in self.shared.workers() {
            // A worker whose queue is full does not stop; the process ends all the same.
            let _ = self.shared.command(worker, Command::Stop);
        }
        for thread in self.threads {
            // Panics are caught inside; nothing is left to be said.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
