//! What workers give each other: bounded queues of plain messages, a pool of packet buffers, and a bell.
use super::command::Command;
use super::counters::{Counters, Published};
use super::relay::RelayId;
use super::socket::RECV_SIZE;
use super::stalls::{LATE, STALE};
use super::steering::Steering;
use super::web::WebDoor;
use crossbeam_queue::ArrayQueue;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use rtcd_media::demux::Path;
use rtcd_media::dtls::Identity;
use rtcd_media::footprint::{Per, Tally};
use rtcd_media::sfu::Meta;
use rtcd_media::sfu::balance::Balance;
use rtcd_media::sfu::cache::MAX_PAYLOAD;
use rtcd_media::sfu::command::{TrackId, WorkerId};
use rtcd_media::sfu::switch::{self, Datagrams, Reflex};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::time::{Duration, Instant};

/// Commands that may wait for a worker: every session of a full machine changing twice at once.
const COMMANDS: usize = 16 * 1024;
/// Messages from other workers that may wait: 40 ms of 100,000 packets/s.
const HANDOFFS: usize = 4096;
/// Those beyond which pictures find no room: what is left is for voices.
const HANDOFFS_OF_PICTURES: usize = HANDOFFS / 4 * 3;
/// Packet buffers kept for reuse, over all workers, and those of whole datagrams.
const POOL: usize = 8192;
const MISROUTED_POOL: usize = 1024;

/// A place in a queue: a stamp stands beside what it holds.
const SLOT_OF_COMMAND: usize = size_of::<usize>() + size_of::<Command>();
const SLOT_OF_HANDOFF: usize = size_of::<usize>() + size_of::<Handoff>();
const SLOT_OF_PACKET: usize = 2 * size_of::<usize>();

/// A plain packet on its way to another worker.
pub struct MediaPacket {
    /// Which track.
    pub track: TrackId,
    /// When it was given.
    pub since: Instant,
    /// What it is.
    pub meta: Meta,
    /// Length of the payload.
    pub len: usize,
    /// The payload.
    pub payload: [u8; MAX_PAYLOAD],
}

impl MediaPacket {
    /// Whether it has lain here for too long: the worker does not keep up.
    pub fn is_late(&self, now: Instant) -> bool {
        let limit = if self.meta.codec.is_video() { LATE } else { STALE };
        now.saturating_duration_since(self.since) > limit
    }
}

/// A datagram on its way to the worker that its sender belongs to.
pub struct MisroutedDatagram {
    /// The way it came.
    pub path: Path,
    /// When it was given.
    pub since: Instant,
    /// Its length.
    pub len: usize,
    /// What it says.
    pub bytes: [u8; RECV_SIZE],
}

/// Some of them.
pub struct Misrouted<'a>(pub &'a mut [Box<MisroutedDatagram>]);

impl Datagrams for Misrouted<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn datagram(&mut self, at: usize) -> Option<(Path, &mut [u8])> {
        let datagram = &mut *self.0[at];
        Some((datagram.path, &mut datagram.bytes[..datagram.len]))
    }
    fn bytes(&self, at: usize, range: Range<usize>) -> &[u8] {
        &self.0[at].bytes[range]
    }
}

/// What one worker gives another.
pub enum Handoff {
    /// From switch to switch.
    Switch(switch::Handoff),
    /// A TCP connection that was accepted by the wrong worker.
    Connection {
        /// The socket.
        stream: TcpStream,
        /// The peer.
        remote: SocketAddr,
        /// What was read from it.
        read: Vec<u8>,
    },
    /// A packet for this worker's receivers.
    Media(Box<MediaPacket>),
    /// A packet of a peer of this worker.
    Misrouted(Box<MisroutedDatagram>),
    /// Another worker has no descriptor for a newcomer: a stranger's is to go.
    MakeRoom,
    /// A packet that leaves by way of a relay of this worker.
    Relayed {
        /// The way.
        path: Path,
        /// Whether it is worth a channel.
        binds: bool,
        /// What it says.
        bytes: Box<[u8]>,
    },
    /// An allocation has ended.
    RelayClosed(RelayId),
}

