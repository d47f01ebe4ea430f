//! The way in: what arrives is told apart, looked up, and given to its peer or to the worker that owns it.
use super::command::{Open, TransportId};
use super::counters::count;
use super::forward::Outlet;
use super::handoff::Handoff;
use super::socket::RecvBatch;
use super::tcp::Connection;
use super::worker::{Claim, Owner, Pending, Worker};
use crate::source::Source;
use rtcd_media::demux::{Kind, Path, Protocol, kind};
use rtcd_media::ice::{Check, MAX_PATHS};
use rtcd_media::stun::{Answer, IntegrityKey, Request};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Answers a second, and at once, to STUN requests without credentials, per worker.
const ANONYMOUS_PER_SECOND: f64 = 100.0;
const ANONYMOUS_BURST: f64 = 50.0;
/// One in so many forwarded groups of packets is timed.
const WRITES_SAMPLED: u32 = 16;

impl Worker {
    /// Handles what one receive call gave, then forwards its media.
    pub(super) fn handle_batch(&mut self, now: Instant, local: u32, received: &mut RecvBatch, count_: usize) {
        for index in 0..count_ {
            let Some((bytes, remote)) = received.datagram(index) else {
                count(&self.shared.inbox(self.id).counters.too_long);
                continue;
            };
            let path = Path { protocol: Protocol::Udp, local, remote };
            self.handle_datagram(now, path, bytes, index);
        }
        self.forward_pending(now, received);
        let counters = &self.shared.inbox(self.id).counters;
        counters.received.fetch_add(count_ as u64, Relaxed);
    }

