//! A worker: one thread that owns its sockets, its switch and its clock. It waits for packets, commands, messages of
//! other workers and deadlines, gives all that is there to the switch, and sends what came of it in one flush.
mod handover;
mod held;
mod messages;
mod pace;
mod pause;

use super::accept::Acceptor;
use super::counters::count;
use super::handoff::{MediaPacket, MisroutedDatagram, Shared};
use super::handover::{Left, Meeting};
use super::io::{Io, Received};
use super::keep::Keep;
use super::relay::RelayId;
use super::socket::{RECV_BATCH, RECV_SIZE, RecvBatch};
use super::stalls::Stalls;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pace::Pace;
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::sfu::command::{Event, WorkerId};
use rtcd_media::sfu::switch::{Age, Switch, SwitchConfig};
use rtcd_media::token_bucket::TokenBucket;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How often the kernel is asked what it has dropped.
const COUNT_UNRECEIVED: Duration = Duration::from_secs(1);
/// How often the kernel is told at most whose packets it brings to the wrong worker: half a millisecond for a full
/// program, 40 us for a hundred peers.
const STEER: Duration = Duration::from_millis(250);
/// Receive batches that one socket gets before others have their turn.
const BATCHES_PER_TURN: usize = 4;
/// Bugs that end one session each. More of them, and all sessions of the worker begin again.
const BUGS_PER_SECOND: f64 = 0.1;
const BUGS: f64 = 3.0;
/// Events that wait for control because they must not be lost.
const MAX_WAITING_EVENTS: usize = 100_000;

/// Tags of the poll set: the bell, then sockets, listeners, connections and relays.
pub(super) const BELL: u64 = 0;
pub(super) const SOCKET: u64 = 1 << 32;
pub(super) const LISTENER: u64 = 2 << 32;
pub(super) const CONNECTION: u64 = 3 << 32;
pub(super) const RELAY: u64 = 4 << 32;

/// The state of one worker.
pub struct Worker {
    switch: Switch,
    io: Io,
    acceptor: Acceptor,
    /// Packets that other workers have given and that are not forwarded yet.
    #[allow(clippy::vec_box, reason = "they come from a pool and go back to it: nothing is copied")]
    media: Vec<Box<MediaPacket>>,
    /// Datagrams that other workers have given and that are not read yet.
    #[allow(clippy::vec_box, reason = "they come from a pool and go back to it: nothing is copied")]
    misrouted: Vec<Box<MisroutedDatagram>>,
    waiting_events: VecDeque<Event>,
    control: mpsc::Sender<Event>,
    /// Whether this process stood still, and what has lain unread since.
    stalls: Stalls,
    /// When the kernel is asked next what it has dropped.
    counts_at: Instant,
    /// What is written down for whoever goes on after a crash.
    keep: Keep,
    /// Bugs that were outlived: a switch that has one after the other is broken.
    bugs: TokenBucket,
    /// Data channels are being suspended: at the latest when, and who is told.
    suspending: Option<(Instant, Option<oneshot::Sender<()>>)>,
    /// Another process goes on: with whom it is to be agreed, and who gets what is left.
    leaving: Option<(Arc<Meeting>, oneshot::Sender<Left>)>,
    stopping: bool,
    /// When others are told at the earliest whose packets come here by mistake.
    steers_at: Instant,
    /// How far apart its turns are.
    pace: Pace,
}

/// What a worker waits for: its bell.
pub fn poll_set(shared: &Shared, id: WorkerId) -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(shared.inbox(id).bell(), EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
    Ok(epoll)
}

impl Worker {
    /// A worker over its [`poll_set`]; it gets its own sockets by commands.
    pub(super) fn new(
        id: WorkerId,
        shared: Arc<Shared>,
        epoll: Epoll,
        control: mpsc::Sender<Event>,
        keep: Keep,
        now: Instant,
    ) -> Self {
        let (identity, nack_buffer, reflex) = (shared.identity.clone(), shared.nack_buffer, shared.reflex);
        let config = SwitchConfig { worker: id, identity, nack_buffer, reflex, balance: shared.balance.clone() };
        Self {
            switch: Switch::new(config, now),
            io: Io::new(id, shared, epoll),
            acceptor: Acceptor::new(now),
            media: Vec::with_capacity(RECV_BATCH),
            misrouted: Vec::with_capacity(RECV_BATCH),
            waiting_events: VecDeque::new(),
            control,
            stalls: Stalls::new(now),
            counts_at: now,
            keep,
            bugs: TokenBucket::new(BUGS_PER_SECOND, BUGS, now),
            suspending: None,
            leaving: None,
            stopping: false,
            steers_at: now,
            pace: Pace::new(),
        }
    }