/// The letter box of one worker.
pub struct Inbox {
    commands: ArrayQueue<Command>,
    handoffs: ArrayQueue<Handoff>,
    bell: EventFd,
    /// The worker sleeps until the bell rings; else it looks into the box by itself before it does.
    waits: AtomicBool,
    /// What the worker counts.
    pub counters: Counters,
    /// What its switch counts, as of its last turn.
    switch: Published,
    /// The part of pictures that it has time for: the bits of a number.
    share: AtomicU64,
    /// Grows with every turn of the worker's loop.
    pub heartbeat: Arc<AtomicU64>,
}

/// A worker's queue is full: it is stuck, or the machine is far beyond its means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue of worker {} is full", .0.0)]
pub struct QueueFull(pub WorkerId);

impl Inbox {
    fn new() -> io::Result<Self> {
        Ok(Self {
            commands: ArrayQueue::new(COMMANDS),
            handoffs: ArrayQueue::new(HANDOFFS),
            bell: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            waits: AtomicBool::new(false),
            counters: Counters::default(),
            switch: Published::default(),
            share: AtomicU64::new(1f64.to_bits()),
            heartbeat: Arc::default(),
        })
    }
    /// Wakes the worker, if it does not look into the box soon without that.
    pub fn ring(&self) {
        // Whoever puts something in and then sees nobody wait, is seen by the one who is about to: its flag is up before it looks
        // into the box.
        fence(SeqCst);
        if self.waits.load(SeqCst) && self.waits.swap(false, SeqCst) {
            // The only error is a counter at its limit: the bell rings already.
            let _ = self.bell.write(1);
        }
    }
    /// From now on the bell rings for what is put into the box; false when something lies there already.
    pub fn begin_wait(&self) -> bool {
        self.waits.store(true, SeqCst);
        fence(SeqCst);
        self.commands.is_empty() && self.handoffs.is_empty()
    }
    /// The worker looks by itself again.
    pub fn end_wait(&self) {
        self.waits.store(false, SeqCst);
    }
    /// Sleeps for so long, or until the bell rings.
    pub fn listen(&self, lasting: Duration) {
        let mut bell = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        // A signal ends it early, as a turn too many.
        let _ = ppoll(&mut bell, Some(TimeSpec::from_duration(lasting)), None);
    }
    /// Silences the bell, then everything that lies in the box must be taken.
    pub fn silence(&self) {
        let _ = self.bell.read();
    }
    /// The bell, to wait for.
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }
    /// The next command.
    pub fn next_command(&self) -> Option<Command> {
        self.commands.pop()
    }
    /// Publishes what the worker's switch has counted, and the part of pictures that it has time for.
    pub fn publish(&self, counters: &switch::Counters, share: f64) {
        self.switch.store(counters);
        self.share.store(share.to_bits(), Relaxed);
    }
    /// The part of pictures that the worker has time for; 1 as a rule.
    pub fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Relaxed))
    }
    /// Names, meanings and values of everything that is counted here.
    pub fn counted(&self) -> Vec<(&'static str, &'static str, u64)> {
        [self.counters.snapshot(), self.switch.snapshot()].concat()
    }
    /// The next message of another worker.
    pub fn next_handoff(&self) -> Option<Handoff> {
        self.handoffs.pop()
    }
}

/// What all workers share.
pub struct Shared {
    /// Our certificate.
    pub identity: Identity,
    /// Packets kept per stream for retransmission.
    pub nack_buffer: usize,
    /// What is answered on data channels at once.
    pub reflex: Reflex,
    /// How many sessions each worker has.
    pub balance: Arc<Balance>,
    /// Whom the kernel is to bring elsewhere.
    pub steering: Steering,
    /// Where browsers go.
    pub web: WebDoor,
    inboxes: Box<[Inbox]>,
    pool: ArrayQueue<Box<MediaPacket>>,
    misrouted: ArrayQueue<Box<MisroutedDatagram>>,
}

