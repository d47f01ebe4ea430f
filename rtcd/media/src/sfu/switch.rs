//! The SFU of one worker as one sans-IO machine: it owns what the worker knows of its peers (registrations, paths,
//! transports), the forward table with its caches, feedback, key frame requests, and all their deadlines.
//!
//! Datagrams, commands and what other workers have handed over go in with `now`; packets leave through a [`Sink`], which
//! lends slots of a batch. A packet's way: `ingress` (demux, which peer or worker) -> [`peer`] (unprotect, which track) ->
//! [`forward`] (per receiver: rewrite, protect). RTCP takes `feedback`, what control says `control`.
mod admission;
mod control;
mod counters;
mod describe;
mod early;
mod feedback;
mod forward;
mod handover;
mod held;
mod ingress;
mod keep;
mod layers;
mod opening;
mod paced;
mod peer;
mod sink;

pub use counters::Counters;
pub use describe::{PeerStatus, ReceivedStatus, SentStatus};
pub use handover::{PeerRecord, RegistrationRecord, Route, SwitchRecord, SwitchStart, TrackRecord};
pub use keep::{Change, KeptPeer, read_numbers};
pub use opening::LocalSocket;
pub use peer::{PeerNumbers, REPORT_INTERVAL};
pub use sink::{Age, Class, Datagrams, SLOT_SIZE, Sink};

use super::balance::Balance;
use super::bandwidth::Bandwidth;
use super::command::{Claim, Event, Open, TrackId, TransportId, WorkerId};
use super::overload::Overload;
use super::receive::ClockReference;
use super::{Layer, Meta};
use crate::demux::Path;
use crate::dtls::Identity;
use crate::footprint::Footprint;
use crate::timers::Timers;
use crate::token_bucket::TokenBucket;
use crate::transport::{CloseReason, TransportEvent};
use early::EarlyChecks;
use forward::ForwardTrack;
use keep::Keeping;
use opening::Openings;
use peer::Peer;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a switch is made of.
#[derive(Clone)]
pub struct SwitchConfig {
    /// Whose switch it is.
    pub worker: WorkerId,
    /// Our certificate.
    pub identity: Identity,
    /// Packets kept per stream for retransmission: 0 or a power of two.
    pub nack_buffer: usize,
    /// What is answered on a data channel without asking anybody.
    pub reflex: Reflex,
    /// How many sessions each worker has, known to all.
    pub balance: Arc<Balance>,
}

/// The answer to a message (whether it is text, and what it says) that needs no thought, of the same kind: most of what comes
/// over data channels asks whether anybody is there. `None`: control decides.
pub type Reflex = fn(bool, &[u8]) -> Option<&'static [u8]>;

/// What one switch gives another.
#[derive(Debug, PartialEq, Eq)]
pub enum Handoff {
    /// The sender's clock of a layer.
    Clock {
        /// Which track.
        track: TrackId,
        /// Which layer.
        layer: Layer,
        /// What the sender said.
        clock: ClockReference,
    },
    /// A receiver needs a key frame from a sender of that worker.
    Keyframe {
        /// The sender.
        transport: TransportId,
        /// The track.
        track: TrackId,
        /// The layer.
        layer: Layer,
    },
}

/// A transport that is waited for, as every worker knows it.
struct Registration {
    open: Arc<Open>,
    /// Our password for this ufrag: a restart makes another.
    password: String,
    /// Counts restarts of ICE.
    generation: u32,
    claim: Arc<Claim>,
}

/// What it announces is behind one counter for all workers: each counts all of it.
impl Footprint for Registration {
    fn heap_bytes(&self) -> usize {
        size_of::<Open>() + self.open.heap_bytes() + self.password.heap_bytes() + size_of::<Claim>()
    }
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// A peer of this worker.
    Peer(usize),
    /// Another worker.
    Worker(TransportId, WorkerId),
}

/// Packets that go out in one turn beside those of voices, while there is not time for everything: a part of a millisecond.
const SHORT_TURN: u64 = 64;

/// A packet of the current batch that waits to be forwarded.
struct Pending {
    forward: usize,
    datagram: usize,
    payload: Range<usize>,
    meta: Meta,
}

/// The SFU of one worker. After the inputs of a turn call [`settle`](Self::settle), drain [`poll_event`](Self::poll_event),
/// and sleep until [`next_timeout`](Self::next_timeout).
pub struct Switch {
    config: SwitchConfig,
    counters: Counters,
    /// Checks whose transport has not been announced yet.
    early: EarlyChecks<Path>,
    peers: Slab<Peer>,
    peers_by_id: HashMap<TransportId, usize>,
    registrations: HashMap<Box<str>, Registration>,
    /// Checks of ours for those from whom none has come yet.
    openings: Openings,
    paths: HashMap<Path, Owner>,
    /// Who is heard here and belongs to another worker has changed since it was [asked](Self::take_foreign).
    has_foreign_news: bool,
    tracks: Slab<ForwardTrack>,
    tracks_by_id: HashMap<TrackId, usize>,
    timers: Timers<usize>,
    pending: Vec<Pending>,
    /// When a peer of ours has sent media last, or one of another worker to a socket of ours.
    last_media: Option<Instant>,
    /// Whether there is time for everything.
    overload: Overload,
    /// Peers whose output and deadlines are looked at before the turn ends.
    touched: Vec<usize>,
    /// A compound packet under construction.
    rtcp: Vec<u8>,
    /// Tokens for STUN requests without credentials.
    anonymous: TokenBucket,
    events: VecDeque<Event>,
    /// What is to be written down for whoever goes on after a crash.
    keeping: Keeping,
    /// The peer that is being worked for: a panic ends it alone.
    current: Option<usize>,
    /// The track that is being forwarded.
    forwarding: Option<usize>,
}

