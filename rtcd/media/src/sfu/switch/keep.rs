//! What a switch has written down while it works, for whoever goes on when its process has died: a record of each peer, when it
//! is through its handshake and whenever its shape changes, and twice a second how far all of them are, see
//! [`reserve`](crate::reserve).
//!
//! Packets that can be sent again, clocks of senders and the like are not worth it: they come again within a second.
use super::forward::ForwardTrack;
use super::handover::{PeerRecord, RegistrationRecord};
use super::peer::{Peer, PeerNumbers};
use super::{Owner, Sink, Switch, SwitchStart};
use crate::footprint::{Footprint, flat, flat_queue};
use crate::handover::{self, RecordError};
use crate::rtp::Ssrc;
use crate::sfu::command::{Event, TransportId};
use crate::sfu::rewrite::Rewriter;
use crate::transport::{CloseReason, TransportEvent};
use serde::{Deserialize, Serialize, Serializer};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const KEPT_VERSION: u8 = 1;
const NUMBERS_VERSION: u8 = 2;
/// A record is written anew after that time: estimates and the like have changed.
const STALE: Duration = Duration::from_secs(10);

/// What is written down of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    shape: u64,
    at: Instant,
}

/// What is still to be written down.
#[derive(Default)]
pub(super) struct Keeping {
    changed: VecDeque<usize>,
    gone: Vec<usize>,
    /// A stream waits for its first number.
    is_urgent: bool,
}

impl Keeping {
    /// There is no such peer any more.
    pub(super) fn forget(&mut self, key: usize) {
        self.gone.push(key);
    }

    /// A stream waits for its first number.
    pub(super) fn hold(&mut self) {
        self.is_urgent = true;
    }
}

impl Footprint for Keeping {
    fn heap_bytes(&self) -> usize {
        flat_queue(&self.changed) + flat(&self.gone)
    }
}

/// A record to be written down, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// What was appended is the record at this place.
    Written(usize),
    /// There is none any more.
    Gone(usize),
}

/// What is written down of a peer.
#[derive(Serialize, Deserialize)]
pub struct KeptPeer {
    /// The peer.
    pub peer: PeerRecord,
    /// Where checks for it are to be expected.
    pub registrations: Vec<RegistrationRecord>,
}

impl KeptPeer {
    /// Reads what was written at `then`, by the clock of this process.
    pub fn read(bytes: &[u8], then: Instant) -> Result<Self, RecordError> {
        let mut kept: Self = handover::read(bytes, KEPT_VERSION, then)?;
        kept.peer.written = Some(then);
        Ok(kept)
    }
}

/// Reads how far each peer was at `then`, by the clock of this process.
pub fn read_numbers(bytes: &[u8], then: Instant) -> Result<HashMap<TransportId, PeerNumbers>, RecordError> {
    let numbers: Vec<Option<PeerNumbers>> = handover::read(bytes, NUMBERS_VERSION, then)?;
    Ok(numbers.into_iter().flatten().map(|numbers| (numbers.transport, numbers)).collect())
}

impl PeerRecord {
    /// Takes from `all` how far the peer was; false when that was not written down.
    pub fn take_numbers(&mut self, all: &mut HashMap<TransportId, PeerNumbers>) -> bool {
        self.numbers = all.remove(&self.transport);
        self.numbers.is_some()
    }
}

impl Switch {
    /// Looks which records are to be written anew.
    pub fn look_for_changes(&mut self, now: Instant) {
        // Those that were found before come first.
        if !self.keeping.changed.is_empty() {
            return;
        }
        for (key, peer) in &self.peers {
            let Some(shape) = shape(peer, key, &self.tracks) else { continue };
            if peer.kept.is_none_or(|kept| kept.shape != shape || now >= kept.at + STALE) {
                self.keeping.changed.push_back(key);
            }
        }
    }

    /// The next record that is to be written down, appended to `out`.
    pub fn next_change(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Change> {
        if let Some(key) = self.keeping.gone.pop() {
            return Some(Change::Gone(key));
        }
        loop {
            let key = self.keeping.changed.pop_front()?;
            let Some(peer) = self.peers.get(key) else { continue };
            let Some(shape) = shape(peer, key, &self.tracks) else { continue };
            let of_peer = self.registrations.iter().filter(|(_, known)| known.open.transport == peer.id);
            let registrations = of_peer.map(|(ufrag, known)| known.write(ufrag)).collect();
            let kept = KeptPeer { peer: self.write_peer(now, key, peer), registrations };
            handover::write(out, KEPT_VERSION, now, &kept);
            self.peers[key].kept = Some(Kept { shape, at: now });
            return Some(Change::Written(key));
        }
    }

    /// Whether a stream waits until [`reserve`](Self::reserve) is called.
    pub fn is_held(&self) -> bool {
        self.keeping.is_urgent
    }

    /// Appends how far all peers are whose records are written down.
    pub fn write_numbers(&self, now: Instant, out: &mut Vec<u8>) {
        handover::write_compact(out, NUMBERS_VERSION, now, &AllNumbers(self));
    }

    /// What [`write_numbers`](Self::write_numbers) gives is written down, and nothing has been sent since.
    pub fn reserve(&mut self) {
        self.keeping.is_urgent = false;
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.kept.is_some()) {
            reserve(peer, key, &mut self.tracks);
        }
    }