impl Shared {
    /// Letter boxes for `workers` workers.
    pub fn new(identity: Identity, nack_buffer: usize, reflex: Reflex, workers: usize) -> io::Result<Self> {
        let inboxes = (0..workers).map(|_| Inbox::new()).collect::<io::Result<_>>()?;
        let balance = Arc::new(Balance::new(workers));
        Ok(Self {
            identity,
            nack_buffer,
            reflex,
            balance,
            steering: Steering::new(workers),
            web: WebDoor::default(),
            inboxes,
            pool: ArrayQueue::new(POOL),
            misrouted: ArrayQueue::new(MISROUTED_POOL),
        })
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.inboxes.len() as u8).map(WorkerId)
    }

    /// A worker's box.
    pub fn inbox(&self, worker: WorkerId) -> &Inbox {
        &self.inboxes[worker.0 as usize]
    }

    /// Adds the letter boxes and the pool of packets.
    pub fn count(&self, tally: &mut Tally) {
        let boxes = self.inboxes.len() * (COMMANDS * SLOT_OF_COMMAND + HANDOFFS * SLOT_OF_HANDOFF);
        tally.add(Per::Process, "letter boxes", self.inboxes.len(), boxes);
        let (steered, steering) = self.steering.held();
        tally.add(Per::Process, "steering", steered, steering);
        let (packets, datagrams) = (self.pool.len(), self.misrouted.len());
        let pooled = packets * size_of::<MediaPacket>() + datagrams * size_of::<MisroutedDatagram>();
        tally.add(
            Per::Process,
            "packet buffers",
            packets + datagrams,
            pooled + (POOL + MISROUTED_POOL) * SLOT_OF_PACKET,
        );
    }

    /// Puts a command into a worker's box and rings.
    pub fn command(&self, worker: WorkerId, command: Command) -> Result<(), QueueFull> {
        let inbox = self.inbox(worker);
        inbox.commands.push(command).map_err(|_| QueueFull(worker))?;
        inbox.ring();
        Ok(())
    }

    /// The same, for whoever keeps what there is no room for.
    pub fn offer(&self, worker: WorkerId, command: Command) -> Result<(), Command> {
        let inbox = self.inbox(worker);
        inbox.commands.push(command)?;
        inbox.ring();
        Ok(())
    }

    /// Puts a message into a worker's box without ringing, so that a batch rings once; false when it is full.
    pub fn hand_over(&self, worker: WorkerId, handoff: Handoff) -> bool {
        let queue = &self.inbox(worker).handoffs;
        let handoff = match handoff {
            Handoff::Media(packet) if packet.meta.codec.is_video() && queue.len() >= HANDOFFS_OF_PICTURES => {
                self.recycle(packet);
                return false;
            }
            other => other,
        };
        match queue.push(handoff) {
            Ok(()) => true,
            Err(Handoff::Media(packet)) => {
                self.recycle(packet);
                false
            }
            Err(Handoff::Misrouted(datagram)) => {
                self.recycle_misrouted(datagram);
                false
            }
            Err(_) => false,
        }
    }

    /// A packet buffer that is given to another worker at `now`, from the pool if there is one.
    pub fn packet(&self, now: Instant, track: TrackId, meta: Meta, payload: &[u8]) -> Option<Box<MediaPacket>> {
        if payload.len() > MAX_PAYLOAD {
            return None;
        }
        let fresh = || Box::new(MediaPacket { track, since: now, meta, len: 0, payload: [0; MAX_PAYLOAD] });
        let mut packet = self.pool.pop().unwrap_or_else(fresh);
        (packet.track, packet.since) = (track, now);
        packet.meta = meta;
        packet.len = payload.len();
        packet.payload[..payload.len()].copy_from_slice(payload);
        Some(packet)
    }

    /// The same for a datagram of another worker's peer.
    pub fn misrouted(&self, now: Instant, path: Path, bytes: &[u8]) -> Option<Box<MisroutedDatagram>> {
        if bytes.len() > RECV_SIZE {
            return None;
        }
        let fresh = || Box::new(MisroutedDatagram { path, since: now, len: 0, bytes: [0; RECV_SIZE] });
        let mut datagram = self.misrouted.pop().unwrap_or_else(fresh);
        (datagram.path, datagram.since, datagram.len) = (path, now, bytes.len());
        datagram.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(datagram)
    }

    /// Gives its buffer back.
    pub fn recycle_misrouted(&self, datagram: Box<MisroutedDatagram>) {
        let _ = self.misrouted.push(datagram);
    }

    /// Gives a packet buffer back.
    pub fn recycle(&self, packet: Box<MediaPacket>) {
        // A full pool lets it go.
        let _ = self.pool.push(packet);
    }
}
