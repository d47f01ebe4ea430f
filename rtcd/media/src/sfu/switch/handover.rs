//! A switch as it goes to another process: what it knows of its peers and tracks, each in a record of its own, so that one
//! that cannot be read ends one session and nothing else.
//!
//! Not carried: checks that wait for their transport, our opening checks (control tells candidates again), what is due when
//! (it follows from the rest), what congestion control knows of packets under way.
use super::forward::{ForwardTrack, KeptTrack, Receiver};
use super::peer::{Peer, PeerNumbers};
use super::{Counters, Owner, Registration, Sink, Switch};
use crate::demux::Path;
use crate::handover::{self, RecordError};
use crate::sfu::command::{Claim, Event, Open, TrackId, TransportId, WorkerId, WorkerSet};
use crate::transport::CloseReason;
use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PEER_VERSION: u8 = 1;
const TRACK_VERSION: u8 = 1;
/// What has come while nobody read is read within that time.
const BACKLOG: Duration = Duration::from_millis(30);

/// What one switch leaves to another process.
#[derive(Default, Serialize, Deserialize)]
pub struct SwitchRecord {
    /// All transports that are waited for or live anywhere in the plane.
    pub registrations: Vec<RegistrationRecord>,
    /// The peers of this switch.
    pub peers: Vec<PeerRecord>,
    /// The tracks that they send or receive.
    pub tracks: Vec<TrackRecord>,
    /// What it has counted.
    pub counters: Vec<(String, u64)>,
}

/// A transport that is waited for, under one of its ufrags.
#[derive(Clone, Serialize, Deserialize)]
pub struct RegistrationRecord {
    ufrag: Box<str>,
    open: Open,
    password: String,
    generation: u32,
    /// The owner, once there is one.
    pub owner: Option<WorkerId>,
}

impl RegistrationRecord {
    /// Under which of our ufrags.
    pub fn ufrag(&self) -> Box<str> {
        self.ufrag.clone()
    }

    /// Which transport it is of.
    pub fn transport(&self) -> TransportId {
        self.open.transport
    }
}

/// A peer: an envelope that can be read without the rest.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub struct PeerRecord {
    /// Its id.
    pub transport: TransportId,
    /// Where it has been heard from, the way it sends over among them.
    pub paths: Vec<Path>,
    /// What it sends.
    #[serde(default)]
    sends: Vec<TrackId>,
    /// What it is sent.
    #[serde(default)]
    receives: Vec<TrackId>,
    #[serde_as(as = "Bytes")]
    state: Vec<u8>,
    /// When it was written, if not with all others.
    #[serde(skip)]
    pub(super) written: Option<Instant>,
    /// How far it was when whoever had it died.
    #[serde(skip)]
    pub(super) numbers: Option<PeerNumbers>,
}

/// A track.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub struct TrackRecord {
    /// Its id.
    pub track: TrackId,
    /// Who sends it: where key frames are asked for.
    publisher: Option<TransportId>,
    #[serde_as(as = "Bytes")]
    state: Vec<u8>,
}

/// What a switch goes on with: the records of one or several switches of the process before.
#[derive(Default)]
pub struct SwitchStart {
    /// All transports of the plane, with the claim that all workers share.
    pub registrations: Vec<(RegistrationRecord, Arc<Claim>)>,
    /// The peers that are this switch's, and for the paths of each what is in their place; `None`: nothing.
    pub peers: Vec<(PeerRecord, Vec<Option<Path>>)>,
    /// Tracks of these peers; one may be here more than once.
    pub tracks: Vec<TrackRecord>,
    /// Where each peer of the plane is.
    pub owners: Vec<(TransportId, WorkerId)>,
    /// Paths that lead to peers of other workers.
    pub elsewhere: Vec<(Path, TransportId, WorkerId)>,
    /// Who receives what.
    pub routes: Vec<Route>,
    /// What has been counted.
    pub counters: Vec<(String, u64)>,
    /// The process before has died, maybe after it had gone on from these records for a moment.
    pub is_crash: bool,
}

/// Where a track comes from, and which workers have receivers of it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    track: TrackId,
    publisher: (TransportId, WorkerId),
    workers: WorkerSet,
}

impl Route {
    /// The routes between these peers, each with its worker. Control works them out too, a moment later.
    pub fn between(peers: &[(&PeerRecord, WorkerId)]) -> Vec<Self> {
        let mut workers: HashMap<TrackId, WorkerSet> = HashMap::new();
        for (peer, worker) in peers {
            peer.receives.iter().for_each(|track| workers.entry(*track).or_default().insert(*worker));
        }
        let sent = peers.iter().flat_map(|(peer, worker)| {
            let publisher = (peer.transport, *worker);
            peer.sends.iter().map(move |track| (*track, publisher))
        });
        let route = |(track, publisher)| Some(Self { track, publisher, workers: *workers.get(&track)? });
        sent.filter_map(route).collect()
    }
}