    /// Handles one datagram; media is left in [`Worker::pending`] under `index`.
    pub(super) fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &mut [u8], index: usize) {
        let kind = kind(bytes);
        if kind == Kind::Stun {
            return self.handle_stun(now, path, bytes);
        }
        let owner = self.paths.get(&path).copied();
        let key = match owner {
            Some(Owner::Peer(key)) => key,
            Some(Owner::Worker(_, worker)) => {
                return self.hand_over(worker, Handoff::Datagram { path, bytes: (&*bytes).into() });
            }
            None => return count(&self.shared.inbox(self.id).counters.stray),
        };
        self.current = Some(key);
        match kind {
            Kind::Rtp if self.discards_media => count(&self.shared.inbox(self.id).counters.media_stale),
            Kind::Rtp => self.ingest(now, key, bytes, index),
            Kind::Rtcp => self.handle_rtcp(now, key, bytes),
            Kind::Dtls => {
                if let Some(peer) = self.peers.get_mut(key)
                    && !peer.transport.handle_dtls(now, &path, bytes)
                {
                    count(&self.shared.inbox(self.id).counters.dtls_refused);
                }
                self.touch(key);
            }
            Kind::Stun | Kind::Other => {}
        }
        self.current = None;
    }

    fn ingest(&mut self, now: Instant, key: usize, bytes: &mut [u8], index: usize) {
        let counters = &self.shared.inbox(self.id).counters;
        let Some(peer) = self.peers.get_mut(key) else { return };
        let was_touched = peer.touched;
        let ingested = peer.ingest(now, bytes, counters, &mut self.events);
        if peer.touched && !was_touched {
            self.touched.push(key);
        }
        let Some(ingested) = ingested else { return };
        let super::peer::Ingested { forward, meta, payload } = ingested;
        self.pending.push(Pending { forward, datagram: index, payload, meta });
    }

    /// Forwards the media of a batch: per track, per receiver, all packets, so that they leave together.
    pub(super) fn forward_pending(&mut self, now: Instant, received: &RecvBatch) {
        let mut pending = std::mem::take(&mut self.pending);
        // Order of arrival within a track.
        pending.sort_unstable_by_key(|packet| (packet.forward, packet.datagram));
        for packets in pending.chunk_by(|a, b| a.forward == b.forward) {
            self.forward_packets(now, packets[0].forward, packets.len(), |at| {
                let packet = &packets[at];
                (packet.meta, received.bytes(packet.datagram, packet.payload.clone()))
            });
        }
        pending.clear();
        self.pending = pending;
    }

    /// Forwards `count` packets of one track, given by `packet`.
    pub(super) fn forward_packets<'b>(
        &mut self,
        now: Instant,
        forward: usize,
        count: usize,
        packet: impl Fn(usize) -> (rtcd_media::sfu::Meta, &'b [u8]),
    ) {
        let shared = self.shared.clone();
        let Some(track) = self.tracks.get_mut(forward) else { return };
        let (id, remote) = (track.id, track.remote);
        self.forwards = self.forwards.wrapping_add(1);
        if self.forwards.is_multiple_of(WRITES_SAMPLED) && !track.receivers.is_empty() {
            self.sampled.extend(track.writes.clone());
        }
        for at in 0..count {
            let (meta, payload) = packet(at);
            track.keep(meta, payload);
        }
        let mut outlet = Outlet {
            peers: &mut self.peers,
            batch: &mut self.batch,
            sockets: &mut self.sockets,
            connections: &mut self.connections,
            counters: &shared.inbox(self.id).counters,
        };
        self.forwarding = Some(forward);
        for receiver in &mut track.receivers {
            // A panic ends one session, see `after_panic`.
            self.current = Some(receiver.peer);
            for at in 0..count {
                let (meta, payload) = packet(at);
                outlet.forward(now, receiver, &track.clocks, &meta, payload);
            }
        }
        (self.current, self.forwarding) = (None, None);
        for worker in remote.iter() {
            for at in 0..count {
                let (meta, payload) = packet(at);
                if let Some(copy) = shared.packet(id, meta, payload) {
                    self.hand_over(worker, Handoff::Media(copy));
                }
            }
        }
    }

    /// Forwards what other workers have given: per track, per receiver, all packets, so that they leave together.
    pub(super) fn forward_media(&mut self, now: Instant) {
        if self.media.is_empty() {
            return;
        }
        let mut media = std::mem::take(&mut self.media);
        // Stable: the order of arrival within a track stays.
        media.sort_by_key(|packet| packet.track);
        for packets in media.chunk_by(|a, b| a.track == b.track) {
            let Some(forward) = self.tracks_by_id.get(&packets[0].track).copied() else { continue };
            self.forward_packets(now, forward, packets.len(), |at| {
                let packet = &packets[at];
                (packet.meta, &packet.payload[..packet.len])
            });
        }
        media.drain(..).for_each(|packet| self.shared.recycle(packet));
        self.media = media;
    }

    /// What another worker has given us.
    pub(super) fn handle_handoff(&mut self, now: Instant, handoff: Handoff) {
        match handoff {
            Handoff::Datagram { path, mut bytes } => self.handle_alone(now, path, &mut bytes),
            Handoff::Connection { stream, remote, read } => {
                if let Ok(connection) = Connection::new(stream, remote, read, now) {
                    let mut frame = vec![0; super::socket::RECV_SIZE];
                    let id = self.add_connection(connection);
                    self.read_frames(now, id, &mut frame);
                }
            }
            Handoff::Media(packet) if self.stalls.is_catching_up(now) => {
                count(&self.shared.inbox(self.id).counters.media_stale);
                self.shared.recycle(packet);
            }
            Handoff::Media(packet) => self.media.push(packet),
            Handoff::Clock { track, layer, clock } => {
                let place = self.tracks_by_id.get(&track).copied();
                if let Some(known) = place.and_then(|at| self.tracks[at].clocks.get_mut(layer.0 as usize)) {
                    *known = Some(clock);
                }
            }
            Handoff::Keyframe { transport, track, layer } => {
                if let Some(key) = self.peers_by_id.get(&transport).copied() {
                    self.request_keyframe(now, key, track, layer);
                }
            }
        }
    }

    /// Handles a datagram that did not come in a receive batch.
    pub(super) fn handle_alone(&mut self, now: Instant, path: Path, bytes: &mut [u8]) {
        self.handle_datagram(now, path, bytes, 0);
        let mut pending = std::mem::take(&mut self.pending);
        for packet in pending.drain(..) {
            let payload = &bytes[packet.payload.clone()];
            self.forward_packets(now, packet.forward, 1, |_| (packet.meta, payload));
        }
        self.pending = pending;
    }

    fn handle_stun(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        let shared = self.shared.clone();
        let refused = &shared.inbox(self.id).counters.stun_refused;
        let Some(request) = Request::parse(bytes) else { return count(refused) };
        if request.is_anonymous() {
            return self.answer_anonymous(now, path, &request);
        }
        let Some((ufrag, _)) = request.ufrags() else { return count(refused) };
        let Some(registration) = self.registrations.get(ufrag) else {
            // The command may be on its way to us.
            let dropped = self.early.hold(now, path, path.remote, ufrag, bytes);
            refused.fetch_add(dropped, Relaxed);
            return;
        };
        // Nobody claims a transport, moves a packet or learns an address for a request that is not authentic.
        if !request.verify(&IntegrityKey::new(&registration.password)) {
            return count(refused);
        }
        let (open, claim) = (registration.open.clone(), registration.claim.clone());
        match self.owner_of(now, &open, &claim) {
            Owner::Peer(key) => self.handle_check(now, key, path, &request),
            Owner::Worker(transport, worker) => self.hand_over_check(path, transport, worker, bytes),
        }
    }

    /// Checks that came before the command that announces their transport are answered now; others have had their time.
    pub(super) fn answer_early_checks(&mut self, now: Instant) {
        if self.early.is_empty() {
            return;
        }
        let registrations = &self.registrations;
        for early in self.early.take(|ufrag| registrations.contains_key(ufrag)) {
            // A connection may have closed meanwhile.
            if early.path.protocol == Protocol::Udp || self.connections.contains_key(&early.path.local) {
                self.handle_stun(now, early.path, &early.bytes);
            }
        }
        let expired = self.early.expire(now);
        self.shared.inbox(self.id).counters.stun_refused.fetch_add(expired, Relaxed);
    }

    fn owner_of(&mut self, now: Instant, open: &Arc<Open>, claim: &Claim) -> Owner {
        if let Some(key) = self.peers_by_id.get(&open.transport) {
            return Owner::Peer(*key);
        }
        let owner = claim.claim(self.id);
        if owner == self.id { Owner::Peer(self.adopt(now, open)) } else { Owner::Worker(open.transport, owner) }
    }

    /// Which worker a path belongs to. As many paths as the transport itself keeps, or a participant could make us
    /// remember addresses without end.
    fn remember_foreign(&mut self, path: Path, transport: TransportId, worker: super::command::WorkerId) {
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
        self.paths.insert(path, Owner::Worker(transport, worker));
    }

    fn hand_over_check(&mut self, path: Path, transport: TransportId, worker: super::command::WorkerId, bytes: &[u8]) {
        match path.protocol {
            Protocol::Udp => {
                self.remember_foreign(path, transport, worker);
                self.hand_over(worker, Handoff::Datagram { path, bytes: bytes.into() });
            }
            Protocol::Tcp => {
                let Some(connection) = self.connections.remove(&path.local) else { return };
                // Its descriptor leaves the poll set; the other worker adds it to its own.
                let _ = self.epoll.delete(connection.stream());
                self.strangers.remove(Source::from(connection.remote()), path.local);
                let (stream, remote, read) = connection.into_parts(bytes);
                self.hand_over(worker, Handoff::Connection { stream, remote, read });
            }
        }
    }

    fn handle_check(&mut self, now: Instant, key: usize, path: Path, request: &Request<'_>) {
        self.current = Some(key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let (check, answer) = peer.transport.handle_check(now, path, request);
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
                if old.protocol == Protocol::Tcp {
                    self.drop_connection(old.local);
                }
            }
            self.paths.insert(path, Owner::Peer(key));
            if let Some(connection) = self.connections.get_mut(&path.local).filter(|_| path.protocol == Protocol::Tcp) {
                connection.deadline = None;
                self.strangers.remove(Source::from(path.remote), path.local);
            }
        }
        if let Some(answer) = answer {
            let shared = self.shared.clone();
            self.outlet(&shared).send(path, answer.as_ref());
        }
        self.touch(key);
        self.current = None;
    }

    /// A question for one's own address: answered when the answer is no longer than the question, so that nobody is
    /// amplified, and not too often.
    fn answer_anonymous(&mut self, now: Instant, path: Path, request: &Request<'_>) {
        let shared = self.shared.clone();
        let counters = &shared.inbox(self.id).counters;
        let (tokens, at) = self.anonymous;
        let earned = now.saturating_duration_since(at).as_secs_f64() * ANONYMOUS_PER_SECOND;
        self.anonymous = ((tokens + earned).min(ANONYMOUS_BURST), now);
        let answer = Answer::success(&request.transaction, path.remote, None);
        if self.anonymous.0 < 1.0 || answer.as_ref().len() > request.wire_len() {
            return count(&counters.stun_limited);
        }
        self.anonymous.0 -= 1.0;
        count(&counters.stun_anonymous);
        self.outlet(&shared).send(path, answer.as_ref());
    }
}
