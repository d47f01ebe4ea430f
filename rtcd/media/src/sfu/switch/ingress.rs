//! The way in: what arrives is told apart, looked up, and given to its peer or to the worker that owns it.
use super::peer::Ingested;
use super::sink::{Age, Datagrams, Single, Sink};
use super::{Handoff, Owner, Pending, Switch};
use crate::demux::{Kind, Path, Protocol, kind};
use crate::ice::{Check, MAX_PATHS};
use crate::sfu::Meta;
use crate::sfu::command::{Claim, Open, TrackId, TransportId, WorkerId};
use crate::stun::{Answer, IntegrityKey, Request, is_answer};
use std::sync::Arc;
use std::time::Instant;

/// Answers a second, and at once, to STUN requests without credentials, per worker.
pub(super) const ANONYMOUS_PER_SECOND: f64 = 100.0;
pub(super) const ANONYMOUS_BURST: f64 = 50.0;

impl Switch {
    /// Handles what one receive call gave, then forwards its media. `age` says whether media among it is worth that.
    pub fn handle_batch(&mut self, now: Instant, batch: &mut impl Datagrams, age: Age, sink: &mut impl Sink) {
        for at in 0..batch.count() {
            if let Some((path, bytes)) = batch.datagram(at) {
                self.take_datagram(now, path, bytes, at, age, sink);
            }
        }
        self.forward_pending(now, batch, sink);
    }

