//! A worker: one thread that owns its sockets, its peers and its clock. It waits for packets, commands, messages of
//! other workers and deadlines, handles all that is there, and sends what came of it in one flush.
use super::batch::SendBatch;
use super::command::{Event, Open, TrackId, TransportId, WorkerId};
use super::counters::count;
use super::forward::{ForwardTrack, Outlet};
use super::handoff::{Inbox, MediaPacket, Shared};
use super::peer::Peer;
use super::socket::{RECV_BATCH, RECV_SIZE, RecvBatch, UdpSocket};
use super::strangers::{EarlyChecks, Strangers};
use super::tcp::Connection;
use super::timer::{Stalls, Timers};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use rtcd_media::demux::Path;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longest sleep: the heartbeat must go on.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// Receive batches that one socket gets before others have their turn.
const BATCHES_PER_TURN: usize = 4;
/// Events that wait for control because they must not be lost.
const MAX_WAITING_EVENTS: usize = 100_000;

/// Tags of the poll set: the bell, then sockets, listeners and connections.
pub(super) const BELL: u64 = 0;
pub(super) const SOCKET: u64 = 1 << 32;
pub(super) const LISTENER: u64 = 2 << 32;
pub(super) const CONNECTION: u64 = 3 << 32;

/// A transport that is waited for, as every worker knows it.
pub(super) struct Registration {
    pub(super) open: Arc<Open>,
    /// Our password for this ufrag: a restart makes another.
    pub(super) password: String,
    /// Counts restarts of ICE.
    pub(super) generation: u32,
    pub(super) claim: Arc<Claim>,
}

/// Who owns a transport. Set once, by whoever hears its first authentic check.
#[derive(Debug)]
pub struct Claim(AtomicU8);

impl Default for Claim {
    fn default() -> Self {
        Self(AtomicU8::new(u8::MAX))
    }
}

impl Claim {
    /// The owner, which is `worker` if nobody was faster.
    pub(super) fn claim(&self, worker: WorkerId) -> WorkerId {
        match self.0.compare_exchange(u8::MAX, worker.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => worker,
            Err(owner) => WorkerId(owner),
        }
    }
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// A peer of this worker.
    Peer(usize),
    /// Another worker.
    Worker(TransportId, WorkerId),
}

/// A packet of the current batch that waits to be forwarded.
pub(super) struct Pending {
    pub(super) forward: usize,
    pub(super) datagram: usize,
    pub(super) payload: std::ops::Range<usize>,
    pub(super) meta: rtcd_media::sfu::Meta,
}

/// The state of one worker.
pub struct Worker {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) epoll: Epoll,
    pub(super) sockets: Vec<UdpSocket>,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) connections: HashMap<u32, Connection>,
    pub(super) next_connection: u32,
    /// Which of them have not shown that they belong to a session.
    pub(super) strangers: Strangers,
    /// Descriptors that go to newcomers when there are no others.
    pub(super) reserve: Vec<EventFd>,
    /// When more are put by.
    pub(super) refills_at: Instant,
    /// When listeners are listened to again, after descriptors had run out.
    pub(super) accepts_again: Option<Instant>,
    /// Checks whose transport has not been announced yet.
    pub(super) early: EarlyChecks<Path>,
    pub(super) peers: Slab<Peer>,
    pub(super) peers_by_id: HashMap<TransportId, usize>,
    pub(super) registrations: HashMap<Box<str>, Registration>,
    pub(super) paths: HashMap<Path, Owner>,
    pub(super) tracks: Slab<ForwardTrack>,
    pub(super) tracks_by_id: HashMap<TrackId, usize>,
    pub(super) timers: Timers,
    pub(super) batch: SendBatch,
    pub(super) pending: Vec<Pending>,
    /// Packets that other workers have given and that are not forwarded yet.
    #[allow(clippy::vec_box, reason = "they come from a pool and go back to it: nothing is copied")]
    pub(super) media: Vec<Box<MediaPacket>>,
    pub(super) touched: Vec<usize>,
    /// Groups of packets forwarded so far, and who wants to know how long this turn's took.
    pub(super) forwards: u32,
    pub(super) sampled: Vec<prometheus::Histogram>,
    pub(super) ring: u64,
    pub(super) rtcp: Vec<u8>,
    /// Tokens for STUN requests without credentials.
    pub(super) anonymous: (f64, Instant),
    pub(super) events: Vec<Event>,
    waiting_events: VecDeque<Event>,
    control: mpsc::Sender<Event>,
    /// Whether this process stood still, and what has lain unread since.
    pub(super) stalls: Stalls,
    /// Media that is being read now has lain there for too long.
    pub(super) discards_media: bool,
    /// The peer that is being worked for: a panic ends it alone.
    pub(super) current: Option<usize>,
    /// The track that is being forwarded.
    pub(super) forwarding: Option<usize>,
    stopping: bool,
}

