//! What a worker's switch writes to: the batch and its sockets, TCP connections, the other workers' letter boxes.
use super::batch::SendBatch;
use super::connections::Connections;
use super::counters::count;
use super::handoff::{Handoff, Shared};
use super::relay::Relays;
use super::socket::{RecvBatch, UdpSocket};
use nix::sys::epoll::Epoll;
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::sfu::Meta;
use rtcd_media::sfu::command::{TrackId, WorkerId};
use rtcd_media::sfu::switch::{self, Class, Datagrams, SLOT_SIZE, Sink};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// One in so many forwarded groups of packets is timed.
const WRITES_SAMPLED: u32 = 16;
/// Tracks whose times are taken before those that have ended are looked for.
const MEASURED: usize = 64;

/// Everything of a worker that packets leave by.
pub(super) struct Io {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) epoll: Epoll,
    pub(super) sockets: Vec<UdpSocket>,
    pub(super) connections: Connections,
    pub(super) relays: Relays,
    pub(super) batch: SendBatch,
    /// Workers that have been given something and not been woken.
    ring: u64,
    /// Where the times of writes go, by track; those of tracks that have ended are dropped now and then.
    writes: HashMap<TrackId, prometheus::Histogram>,
    /// So many of them that some may have ended.
    crowded: usize,
    /// Groups of packets forwarded so far, and who wants to know how long this turn's took.
    forwards: u32,
    sampled: Vec<prometheus::Histogram>,
}

impl Io {
    pub(super) fn new(id: WorkerId, shared: Arc<Shared>, epoll: Epoll) -> Self {
        Self {
            id,
            shared,
            epoll,
            sockets: Vec::new(),
            connections: Connections::default(),
            relays: Relays::default(),
            batch: SendBatch::new(),
            ring: 0,
            writes: HashMap::new(),
            crowded: MEASURED,
            forwards: 0,
            sampled: Vec::new(),
        }
    }

    /// Takes the times of a track's writes from now on.
    pub(super) fn measure(
        &mut self,
        track: TrackId,
        writes: prometheus::Histogram,
        is_known: impl Fn(TrackId) -> bool,
    ) {
        if self.writes.len() >= self.crowded {
            self.writes.retain(|track, _| is_known(*track));
            self.crowded = MEASURED.max(2 * self.writes.len());
        }
        self.writes.insert(track, writes);
    }

    /// Gives another worker something; it is woken at the end of the turn, or [before](Sink::handed_over).
    pub(super) fn give(&mut self, worker: WorkerId, handoff: Handoff) {
        self.ring |= 1 << worker.0;
        let given = self.shared.hand_over(worker, handoff);
        let counters = &self.shared.inbox(self.id).counters;
        count(if given { &counters.handed_over } else { &counters.handover_dropped });
    }

    /// Asks the other workers for the descriptor of a stranger each.
    pub(super) fn ask_for_room(&mut self) {
        let me = self.id;
        for worker in self.shared.workers().filter(|worker| *worker != me) {
            self.give(worker, Handoff::MakeRoom);
        }
    }

    pub(super) fn flush(&mut self) {
        self.batch.flush(&mut self.sockets, &mut self.relays, &self.shared.inbox(self.id).counters);
    }

    /// Everything of this turn, which began at `now`, is out.
    pub(super) fn end_turn(&mut self, now: Instant) {
        for writes in self.sampled.drain(..) {
            writes.observe(now.elapsed().as_secs_f64());
        }
        self.ring();
    }

    /// Wakes the workers that have been given something.
    fn ring(&mut self) {
        let given = std::mem::take(&mut self.ring);
        for worker in self.shared.workers().filter(|worker| given >> worker.0 & 1 == 1) {
            self.shared.inbox(worker).ring();
        }
    }
}

impl Sink for Io {
    #[inline]
    fn slot(&mut self) -> &mut [u8; SLOT_SIZE] {
        if self.batch.is_full() {
            self.flush();
        }
        self.batch.slot()
    }

    #[inline]
    fn commit(&mut self, path: Path, len: usize, class: Class) {
        if path.protocol == Protocol::Relay {
            return self.commit_relayed(path, len, class);
        }
        let counters = &self.shared.inbox(self.id).counters;
        self.batch.commit(path, len, class, &mut self.connections, counters);
    }

    fn hand_over(&mut self, worker: WorkerId, handoff: switch::Handoff) {
        self.give(worker, Handoff::Switch(handoff));
    }

    fn hand_over_datagram(&mut self, worker: WorkerId, path: Path, bytes: &[u8]) {
        if path.protocol == Protocol::Tcp {
            let Some(connection) = self.connections.take(path.local) else { return };
            // Its descriptor leaves the poll set; the other worker adds it to its own.
            let _ = self.epoll.delete(connection.stream());
            let (stream, remote, read) = connection.into_parts(bytes);
            return self.give(worker, Handoff::Connection { stream, remote, read });
        }
        if let Some(datagram) = self.shared.misrouted(self.batch.now, path, bytes) {
            self.give(worker, Handoff::Misrouted(datagram));
        }
    }

    fn hand_over_media(&mut self, worker: WorkerId, track: TrackId, meta: &Meta, payload: &[u8]) {
        if let Some(packet) = self.shared.packet(self.batch.now, track, *meta, payload) {
            self.give(worker, Handoff::Media(packet));
        }
    }

    fn handed_over(&mut self) {
        self.ring();
    }

    fn path_verified(&mut self, path: Path) {
        if path.protocol == Protocol::Tcp {
            self.connections.authenticated(path.local);
        }
    }

    fn path_closed(&mut self, path: Path) {
        if path.protocol == Protocol::Tcp {
            self.close(path.local);
        }
    }

    fn forwarded(&mut self, track: TrackId) {
        self.forwards = self.forwards.wrapping_add(1);
        if self.forwards.is_multiple_of(WRITES_SAMPLED) {
            self.sampled.extend(self.writes.get(&track).cloned());
        }
    }
}

/// What one receive call of a socket has given.
pub(super) struct Received<'a> {
    pub(super) batch: &'a mut RecvBatch,
    /// The socket.
    pub(super) local: u32,
    pub(super) count: usize,
}

impl Datagrams for Received<'_> {
    fn count(&self) -> usize {
        self.count
    }
    fn datagram(&mut self, at: usize) -> Option<(Path, &mut [u8])> {
        let (bytes, remote) = self.batch.datagram(at)?;
        Some((Path { protocol: Protocol::Udp, local: self.local, remote }, bytes))
    }
    fn bytes(&self, at: usize, range: Range<usize>) -> &[u8] {
        self.batch.bytes(at, range)
    }
}