    /// Everything that goes on from a record of a peaceful end is written down there.
    pub(super) fn reserve_started(&mut self, key: usize) {
        reserve(&mut self.peers[key], key, &mut self.tracks);
    }

    /// Whether anybody is here.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Goes on from what was written down, as what is here is not to be trusted any more. What other workers and control have
    /// said of others stays. Those who cannot go on end by an event of theirs.
    pub fn begin_again(&mut self, now: Instant, mut start: SwitchStart) {
        let fresh = Self::new(self.config.clone(), now);
        let Self { counters, peers, peers_by_id, registrations, paths, tracks, events, openings, .. } =
            std::mem::replace(self, fresh);
        (self.counters, self.registrations, self.events, self.openings) = (counters, registrations, events, openings);
        self.paths = paths.into_iter().filter(|(_, owner)| matches!(owner, Owner::Worker(..))).collect();
        self.has_foreign_news = true;
        for (_, old) in &tracks {
            let place = self.place_of(old.id);
            (self.tracks[place].remote, self.tracks[place].publisher) = (old.remote, old.publisher);
        }
        start.peers.retain(|(record, _)| peers_by_id.contains_key(&record.transport));
        let all: Vec<TransportId> = start.peers.iter().map(|(record, _)| record.transport).collect();
        self.start(now, SwitchStart { is_crash: true, ..start });
        for id in peers_by_id.into_keys().filter(|id| !all.contains(id)) {
            self.forget_started(id);
            self.events
                .push_back(Event::closed(id, CloseReason::NotCarried("a bug: it was not written down yet".into())));
        }
        // Whatever is broken in it may break once more.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop((peers, tracks))));
        self.counters.panics += u64::from(dropped.is_err());
        let transports = all.into_iter().filter(|id| self.peers_by_id.contains_key(id)).collect();
        self.events.push_back(Event::BegunAgain { worker: self.config.worker, transports });
    }

    /// What control may not have heard of a peer, or had not written down.
    pub(super) fn tell_again(&mut self, key: usize) {
        let peer = &self.peers[key];
        let transport = peer.id;
        if peer.transport.has_channel() {
            self.events.push_back(Event::Transport { transport, event: TransportEvent::ChannelOpen });
        }
        for track in &peer.tracks {
            let id = track.spec.track;
            self.events.extend(track.codec().map(|codec| Event::TrackStarted { transport, track: id, codec }));
            if track.spec.detect_voice {
                self.events.push_back(Event::Voice { transport, track: id, active: false });
            }
        }
    }

    /// Asks for the key frames that receivers need whose senders were somewhere else before.
    pub fn ask_for_pictures(&mut self, now: Instant, sink: &mut impl Sink) {
        let all = self.peers.iter().flat_map(|(key, peer)| peer.receives.iter().map(move |(ssrc, _)| (key, *ssrc)));
        let all: Vec<(usize, Ssrc)> = all.collect();
        for (key, ssrc) in all {
            if self.sent_stream(key, ssrc).is_some_and(|stream| stream.receiver.kind.is_some()) {
                self.receiver_lost_picture(now, key, ssrc, sink);
            }
        }
    }
}

/// [`PeerNumbers`] of all peers that are kept.
struct AllNumbers<'a>(&'a Switch);

impl Serialize for AllNumbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Switch { peers, tracks, .. } = self.0;
        serializer.collect_seq(peers.iter().map(|(key, peer)| peer.kept.and(peer.numbers(key, tracks))))
    }
}

/// What a peer is sent one of its streams by.
pub(super) fn rewriter(tracks: &Slab<ForwardTrack>, place: usize, key: usize, ssrc: Ssrc) -> Option<&Rewriter> {
    Some(&tracks.get(place)?.receiver_of(key, ssrc)?.rewriter)
}

fn reserve(peer: &mut Peer, key: usize, tracks: &mut Slab<ForwardTrack>) {
    peer.transport.reserve();
    for (ssrc, place) in &peer.receives {
        if let Some(receiver) = tracks.get_mut(*place).and_then(|track| track.receiver(key, *ssrc)) {
            receiver.rewriter.reserve();
        }
    }
}

/// A number that changes with whatever a peer's record must be written anew for; `None` while it cannot go on elsewhere.
fn shape(peer: &Peer, key: usize, tracks: &Slab<ForwardTrack>) -> Option<u64> {
    peer.transport.numbers()?;
    let mut hasher = DefaultHasher::new();
    peer.transport.shape(&mut hasher);
    for track in &peer.tracks {
        (track.spec.track, track.spec.open, track.spec.formats.len()).hash(&mut hasher);
    }
    for stream in &peer.streams {
        (stream.reception.ssrc(), stream.track, stream.layer).hash(&mut hasher);
    }
    if let Some(sending) = &peer.sending {
        // What was believed of its way long ago would leave pictures out: a change by a quarter counts.
        ((sending.bandwidth.estimate().0.max(1) as f64).log2() * 3.0).round().to_bits().hash(&mut hasher);
    }
    for (ssrc, place) in &peer.receives {
        ssrc.hash(&mut hasher);
        if let Some(rewriter) = rewriter(tracks, *place, key, *ssrc) {
            rewriter.numbers().hash(&mut hasher);
        }
    }
    Some(hasher.finish())
}