impl Worker {
    /// A worker over its own sockets.
    pub fn new(
        id: WorkerId,
        shared: Arc<Shared>,
        sockets: Vec<UdpSocket>,
        listeners: Vec<TcpListener>,
        control: mpsc::Sender<Event>,
        now: Instant,
    ) -> io::Result<Self> {
        let sockets_count = sockets.len();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = |tag| EpollEvent::new(EpollFlags::EPOLLIN, tag);
        epoll.add(shared.inbox(id).bell(), readable(BELL))?;
        for (at, socket) in sockets.iter().enumerate() {
            epoll.add(socket, readable(SOCKET | at as u64))?;
        }
        for (at, listener) in listeners.iter().enumerate() {
            epoll.add(listener, readable(LISTENER | at as u64))?;
        }
        let mut worker = Self {
            id,
            shared,
            epoll,
            sockets,
            listeners,
            connections: HashMap::new(),
            next_connection: 0,
            strangers: Strangers::default(),
            reserve: Vec::new(),
            refills_at: now,
            accepts_again: None,
            early: EarlyChecks::default(),
            peers: Slab::new(),
            peers_by_id: HashMap::new(),
            registrations: HashMap::new(),
            paths: HashMap::new(),
            tracks: Slab::new(),
            tracks_by_id: HashMap::new(),
            timers: Timers::default(),
            batch: SendBatch::new(),
            pending: Vec::new(),
            media: Vec::with_capacity(RECV_BATCH),
            touched: Vec::new(),
            forwards: 0,
            sampled: Vec::new(),
            ring: 0,
            rtcp: Vec::new(),
            anonymous: (0.0, now),
            events: Vec::new(),
            waiting_events: VecDeque::new(),
            control,
            stalls: Stalls::new(sockets_count, now),
            discards_media: false,
            current: None,
            forwarding: None,
            stopping: false,
        };
        worker.refill_reserve(now);
        Ok(worker)
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        let mut received = RecvBatch::new();
        let mut frame = vec![0; RECV_SIZE];
        let mut ready = [EpollEvent::empty(); 64];
        while !self.stopping {
            let shared = self.shared.clone();
            shared.inbox(self.id).heartbeat.fetch_add(1, Ordering::Relaxed);
            let sleep = self.sleep();
            let count = self.epoll.wait(&mut ready, sleep).unwrap_or(0);
            self.guarded(|worker| worker.turn(&ready[..count], &mut received, &mut frame));
        }
    }