    /// Works until told to stop.
    pub fn run(mut self) {
        let mut received = RecvBatch::new();
        let mut frame = vec![0; RECV_SIZE];
        let mut ready = [EpollEvent::empty(); 64];
        while !self.stopping {
            let inbox = self.io.shared.inbox(self.io.id);
            inbox.heartbeat.fetch_add(1, Ordering::Relaxed);
            let has_paused = self.pause();
            let inbox = self.io.shared.inbox(self.io.id);
            let timeout = if inbox.begin_wait() { self.sleep() } else { EpollTimeout::ZERO };
            let paused_until = has_paused.then(Instant::now);
            let count = self.io.epoll.wait(&mut ready, timeout).unwrap_or(0);
            inbox.end_wait();
            let now = Instant::now();
            self.note_pace(now, paused_until, timeout == EpollTimeout::ZERO);
            let turn = || self.turn(now, &ready[..count], &mut received, &mut frame);
            if catch_unwind(AssertUnwindSafe(turn)).is_err() {
                self.media.clear();
                self.misrouted.clear();
                self.outlive_bug();
            }
        }
        match self.leaving.take() {
            Some((meeting, left)) => self.leave(&meeting, left, &mut frame),
            None => self.io.close_relays(),
        }
    }

    /// The session that a bug has hit ends. If that fails as well, or bugs do not end, all begins again.
    fn outlive_bug(&mut self) {
        let is_rare = self.bugs.take(Instant::now());
        let end_one = || {
            self.switch.handle_panic(&mut self.io);
            self.tell_control();
        };
        if catch_unwind(AssertUnwindSafe(end_one)).is_err() || !is_rare {
            self.begin_again();
            self.tell_control();
        }
    }

    fn turn(&mut self, now: Instant, ready: &[EpollEvent], received: &mut RecvBatch, frame: &mut [u8]) {
        self.io.batch.now = now;
        self.stalls.turn(now);
        for event in ready {
            let (kind, index) = (event.data() & !0xffff_ffff, event.data() as u32);
            match kind {
                SOCKET => self.receive(now, index as usize, received),
                LISTENER => self.acceptor.accept(now, index as usize, &mut self.io),
                CONNECTION => self.connection_ready(now, index, event.events(), frame),
                RELAY => self.receive_relayed(now, RelayId(index), received),
                _ => self.io.shared.inbox(self.io.id).silence(),
            }
        }
        self.take_messages(now, frame);
        self.suspend(now);
        self.switch.handle_timeout(now, &mut self.io);
        self.count_unreceived(now);
        self.steer(now);
        for path in self.acceptor.handle_timeout(now, &mut self.io) {
            self.switch.handle_path_closed(path);
        }
        self.finish(now);
        self.keep.turn(now, &mut self.switch);
        if self.keep.have_sockets_changed() | self.io.connections.have_changed() {
            self.keep.store_sockets(now, &self.io.sockets, self.acceptor.listeners(), &self.io.connections);
        }
    }

    fn receive(&mut self, now: Instant, index: usize, received: &mut RecvBatch) {
        for _ in 0..BATCHES_PER_TURN {
            let count = match self.io.sockets[index].receive(received) {
                Ok(count) => count,
                // ICMP errors surface here; the next call gives packets again.
                Err(_) => return,
            };
            let counters = &self.io.shared.inbox(self.io.id).counters;
            counters.received.fetch_add(count as u64, Ordering::Relaxed);
            counters.too_long.fetch_add(received.cut(count), Ordering::Relaxed);
            let age = self.stalls.age(now, index);
            let mut batch = Received { batch: received, local: index as u32, count };
            self.switch.handle_batch(now, &mut batch, age, &mut self.io);
            if count < RECV_BATCH {
                self.stalls.caught_up(index);
                return;
            }
        }
        self.stalls.left_unread(now, index);
    }