impl Switch {
    /// A switch that knows nobody.
    pub fn new(config: SwitchConfig, now: Instant) -> Self {
        Self {
            config,
            counters: Counters::default(),
            early: EarlyChecks::default(),
            peers: Slab::new(),
            peers_by_id: HashMap::new(),
            registrations: HashMap::new(),
            openings: Openings::new(now),
            paths: HashMap::new(),
            has_foreign_news: false,
            tracks: Slab::new(),
            tracks_by_id: HashMap::new(),
            timers: Timers::default(),
            pending: Vec::new(),
            last_media: None,
            overload: Overload::new(now),
            touched: Vec::new(),
            rtcp: Vec::new(),
            anonymous: TokenBucket::new(ingress::ANONYMOUS_PER_SECOND, ingress::ANONYMOUS_BURST, now),
            events: VecDeque::new(),
            keeping: Keeping::default(),
            current: None,
            forwarding: None,
        }
    }

    /// What it has counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When a peer of this worker has sent media last that was authentic and wanted, or media for another worker has come here.
    pub fn last_media(&self) -> Option<Instant> {
        self.last_media
    }

    /// Until `now` the worker has worked for so long since it last said so, with what it had to wait for the processor.
    #[inline]
    pub fn note_work(&mut self, now: Instant, worked: Duration) {
        self.overload.note(now, worked);
    }

    /// The part of what pictures would take that receivers here are sent, as there is not time for more; 1 as a rule.
    pub fn share(&self) -> f64 {
        self.overload.share()
    }

    /// Whether anybody here sends or receives the track.
    pub fn knows_track(&self, track: TrackId) -> bool {
        self.tracks_by_id.contains_key(&track)
    }

    /// What a peer of this worker can be sent, by what it has reported; `None` unless it receives pictures.
    pub fn bandwidth(&self, transport: TransportId) -> Option<&Bandwidth> {
        let key = self.peers_by_id.get(&transport)?;
        self.peers.get(*key)?.sending.as_ref().map(|sending| &sending.bandwidth)
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink) {
        // Where there is not time for everything a turn is short, so that the next voice is read soon.
        let enough = if self.overload.is_on() { self.counters.forwarded + SHORT_TURN } else { u64::MAX };
        while self.counters.forwarded < enough
            && let Some((at, key)) = self.timers.pop_due(now)
        {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if peer.scheduled != Some(at) {
                continue;
            }
            peer.scheduled = None;
            self.current = Some(key);
            peer.transport.handle_timeout(now);
            self.send_feedback(now, key, sink);
            self.send_what_waits(now, key, sink);
            self.touch(key);
        }
        self.current = None;
        self.counters.stun_refused += self.early.expire(now);
        self.send_opening_checks(now, sink);
    }

    /// Whether something is due that there was no time for in this turn.
    pub fn is_behind(&self, now: Instant) -> bool {
        self.overload.is_on() && self.timers.next().is_some_and(|at| at <= now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.early.next_timeout(), self.openings.next_timeout()].into_iter().flatten().min()
    }

    /// Ends a turn: answers what could not be answered before, sends what transports have to say, notes deadlines.
    pub fn settle(&mut self, now: Instant, sink: &mut impl Sink) {
        self.answer_early_checks(now, sink);
        while let Some(key) = self.touched.pop() {
            self.current = Some(key);
            self.drain_peer(now, key, sink);
        }
        self.current = None;
        self.config.balance.note(self.config.worker, self.peers.len(), self.overload.load());
    }

    /// The next event for control.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Notes that a peer's output and deadlines are to be looked at before the turn ends.
    fn touch(&mut self, key: usize) {
        if let Some(peer) = self.peers.get_mut(key)
            && !std::mem::replace(&mut peer.touched, true)
        {
            self.touched.push(key);
        }
    }

    /// Takes what a peer's transport has to say, and its next deadline.
    fn drain_peer(&mut self, now: Instant, key: usize, sink: &mut impl Sink) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.touched = false;
        let mut closed = false;
        while let Some(event) = peer.transport.poll_event() {
            if let TransportEvent::Message { text, data } = &event
                && let Some(answer) = (self.config.reflex)(*text, data)
            {
                // A peer that does not read has ended its session by that: the event follows.
                let _ = peer.transport.send(now, *text, answer);
                continue;
            }
            closed |= matches!(event, TransportEvent::Closed(_));
            self.events.push_back(Event::Transport { transport: peer.id, event });
        }
        while let Some((path, bytes)) = peer.transport.poll_datagram() {
            sink.send(path, &bytes);
        }
        let next = peer.next_timeout(now);
        self.timers.schedule(key, next, &mut peer.scheduled);
        let id = peer.id;
        if closed {
            self.remove_transport(id, sink);
        }
    }

    /// A bug of ours has cut a turn short: the session that it happened in ends, everything else goes on.
    pub fn handle_panic(&mut self, sink: &mut impl Sink) {
        self.counters.panics += 1;
        self.pending.clear();
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
            self.events.push_back(Event::closed(id, CloseReason::Local));
            if self.peers_by_id.contains_key(&id) {
                self.remove_transport(id, sink);
            }
        }
    }
}