    /// Does something that a bug of ours may cut short.
    pub(super) fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.after_panic();
        }
    }

    fn sleep(&self) -> EpollTimeout {
        if !self.waiting_events.is_empty() {
            return EpollTimeout::from(5u8);
        }
        let until = self.timers.next().map_or(MAX_SLEEP, |at| at.saturating_duration_since(Instant::now()));
        // Rounded up, or the loop would spin through the last millisecond.
        let millis = until.min(MAX_SLEEP).as_micros().div_ceil(1000) as u16;
        EpollTimeout::from(millis)
    }

    fn turn(&mut self, ready: &[EpollEvent], received: &mut RecvBatch, frame: &mut [u8]) {
        let now = Instant::now();
        self.batch.now = now;
        self.stalls.turn(now);
        for event in ready {
            let (kind, index) = (event.data() & !0xffff_ffff, event.data() as u32);
            match kind {
                SOCKET => self.receive(now, index as usize, received),
                LISTENER => self.accept(now, index as usize),
                CONNECTION => self.connection_ready(now, index, event.events(), frame),
                _ => self.shared.inbox(self.id).silence(),
            }
        }
        self.take_messages(now);
        self.fire_timers(now);
        self.finish(now);
    }

    fn receive(&mut self, now: Instant, index: usize, received: &mut RecvBatch) {
        for _ in 0..BATCHES_PER_TURN {
            let count = match self.sockets[index].receive(received) {
                Ok(count) => count,
                // ICMP errors surface here; the next call gives packets again.
                Err(_) => return,
            };
            self.discards_media = self.stalls.is_behind(now, index);
            self.handle_batch(now, index as u32, received, count);
            self.discards_media = false;
            if count < RECV_BATCH {
                self.stalls.caught_up(index);
                return;
            }
        }
    }

    fn take_messages(&mut self, now: Instant) {
        let shared = self.shared.clone();
        let inbox: &Inbox = shared.inbox(self.id);
        while let Some(command) = inbox.next_command() {
            self.handle_command(now, command);
        }
        self.answer_early_checks(now);
        while let Some(handoff) = inbox.next_handoff() {
            self.handle_handoff(now, handoff);
            if self.media.len() >= RECV_BATCH {
                self.forward_media(now);
            }
        }
        self.forward_media(now);
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if peer.scheduled != Some(at) {
                continue;
            }
            peer.scheduled = None;
            self.current = Some(key);
            peer.transport.handle_timeout(now);
            self.send_feedback(now, key);
            self.touch(key);
        }
        self.current = None;
        self.close_silent_connections(now);
        self.resume_accepting(now);
    }

    /// Notes that a peer's output and deadlines are to be looked at before the turn ends.
    pub(super) fn touch(&mut self, key: usize) {
        if let Some(peer) = self.peers.get_mut(key)
            && !std::mem::replace(&mut peer.touched, true)
        {
            self.touched.push(key);
        }
    }

    /// Sends everything, tells control, rings other workers.
    fn finish(&mut self, now: Instant) {
        while let Some(key) = self.touched.pop() {
            self.current = Some(key);
            self.drain_peer(now, key);
        }
        self.current = None;
        let shared = self.shared.clone();
        self.batch.flush(&mut self.sockets, &shared.inbox(self.id).counters);
        self.flush_connections(now);
        // Key frames that were asked for.
        self.batch.flush(&mut self.sockets, &shared.inbox(self.id).counters);
        for writes in self.sampled.drain(..) {
            writes.observe(now.elapsed().as_secs_f64());
        }
        for worker in shared.workers().filter(|worker| self.ring >> worker.0 & 1 == 1) {
            shared.inbox(worker).ring();
        }
        self.ring = 0;
        self.tell_control();
    }

    /// Takes what a peer's transport has to say, and its next deadline.
    fn drain_peer(&mut self, now: Instant, key: usize) {
        let shared = self.shared.clone();
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.touched = false;
        let mut datagrams = Vec::new();
        while let Some(datagram) = peer.transport.poll_datagram() {
            datagrams.push(datagram);
        }
        let mut closed = false;
        while let Some(event) = peer.transport.poll_event() {
            closed |= matches!(event, rtcd_media::transport::TransportEvent::Closed(_));
            self.events.push(Event::Transport { transport: peer.id, event });
        }
        let next = peer.next_timeout(now);
        self.timers.schedule(key, next, &mut peer.scheduled);
        let id = peer.id;
        let mut outlet = self.outlet(&shared);
        for (path, bytes) in datagrams {
            outlet.send(path, &bytes);
        }
        if closed {
            self.remove_transport(id);
        }
    }

    pub(super) fn outlet<'a>(&'a mut self, shared: &'a Shared) -> Outlet<'a> {
        Outlet {
            peers: &mut self.peers,
            batch: &mut self.batch,
            sockets: &mut self.sockets,
            connections: &mut self.connections,
            counters: &shared.inbox(self.id).counters,
        }
    }

    fn tell_control(&mut self) {
        let dropped = &self.shared.inbox(self.id).counters.events_dropped;
        while let Some(event) = self.waiting_events.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.control.try_send(event) {
                self.waiting_events.push_front(event);
                break;
            }
        }
        for event in self.events.drain(..) {
            if !self.waiting_events.is_empty() {
                keep_waiting(&mut self.waiting_events, event, dropped);
            } else if let Err(mpsc::error::TrySendError::Full(event)) = self.control.try_send(event) {
                keep_waiting(&mut self.waiting_events, event, dropped);
            }
        }
    }

    /// A bug of ours: the session that it happened in ends, everything else goes on.
    fn after_panic(&mut self) {
        count(&self.shared.inbox(self.id).counters.panics);
        self.pending.clear();
        self.discards_media = false;
        self.media.clear();
        self.touched.clear();
        for (_, peer) in &mut self.peers {
            peer.touched = false;
        }
        let current = self.current.take().and_then(|key| self.peers.get(key)).map(|peer| peer.id);
        let blamed = match self.forwarding.take().and_then(|place| self.tracks.get_mut(place)) {
            Some(track) => track.blame(current),
            None => current,
        };
        if let Some(id) = blamed {
            self.events.push(Event::closed(id, rtcd_media::transport::CloseReason::Local));
            if self.peers_by_id.contains_key(&id) {
                self.remove_transport(id);
            }
        }
        self.tell_control();
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }
}

fn keep_waiting(waiting: &mut VecDeque<Event>, event: Event, dropped: &std::sync::atomic::AtomicU64) {
    if event.is_droppable() || waiting.len() >= MAX_WAITING_EVENTS {
        count(dropped);
    } else {
        waiting.push_back(event);
    }
}