    /// Handles one datagram.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &mut [u8], age: Age, sink: &mut impl Sink) {
        self.handle_batch(now, &mut Single { path, bytes }, age, sink);
    }

    /// Handles one datagram; media is left in `pending` under `index`.
    fn take_datagram(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &mut [u8],
        index: usize,
        age: Age,
        sink: &mut impl Sink,
    ) {
        let kind = kind(bytes);
        if kind == Kind::Stun {
            return self.handle_stun(now, path, bytes, sink);
        }
        let owner = self.paths.get(&path).copied();
        let key = match owner {
            Some(Owner::Peer(key)) => key,
            Some(Owner::Worker(..)) if kind == Kind::Rtp && age == Age::Stale => {
                self.counters.media_stale += 1;
                return;
            }
            Some(Owner::Worker(_, worker)) => {
                self.counters.misrouted += 1;
                if kind == Kind::Rtp {
                    // Whoever waits for it waits for this worker, too.
                    self.last_media = Some(now);
                }
                return sink.hand_over_datagram(worker, path, bytes);
            }
            None => {
                self.counters.stray += 1;
                return;
            }
        };
        self.current = Some(key);
        match kind {
            Kind::Rtp if age == Age::Stale => self.counters.media_stale += 1,
            Kind::Rtp => self.ingest(now, key, bytes, index, age),
            Kind::Rtcp => self.handle_rtcp(now, key, bytes, sink),
            Kind::Dtls => {
                if let Some(peer) = self.peers.get_mut(key)
                    && !peer.transport.handle_dtls(now, &self.config.identity, &path, bytes)
                {
                    self.counters.dtls_refused += 1;
                }
                self.touch(key);
            }
            Kind::Stun | Kind::Other => {}
        }
        self.current = None;
    }

    fn ingest(&mut self, now: Instant, key: usize, bytes: &mut [u8], index: usize, age: Age) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let was_touched = peer.touched;
        let ingested = peer.ingest(now, bytes, &mut self.counters, &mut self.events);
        if peer.touched && !was_touched {
            self.touched.push(key);
        }
        let Some(Ingested { forward, meta, payload }) = ingested else { return };
        self.last_media = Some(now);
        if age == Age::Late && meta.codec.is_video() {
            self.counters.media_late += 1;
            return;
        }
        self.pending.push(Pending { forward, datagram: index, payload, meta });
    }

    /// Forwards the media of a batch, voices first: per track, per receiver, all packets, so that they leave together.
    fn forward_pending(&mut self, now: Instant, batch: &impl Datagrams, sink: &mut impl Sink) {
        let mut pending = std::mem::take(&mut self.pending);
        // Order of arrival within a track.
        pending.sort_unstable_by_key(|packet| (packet.meta.codec.is_video(), packet.forward, packet.datagram));
        let of = |packets: &[Pending], at: usize| -> (Meta, &[u8]) {
            let packet = &packets[at];
            (packet.meta, batch.bytes(packet.datagram, packet.payload.clone()))
        };
        let by_track = || pending.chunk_by(|a, b| a.forward == b.forward);
        // Other workers send while this one does.
        let mut handed_over = false;
        for packets in by_track() {
            handed_over |= self.hand_over_packets(packets[0].forward, packets.len(), |at| of(packets, at), sink);
        }
        if handed_over {
            sink.handed_over();
        }
        for packets in by_track() {
            self.forward_packets(now, packets[0].forward, packets.len(), |at| of(packets, at), sink);
        }
        pending.clear();
        self.pending = pending;
    }

    /// Forwards `count` packets of one track, given by `packet`, that another worker has handed over.
    pub fn handle_media<'b>(
        &mut self,
        now: Instant,
        track: TrackId,
        count: usize,
        packet: impl Fn(usize) -> (Meta, &'b [u8]),
        sink: &mut impl Sink,
    ) {
        if let Some(forward) = self.tracks_by_id.get(&track).copied() {
            self.forward_packets(now, forward, count, packet, sink);
        }
    }

    /// A packet of media that another worker has handed over lay there for too long.
    pub fn handle_stale_media(&mut self) {
        self.counters.media_stale += 1;
    }

    /// A packet of media that another worker has handed over lay there for a while: this worker does not keep up.
    pub fn handle_late_media(&mut self) {
        self.counters.media_late += 1;
    }

    /// What another worker has given us.
    pub fn handle_handoff(&mut self, now: Instant, handoff: Handoff, sink: &mut impl Sink) {
        match handoff {
            Handoff::Clock { track, layer, clock } => {
                let place = self.tracks_by_id.get(&track).copied();
                if let Some(known) = place.and_then(|at| self.tracks[at].clocks.get_mut(layer.0 as usize)) {
                    *known = Some(clock);
                }
            }
            Handoff::Keyframe { transport, track, layer } => {
                if let Some(key) = self.peers_by_id.get(&transport).copied() {
                    self.request_keyframe(now, key, track, layer, sink);
                }
            }
        }
    }

    /// An allocation has ended: no path over it leads anywhere.
    pub fn handle_relay_closed(&mut self, relay: u32) {
        let over_it = |path: &&Path| path.protocol == Protocol::Relay && path.local == relay;
        let gone: Vec<Path> = self.paths.keys().filter(over_it).copied().collect();
        gone.into_iter().for_each(|path| self.handle_path_closed(path));
    }

    /// A connection has closed: its path leads nowhere.
    pub fn handle_path_closed(&mut self, path: Path) {
        self.early.forget_path(&path);
        if let Some(Owner::Peer(key)) = self.paths.remove(&path)
            && let Some(peer) = self.peers.get_mut(key)
        {
            peer.transport.forget_path(&path);
        }
    }

    /// The paths that have led here and belong to peers of other workers, when those have changed: whoever brings packets may
    /// bring theirs to their own worker.
    pub fn take_foreign(&mut self) -> Option<impl Iterator<Item = (Path, WorkerId)>> {
        let foreign = |(path, owner): (&Path, &Owner)| match owner {
            Owner::Worker(_, worker) => Some((*path, *worker)),
            Owner::Peer(_) => None,
        };
        std::mem::take(&mut self.has_foreign_news).then(|| self.paths.iter().filter_map(foreign))
    }

    fn handle_stun(&mut self, now: Instant, path: Path, bytes: &[u8], sink: &mut impl Sink) {
        // Answers to checks that opened the way: a lite agent learns nothing from them.
        if is_answer(bytes) {
            return;
        }
        let Some(request) = Request::parse(bytes) else {
            self.counters.stun_refused += 1;
            return;
        };
        if request.is_anonymous() {
            return self.answer_anonymous(now, path, &request, sink);
        }
        let Some((ufrag, _)) = request.ufrags() else {
            self.counters.stun_refused += 1;
            return;
        };
        let Some(registration) = self.registrations.get(ufrag) else {
            // The command may be on its way to us.
            self.counters.stun_refused += self.early.hold(now, path, path.remote, ufrag, bytes);
            return;
        };
        // Nobody claims a transport, moves a packet or learns an address for a request that is not authentic.
        if !request.verify(&IntegrityKey::new(&registration.password)) {
            self.counters.stun_refused += 1;
            return;
        }
        let (open, claim) = (registration.open.clone(), registration.claim.clone());
        match self.owner_of(now, &open, &claim) {
            Owner::Peer(key) => self.handle_check(now, key, path, &request, sink),
            Owner::Worker(transport, worker) => {
                // A connection moves as a whole.
                if path.protocol != Protocol::Tcp {
                    self.counters.misrouted += 1;
                    self.remember_foreign(path, transport, worker);
                }
                sink.hand_over_datagram(worker, path, bytes);
            }
        }
    }

    /// Checks that came before the command that announces their transport are answered now.
    pub(super) fn answer_early_checks(&mut self, now: Instant, sink: &mut impl Sink) {
        if self.early.is_empty() {
            return;
        }
        let registrations = &self.registrations;
        for early in self.early.take(|ufrag| registrations.contains_key(ufrag)) {
            self.handle_stun(now, early.path, &early.bytes, sink);
        }
    }

    fn owner_of(&mut self, now: Instant, open: &Arc<Open>, claim: &Claim) -> Owner {
        if let Some(key) = self.peers_by_id.get(&open.transport) {
            return Owner::Peer(*key);
        }
        let (worker, balance) = (self.config.worker, &self.config.balance);
        let owner = claim.owner().unwrap_or_else(|| claim.claim(balance.place(worker, claim.home())));
        if owner == self.config.worker {
            Owner::Peer(self.adopt(now, open))
        } else {
            Owner::Worker(open.transport, owner)
        }
    }

    /// Which worker a path belongs to. As many paths as the transport itself keeps, or a participant could make us
    /// remember addresses without end.
    fn remember_foreign(&mut self, path: Path, transport: TransportId, worker: WorkerId) {
        if !self.paths.contains_key(&path) {
            let of_transport = |(path, owner): (&Path, &Owner)| match owner {
                Owner::Worker(id, _) if *id == transport => Some(*path),
                Owner::Worker(..) | Owner::Peer(_) => None,
            };
            let known: Vec<Path> = self.paths.iter().filter_map(of_transport).collect();
            if known.len() >= MAX_PATHS {
                self.paths.remove(&known[0]);
            }
        }
        let before = self.paths.insert(path, Owner::Worker(transport, worker));
        self.has_foreign_news |= !matches!(before, Some(Owner::Worker(_, known)) if known == worker);
    }

    fn handle_check(&mut self, now: Instant, key: usize, path: Path, request: &Request<'_>, sink: &mut impl Sink) {
        self.current = Some(key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let (check, answer) = peer.transport.handle_check(now, &self.config.identity, path, request);
        // A path that another transport has used since is this one's again: addresses are handed on by NATs.
        let is_ours = matches!(self.paths.get(&path), Some(Owner::Peer(owner)) if *owner == key);
        if matches!(check, Check::Accepted { .. }) && !is_ours {
            let known: Vec<Path> = peer.transport.ice().paths().to_vec();
            // The agent may have forgotten an old path to make room; a connection without a path is of no use.
            let is_forgotten = |path: &Path, owner: &Owner| {
                matches!(owner, Owner::Peer(peer) if *peer == key) && !known.contains(path)
            };
            let forgotten: Vec<Path> =
                self.paths.iter().filter(|(path, owner)| is_forgotten(path, owner)).map(|(path, _)| *path).collect();
            for old in forgotten {
                self.paths.remove(&old);
                sink.path_closed(old);
            }
            let before = self.paths.insert(path, Owner::Peer(key));
            self.has_foreign_news |= matches!(before, Some(Owner::Worker(..)));
            sink.path_verified(path);
        }
        if let Some(answer) = answer {
            sink.send(path, answer.as_ref());
        }
        self.touch(key);
        self.current = None;
    }

    /// A question for one's own address: answered when the answer is no longer than the question, so that nobody is
    /// amplified, and not too often.
    fn answer_anonymous(&mut self, now: Instant, path: Path, request: &Request<'_>, sink: &mut impl Sink) {
        let answer = Answer::success(&request.transaction, path.remote, None);
        if answer.as_ref().len() > request.wire_len() || !self.anonymous.take(now) {
            self.counters.stun_limited += 1;
            return;
        }
        self.counters.stun_anonymous += 1;
        sink.send(path, answer.as_ref());
    }
}