impl SwitchStart {
    /// Peers whose sockets and connections have the numbers that they had.
    pub fn of(peers: impl IntoIterator<Item = PeerRecord>) -> Self {
        let with_places = |peer: PeerRecord| {
            let places = peer.paths.iter().map(|path| Some(*path)).collect();
            (peer, places)
        };
        Self { peers: peers.into_iter().map(with_places).collect(), ..Self::default() }
    }
}

impl SwitchRecord {
    /// The peers of the switch.
    pub fn transports(&self) -> impl Iterator<Item = TransportId> + '_ {
        self.peers.iter().map(|peer| peer.transport)
    }
}

/// What is in a peer's record, by reference and as it was read.
#[derive(Serialize)]
struct WrittenPeer<'a> {
    peer: &'a Peer,
    receives: Vec<(TrackId, &'a Receiver)>,
}

#[derive(Deserialize)]
struct SavedPeer {
    peer: Peer,
    receives: Vec<(TrackId, Receiver)>,
}

impl Registration {
    pub(super) fn write(&self, ufrag: &str) -> RegistrationRecord {
        RegistrationRecord {
            ufrag: ufrag.into(),
            open: (*self.open).clone(),
            password: self.password.clone(),
            generation: self.generation,
            owner: self.claim.owner(),
        }
    }
}

impl Switch {
    /// Suspends the data channels of those peers that lose nothing by it, or of all. Whether all are. Nobody sees anything of
    /// it but that their messages take longer.
    pub fn suspend(&mut self, now: Instant, all: bool) -> bool {
        let mut left = false;
        for (_, peer) in &mut self.peers {
            if all || peer.transport.is_ready() {
                peer.transport.suspend(now);
            } else {
                left = true;
            }
        }
        !left
    }