    /// What the kernel has dropped as nobody read it in time.
    fn count_unreceived(&mut self, now: Instant) {
        if now < self.counts_at {
            return;
        }
        self.counts_at = now + COUNT_UNRECEIVED;
        let dropped: u64 = self.io.sockets.iter_mut().map(|socket| u64::from(socket.take_unreceived())).sum();
        self.io.shared.inbox(self.io.id).counters.receive_dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// What comes for another worker is to come to its socket.
    fn steer(&mut self, now: Instant) {
        if now >= self.steers_at
            && let Some(foreign) = self.switch.take_foreign()
        {
            self.steers_at = now + STEER;
            self.io.shared.steering.publish(self.io.id, foreign, &self.io.sockets);
        }
    }

    fn receive_relayed(&mut self, now: Instant, id: RelayId, received: &mut RecvBatch) {
        for _ in 0..BATCHES_PER_TURN {
            let Some((count, batch)) = self.io.relays.receive(now, id, received) else { return };
            let counters = &self.io.shared.inbox(self.io.id).counters;
            counters.relay_received.fetch_add(count as u64, Ordering::Relaxed);
            let age = if self.stalls.is_catching_up(now) { Age::Stale } else { Age::Fresh };
            self.switch.handle_batch(now, &mut { batch }, age, &mut self.io);
            if count < RECV_BATCH {
                return;
            }
        }
    }

    fn connection_ready(&mut self, now: Instant, id: u32, events: EpollFlags, frame: &mut [u8]) {
        if events.contains(EpollFlags::EPOLLOUT) {
            self.io.batch.dirty_connections.push(id);
        }
        if !events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return;
        }
        let Some(connection) = self.io.connections.get_mut(id) else { return };
        if connection.begins_as_browser() && self.io.pass_browser(id) {
            return;
        }
        let Some(connection) = self.io.connections.get_mut(id) else { return };
        match connection.fill(frame) {
            Ok(true) => {
                let age = if self.stalls.is_catching_up(now) { Age::Stale } else { Age::Fresh };
                self.read_frames(now, id, age, frame);
            }
            Ok(false) | Err(_) => self.drop_connection(id),
        }
    }

    fn read_frames(&mut self, now: Instant, id: u32, age: Age, frame: &mut [u8]) {
        while let Some(connection) = self.io.connections.get_mut(id) {
            let path = Path { protocol: Protocol::Tcp, local: id, remote: connection.remote() };
            match connection.next_frame(frame) {
                Ok(Some(len)) => {
                    count(&self.io.shared.inbox(self.io.id).counters.received);
                    self.switch.handle_datagram(now, path, &mut frame[..len], age, &mut self.io);
                }
                Ok(None) => return,
                Err(_) => return self.drop_connection(id),
            }
        }
    }

    fn close_relay(&mut self, id: RelayId) {
        if self.io.close_relay(id) {
            self.switch.handle_relay_closed(id.0);
        }
    }

    fn drop_connection(&mut self, id: u32) {
        if let Some(path) = self.io.close(id) {
            self.switch.handle_path_closed(path);
        }
    }

    /// Sends everything, tells control, rings other workers.
    fn finish(&mut self, now: Instant) {
        self.switch.settle(now, &mut self.io);
        self.io.flush();
        let written = self.io.write_connections(now);
        written.torn.into_iter().for_each(|(id, torn)| self.keep.mark_torn(id, torn));
        written.closed.into_iter().for_each(|path| self.switch.handle_path_closed(path));
        for (path, ssrc) in written.broken {
            self.switch.handle_backlog_dropped(now, path, ssrc, &mut self.io);
        }
        // Key frames that were asked for.
        self.io.flush();
        for id in self.io.drive_relays(now) {
            self.switch.handle_relay_closed(id.0);
        }
        self.io.end_turn(now);
        self.io.shared.inbox(self.io.id).publish(self.switch.counters(), self.switch.share());
        self.tell_control();
    }

    fn tell_control(&mut self) {
        let dropped = &self.io.shared.inbox(self.io.id).counters.events_dropped;
        while let Some(event) = self.waiting_events.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.control.try_send(event) {
                self.waiting_events.push_front(event);
                break;
            }
        }
        while let Some(event) = self.switch.poll_event() {
            let refused = if self.waiting_events.is_empty() { self.control.try_send(event) } else { Err(full(event)) };
            match refused {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    if event.is_droppable() || self.waiting_events.len() >= MAX_WAITING_EVENTS {
                        count(dropped);
                    } else {
                        self.waiting_events.push_back(event);
                    }
                }
            }
        }
    }
}

fn full(event: Event) -> mpsc::error::TrySendError<Event> {
    mpsc::error::TrySendError::Full(event)
}