    /// Peers whose data channels lose something if they are suspended now.
    pub fn unready(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| !peer.transport.is_ready()).count()
    }

    /// All that another process needs to go on. What waits for its turn goes out before; after it this switch sends nothing
    /// that the other could send, unless it is [resumed](Self::resume_peers).
    pub fn write(&mut self, now: Instant, sink: &mut impl Sink) -> SwitchRecord {
        self.suspend(now, true);
        let keys: Vec<usize> = self.peers.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.send_all_that_waits(now, key, sink);
        }
        self.outline(now)
    }

    /// The same of a switch that goes on: what is under way on data channels is lost, if it ever comes to that.
    pub fn outline(&self, now: Instant) -> SwitchRecord {
        let counted = Counters::NAMES.iter().zip(self.counters.values());
        SwitchRecord {
            registrations: self.registrations.iter().map(|(ufrag, known)| known.write(ufrag)).collect(),
            peers: self.peers.iter().map(|(key, peer)| self.write_peer(now, key, peer)).collect(),
            tracks: self.tracks.iter().map(|(_, track)| write_track(now, track)).collect(),
            counters: counted.map(|((name, _), value)| ((*name).to_owned(), value)).collect(),
        }
    }

    pub(super) fn write_peer(&self, now: Instant, key: usize, peer: &Peer) -> PeerRecord {
        let receives = peer.receives.iter().filter_map(|(ssrc, place)| {
            let track = self.tracks.get(*place)?;
            Some((track.id, track.receiver_of(key, *ssrc)?))
        });
        let written = WrittenPeer { peer, receives: receives.collect() };
        let mut state = Vec::with_capacity(2048);
        handover::write(&mut state, PEER_VERSION, now, &written);
        PeerRecord {
            transport: peer.id,
            paths: peer.transport.ice().paths().to_vec(),
            sends: peer.tracks.iter().map(|track| track.spec.track).collect(),
            receives: peer.receives.iter().filter_map(|(_, place)| Some(self.tracks.get(*place)?.id)).collect(),
            state,
            written: None,
            numbers: None,
        }
    }

    /// Goes on where other switches have been, whose records were written at `then` by this process's clock. Sessions that
    /// cannot go on end by an event of theirs, for which [`CloseReason::NotCarried`] says why.
    pub fn start(&mut self, then: Instant, start: SwitchStart) {
        for (record, claim) in start.registrations {
            let RegistrationRecord { ufrag, open, password, generation, .. } = record;
            let registration = Registration { open: Arc::new(open), password, generation, claim };
            self.registrations.insert(ufrag, registration);
        }
        for record in start.tracks {
            self.start_track(then, &record, &start.owners);
        }
        for (record, places) in start.peers {
            let id = record.transport;
            let started = catch_unwind(AssertUnwindSafe(|| self.start_peer(then, record, &places, start.is_crash)));
            let reason = match started {
                Ok(Ok(())) => continue,
                Ok(Err(reason)) => reason,
                Err(_) => {
                    self.counters.panics += 1;
                    NotCarried::Bug
                }
            };
            self.forget_started(id);
            self.events.push_back(Event::closed(id, CloseReason::NotCarried(reason.to_string())));
        }
        self.has_foreign_news |= !start.elsewhere.is_empty();
        for (path, transport, worker) in start.elsewhere {
            self.paths.insert(path, Owner::Worker(transport, worker));
        }
        self.start_routes(&start.routes);
        self.counters.add(&start.counters);
    }

    /// Media go on before control has said anything.
    fn start_routes(&mut self, routes: &[Route]) {
        for Route { track, publisher, mut workers } in routes.iter().copied() {
            workers.remove(self.config.worker);
            if let Some(track) = self.tracks_by_id.get(&track).and_then(|place| self.tracks.get_mut(*place)) {
                track.publisher = Some(publisher);
                if publisher.1 == self.config.worker {
                    track.remote = workers;
                }
            }
        }
    }

    fn start_track(&mut self, then: Instant, record: &TrackRecord, owners: &[(TransportId, WorkerId)]) {
        let place = self.place_of(record.track);
        let publisher = record.publisher.and_then(|publisher| owners.iter().find(|(known, _)| *known == publisher));
        self.tracks[place].publisher = publisher.copied().or(self.tracks[place].publisher);
        // Without its record it goes on with what comes next.
        if let Ok(kept) = handover::read::<KeptTrack>(&record.state, TRACK_VERSION, then) {
            self.tracks[place].take(kept);
        }
    }

    pub(super) fn place_of(&mut self, id: TrackId) -> usize {
        let (tracks, cache) = (&mut self.tracks, self.config.nack_buffer);
        *self.tracks_by_id.entry(id).or_insert_with(|| tracks.insert(ForwardTrack::new(id, cache)))
    }

    fn start_peer(
        &mut self,
        then: Instant,
        mut record: PeerRecord,
        places: &[Option<Path>],
        is_crash: bool,
    ) -> Result<(), NotCarried> {
        let (then, numbers) = (record.written.unwrap_or(then), record.numbers.take());
        let SavedPeer { mut peer, mut receives } = handover::read(&record.state, PEER_VERSION, then)?;
        let place = |path: Path| places[record.paths.iter().position(|known| *known == path)?];
        peer.transport.renumber_paths(place);
        if peer.transport.ice().paths().is_empty() && !record.paths.is_empty() {
            return Err(NotCarried::NoWay);
        }
        let (id, me) = (record.transport, self.config.worker);
        let tracks: Vec<usize> = peer.tracks.iter().map(|track| self.place_of(track.spec.track)).collect();
        peer.go_on(then, &tracks);
        if is_crash {
            let numbers = numbers.or_else(|| peer.numbers_of(&receives)).ok_or(NotCarried::Handshaking)?;
            peer.leap(then, numbers, receives.iter_mut().map(|(_, receiver)| &mut receiver.rewriter));
        }
        let paths = peer.transport.ice().paths().to_vec();
        let key = self.peers.insert(peer);
        self.peers_by_id.insert(id, key);
        for place in tracks {
            self.tracks[place].source = Some(key);
            self.tracks[place].publisher = Some((id, me));
        }
        for (track, mut receiver) in receives {
            let place = self.place_of(track);
            receiver.peer = key;
            self.peers[key].receives.push((receiver.rewriter.ssrc(), place));
            self.tracks[place].add_receiver(receiver);
        }
        if is_crash {
            self.tell_again(key);
        } else {
            self.reserve_started(key);
        }
        self.paths.extend(paths.into_iter().map(|path| (path, Owner::Peer(key))));
        self.touch(key);
        Ok(())
    }

    /// Forgets what there is of a peer that could not be made.
    pub(super) fn forget_started(&mut self, id: TransportId) {
        self.registrations.retain(|_, known| known.open.transport != id);
        let Some(key) = self.peers_by_id.remove(&id) else { return };
        self.peers.try_remove(key);
        self.paths.retain(|_, owner| !matches!(owner, Owner::Peer(peer) if *peer == key));
        for (_, track) in &mut self.tracks {
            track.source.take_if(|source| *source == key);
            track.receivers.retain(|receiver| receiver.peer != key);
        }
    }

    /// Forgets tracks whose peers could not be made, and goes on with data channels. To be called when everything has
    /// [started](Self::start), or was suspended and is not to go elsewhere after all.
    pub fn resume_peers(&mut self, now: Instant) {
        self.tracks.retain(|_, track| !track.is_unused());
        self.tracks_by_id.retain(|_, place| self.tracks.contains(*place));
        for (_, peer) in &mut self.peers {
            peer.transport.resume(now);
            peer.arrivals.pass_over(now + BACKLOG);
        }
        let keys: Vec<usize> = self.peers.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.touch(key));
    }
}

fn write_track(now: Instant, track: &ForwardTrack) -> TrackRecord {
    let mut state = Vec::new();
    handover::write(&mut state, TRACK_VERSION, now, &track.kept());
    TrackRecord { track: track.id, publisher: track.publisher.map(|(transport, _)| transport), state }
}

/// Why a session does not go on in another process.
#[derive(Debug, thiserror::Error)]
enum NotCarried {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the addresses that it used are not ours any more")]
    NoWay,
    #[error("a handshake was under way")]
    Handshaking,
    #[error("a bug: reading its record failed")]
    Bug,
}

#[cfg(test)]
mod tests;
