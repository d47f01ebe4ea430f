//! The forward table of one worker: for each track its cache, its local receivers, and the workers that have others.
use super::admission::{Admission, Passage};
use super::peer::{Held, Peer};
use super::{Class, Counters, Sink, Switch};
use crate::footprint::Footprint;
use crate::handover::Age;
use crate::rtcp;
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::allocation::Kind;
use crate::sfu::bandwidth::{Bitrate, Sent};
use crate::sfu::cache::PacketCache;
use crate::sfu::command::{TrackId, TransportId, WorkerId, WorkerSet};
use crate::sfu::meter::Meter;
use crate::sfu::receive::ClockReference;
use crate::sfu::rewrite::Rewriter;
use crate::sfu::{Layer, MAX_LAYERS, Meta};
use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as};
use std::time::Instant;

/// Longest compound packet before protection: with SRTCP's trailer, UDP and IPv6 it stays below the least MTU of 1280.
const MAX_COMPOUND: usize = 1100;

/// One local receiver of a track.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(super) struct Receiver {
    /// Its place among the worker's peers.
    #[serde(skip)]
    pub peer: usize,
    /// Its outgoing stream.
    pub rewriter: Rewriter,
    /// The sender's session id.
    pub cname: String,
    /// What it shows; `None`: it is sound.
    pub kind: Option<Kind>,
    /// Its way has no room for this track.
    pub is_paused: bool,
    /// Which packets it gets, when they are pictures'.
    pub admission: Admission,
    /// The last sender report: the middle of its NTP time, and when it went out.
    #[serde_as(as = "Option<(_, Age)>")]
    pub reported: Option<(u32, Instant)>,
    /// How far the stream was at the last receiver report on it.
    progress: (u64, u64),
}

impl Receiver {
    /// A receiver that gets what it is sent.
    pub fn new(peer: usize, rewriter: Rewriter, cname: String, kind: Option<Kind>) -> Self {
        Self {
            peer,
            rewriter,
            cname,
            kind,
            is_paused: false,
            admission: Admission::new(),
            reported: None,
            progress: (0, 0),
        }
    }

    /// What this receiver's way has lost, in 1/256, of what a receiver report misses: numbers of packets that were lost on
    /// the sender's way are missing there, too.
    pub fn lost_on_its_way(&mut self, fraction_lost: u8) -> u8 {
        let progress = self.rewriter.progress();
        let before = std::mem::replace(&mut self.progress, progress);
        // The sender's report and ours end some packets apart.
        lost_on_the_way(fraction_lost, progress.0.saturating_sub(before.0), progress.1.saturating_sub(before.1))
    }
}

impl Footprint for Receiver {
    fn heap_bytes(&self) -> usize {
        self.rewriter.heap_bytes() + self.cname.heap_bytes()
    }
}

/// The part in 1/256 that is lost of `sent` packets under so many `numbers`, when a report misses `fraction_lost` of these.
fn lost_on_the_way(fraction_lost: u8, numbers: u64, sent: u64) -> u8 {
    let lost = (numbers * u64::from(fraction_lost) / 256).saturating_sub(numbers.saturating_sub(sent));
    (lost * 256).checked_div(sent).map_or(0, |part| part.min(255) as u8)
}

/// A track as one worker sees it.
pub(super) struct ForwardTrack {
    /// Its id.
    pub id: TrackId,
    /// The peer on this worker that sends it.
    pub source: Option<usize>,
    /// The sender's transport and worker, where key frames are asked for.
    pub publisher: Option<(TransportId, WorkerId)>,
    /// Workers that have receivers, known to the sender's worker.
    pub remote: WorkerSet,
    /// Receivers on this worker, by their peers.
    pub receivers: Vec<Receiver>,
    /// The sender's clock, by layer.
    pub clocks: [Option<ClockReference>; MAX_LAYERS],
    /// What can be sent again, by layer; made when the first receiver comes.
    caches: [Option<PacketCache>; MAX_LAYERS],
    /// What each layer carries.
    meters: [Option<Meter>; MAX_LAYERS],
    cache_size: usize,
    /// Panics while it was forwarded.
    panics: u32,
}

fn new_cache(size: usize, meta: &Meta) -> PacketCache {
    if meta.codec.is_video() { PacketCache::new(size) } else { PacketCache::for_voice() }
}

/// What a packet is, and its payload.
type KeptPacket = (Meta, Vec<u8>);

/// What another process goes on with of a track.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(super) struct KeptTrack {
    clocks: [Option<ClockReference>; MAX_LAYERS],
    meters: [Option<Meter>; MAX_LAYERS],
    panics: u32,
    /// The newest packets of each layer, in the order of their numbers.
    #[serde_as(as = "[Option<Vec<(_, Bytes)>>; MAX_LAYERS]")]
    packets: [Option<Vec<KeptPacket>>; MAX_LAYERS],
}

/// The packets of a track that can be sent again.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a>(&'a [Option<PacketCache>]);

impl<'a> Kept<'a> {
    /// One of them.
    pub fn get(self, layer: Layer, seq: SeqNo) -> Option<(&'a Meta, &'a [u8])> {
        self.0.get(layer.0 as usize)?.as_ref()?.get(seq)
    }
}

impl ForwardTrack {
    /// A track nobody receives yet.
    pub fn new(id: TrackId, cache_size: usize) -> Self {
        Self {
            id,
            source: None,
            publisher: None,
            remote: WorkerSet::default(),
            receivers: Vec::new(),
            clocks: [None; MAX_LAYERS],
            caches: [const { None }; MAX_LAYERS],
            meters: [None; MAX_LAYERS],
            cache_size,
            panics: 0,
        }
    }

    /// What another process goes on with.
    pub fn kept(&self) -> KeptTrack {
        KeptTrack {
            clocks: self.clocks,
            meters: self.meters,
            panics: self.panics,
            packets: self.caches.each_ref().map(|cache| cache.as_ref().map(PacketCache::newest)),
        }
    }

    /// Goes on with what another process has kept.
    pub fn take(&mut self, kept: KeptTrack) {
        (self.clocks, self.meters, self.panics) = (kept.clocks, kept.meters, kept.panics);
        for (cache, packets) in self.caches.iter_mut().zip(kept.packets) {
            let Some(packets) = packets.filter(|packets| self.cache_size > 0 && !packets.is_empty()) else { continue };
            let cache = cache.get_or_insert_with(|| new_cache(self.cache_size, &packets[0].0));
            packets.iter().for_each(|(meta, payload)| cache.insert(*meta, payload));
        }
    }

    /// Forwarding it has hit a bug: whose session is to end. Once it may be the receiver's state, which `receiver` names;
    /// again it is what the sender sends.
    pub fn blame(&mut self, receiver: Option<TransportId>) -> Option<TransportId> {
        self.panics += 1;
        let publisher = self.publisher.map(|(transport, _)| transport);
        if self.panics == 1 { receiver.or(publisher) } else { publisher.or(receiver) }
    }

    /// Nobody on this worker sends or receives it.
    pub fn is_unused(&self) -> bool {
        self.source.is_none() && self.receivers.is_empty()
    }

    /// Counts a packet, and keeps it for retransmission when somebody here may ask for it.
    #[inline]
    pub fn keep(&mut self, now: Instant, meta: Meta, payload: &[u8]) {
        if self.receivers.is_empty() {
            return;
        }
        let layer = meta.layer.0 as usize;
        if let Some(meter) = self.meters.get_mut(layer) {
            meter.get_or_insert_with(|| Meter::new(now)).add(now, payload.len());
        }
        if self.cache_size == 0 {
            return;
        }
        if let Some(cache) = self.caches.get_mut(layer) {
            cache.get_or_insert_with(|| new_cache(self.cache_size, &meta)).insert(meta, payload);
        }
    }

    /// What the layers that still run have carried of late. The lowest one is known at once, others when their rate is:
    /// they would be taken for less than they are.
    pub fn rates(&self, now: Instant) -> [Option<Bitrate>; MAX_LAYERS] {
        let newest = self.meters.iter().flatten().map(Meter::last).max();
        let is_alive = |meter: &Meter| newest.is_some_and(|newest| meter.is_alive(newest));
        let mut is_lowest = true;
        self.meters.map(|meter| {
            let is_lowest = std::mem::take(&mut is_lowest);
            let meter = meter.filter(is_alive)?;
            (is_lowest || meter.is_settled(now)).then(|| meter.rate(now))
        })
    }

    /// What can be sent again, by layer.
    pub fn caches(&self) -> impl Iterator<Item = &PacketCache> + Clone {
        self.caches.iter().flatten()
    }

    /// Whether packets can be found again: only then they can wait.
    fn keeps(&self) -> bool {
        self.cache_size > 0
    }

    /// The receiver with this outgoing stream.
    pub fn receiver(&mut self, peer: usize, ssrc: Ssrc) -> Option<&mut Receiver> {
        Some(self.receiver_and_kept(peer, ssrc)?.0)
    }

    /// The receiver with this outgoing stream, and what can be sent to it again.
    pub fn receiver_and_kept(&mut self, peer: usize, ssrc: Ssrc) -> Option<(&mut Receiver, Kept<'_>)> {
        let first = self.receivers.partition_point(|receiver| receiver.peer < peer);
        let mut of_peer = self.receivers[first..].iter_mut().take_while(|receiver| receiver.peer == peer);
        Some((of_peer.find(|receiver| receiver.rewriter.ssrc() == ssrc)?, Kept(&self.caches)))
    }

    /// The same, to look at.
    pub fn receiver_of(&self, peer: usize, ssrc: Ssrc) -> Option<&Receiver> {
        let first = self.receivers.partition_point(|receiver| receiver.peer < peer);
        let mut of_peer = self.receivers[first..].iter().take_while(|receiver| receiver.peer == peer);
        of_peer.find(|receiver| receiver.rewriter.ssrc() == ssrc)
    }

    /// Adds a receiver.
    pub fn add_receiver(&mut self, receiver: Receiver) {
        let at = self.receivers.partition_point(|known| known.peer <= receiver.peer);
        self.receivers.insert(at, receiver);
    }
}

/// One stream that a peer receives, and what it takes to send it.
pub(super) struct SentStream<'a> {
    /// Its place in the forward table.
    pub place: usize,
    /// Who receives it.
    pub peer: &'a mut Peer,
    /// Its state.
    pub receiver: &'a mut Receiver,
    /// What can be sent again of it.
    pub kept: Kept<'a>,
}

impl Switch {
    /// The stream that a peer receives as `ssrc`.
    pub(super) fn sent_stream(&mut self, key: usize, ssrc: Ssrc) -> Option<SentStream<'_>> {
        let peer = self.peers.get_mut(key)?;
        let (_, place) = *peer.receives.iter().find(|(known, _)| *known == ssrc)?;
        let (receiver, kept) = self.tracks.get_mut(place)?.receiver_and_kept(key, ssrc)?;
        Some(SentStream { place, peer, receiver, kept })
    }

    /// Hands `count` packets of one track, given by `packet`, to the workers that have receivers of it; whether there are any.
    pub(super) fn hand_over_packets<'b, S: Sink>(
        &self,
        forward: usize,
        count: usize,
        packet: impl Fn(usize) -> (Meta, &'b [u8]),
        sink: &mut S,
    ) -> bool {
        let Some(track) = self.tracks.get(forward) else { return false };
        for worker in track.remote.iter() {
            for at in 0..count {
                let (meta, payload) = packet(at);
                sink.hand_over_media(worker, track.id, &meta, payload);
            }
        }
        !track.remote.is_empty()
    }

    /// Forwards `count` packets of one track, given by `packet`: per receiver all of them, so that they leave together.
    pub(super) fn forward_packets<'b, S: Sink>(
        &mut self,
        now: Instant,
        forward: usize,
        count: usize,
        packet: impl Fn(usize) -> (Meta, &'b [u8]),
        sink: &mut S,
    ) {
        let Some(track) = self.tracks.get_mut(forward) else { return };
        for at in 0..count {
            let (meta, payload) = packet(at);
            track.keep(now, meta, payload);
        }
        let (id, keeps, mut wake, mut broken) = (track.id, track.keeps(), false, Vec::new());
        let sheds = u64::from(self.overload.is_on());
        self.forwarding = Some(forward);
        let (kept, clocks) = (Kept(&track.caches), &track.clocks);
        for receiver in &mut track.receivers {
            // A panic ends one session, see `handle_panic`.
            self.current = Some(receiver.peer);
            let Some(peer) = self.peers.get_mut(receiver.peer) else { continue };
            for at in 0..count {
                let (meta, payload) = packet(at);
                if receiver.kind.is_some() {
                    if receiver.is_paused {
                        self.counters.shed += sheds;
                        continue;
                    }
                    let passage = receiver.admission.admit(now, &meta, payload.len());
                    if passage == Passage::LeftOut {
                        self.counters.shed += sheds;
                        continue;
                    }
                    if keeps && let Some(held) = hold(now, peer, receiver, id, (&meta, passage), sheds > 0) {
                        wake |= !peer.touched;
                        broken.extend(held.map(|ssrc| (receiver.peer, ssrc)));
                        continue;
                    }
                    prepare(&mut receiver.rewriter, meta.layer, passage);
                }
                if !forward_one(now, peer, receiver, clocks, &meta, payload, sink) {
                    continue;
                }
                self.counters.forwarded += 1;
                if peer.repetition.is_on(now) && repeat(now, peer, receiver, kept, sink) {
                    self.counters.repeated += 1;
                }
            }
            if receiver.rewriter.is_short() {
                self.keeping.hold();
            }
            if std::mem::take(&mut wake) {
                peer.touched = true;
                self.touched.push(receiver.peer);
            }
        }
        (self.current, self.forwarding) = (None, None);
        if !track.receivers.is_empty() {
            sink.forwarded(track.id);
        }
        for (key, ssrc) in broken {
            self.break_picture(now, key, ssrc, sink);
        }
    }

    /// Protects a compound RTCP packet and sends it to a peer, in as many datagrams as it takes.
    pub(super) fn send_rtcp(peer: &mut Peer, compound: &[u8], counters: &mut Counters, sink: &mut impl Sink) {
        for part in rtcp::split(compound, MAX_COMPOUND) {
            let Some((path, protector)) = peer.transport.outgoing() else { return };
            let slot = sink.slot();
            let Some(room) = slot.get_mut(..part.len()) else {
                counters.rtcp_dropped += 1;
                continue;
            };
            room.copy_from_slice(part);
            if let Some(len) = protector.protect_rtcp(slot, part.len()) {
                sink.commit(path, len, Class::Control);
            }
        }
    }
}

/// Lets a picture's packet wait for its turn, in any case while there is not time for everything; `None` when it can go out at once. `Some(Some(ssrc))`: another one had to give
/// way for it, and the picture of that stream is broken.
#[inline]
fn hold(
    now: Instant,
    peer: &mut Peer,
    receiver: &Receiver,
    track: TrackId,
    (meta, passage): (&Meta, Passage),
    waits_for_voice: bool,
) -> Option<Option<Ssrc>> {
    let sending = peer.sending.as_mut()?;
    if !waits_for_voice && sending.pacer.is_idle() && sending.pacer.has_room(now) {
        return None;
    }
    let (ssrc, layer, epoch, seq) = (receiver.rewriter.ssrc(), meta.layer, meta.epoch, meta.seq);
    if passage == Passage::Switches {
        // What waits of the layer before has not been numbered: it is not missed, and the new one comes sooner.
        sending.pacer.retain(|held| held.ssrc() != ssrc || matches!(held, Held::Again { .. }));
    }
    let pushed_out = sending.pacer.push(now, Held::Picture { track, ssrc, layer, epoch, seq, passage });
    Some(pushed_out.map(|held| held.ssrc()))
}

/// Tells the rewriter what a packet that leaves now is the beginning of.
pub(super) fn prepare(rewriter: &mut Rewriter, layer: Layer, passage: Passage) {
    rewriter.set_target(layer);
    if passage == Passage::Begins {
        rewriter.suspend();
    }
}

/// Sends one packet of a track to one of its receivers; whether it goes out.
#[inline]
pub(super) fn forward_one(
    now: Instant,
    peer: &mut Peer,
    receiver: &mut Receiver,
    clocks: &[Option<ClockReference>],
    meta: &Meta,
    payload: &[u8],
    sink: &mut impl Sink,
) -> bool {
    #[cfg(test)]
    tests::hit_bug(receiver.rewriter.ssrc());
    let Some((path, protector)) = peer.transport.outgoing() else { return false };
    let number = peer.sending.as_ref().map_or(0, |sending| sending.bandwidth.next_number());
    let slot = sink.slot();
    let Some((len, seq)) = receiver.rewriter.forward(now, meta, payload, clocks, number, slot) else { return false };
    let Some(len) = protector.protect_rtp(slot, len, seq) else { return false };
    if let Some(sending) = &mut peer.sending {
        sending.note_sent(now, len, Sent::Media);
        if receiver.kind.is_some() {
            sending.begin(now);
        }
    }
    let is_video = receiver.rewriter.codec().is_video();
    let class = if is_video { Class::Video { keyframe: meta.keyframe } } else { Class::Voice };
    sink.commit(path, len, class);
    true
}

/// Sends a packet of a stream again, by its outgoing number `wire`. Gives its length; `None` when it is not here any more.
pub(super) fn retransmit_one(
    now: Instant,
    peer: &mut Peer,
    receiver: &mut Receiver,
    kept: Kept<'_>,
    wire: u16,
    what: Sent,
    sink: &mut impl Sink,
) -> Option<usize> {
    let (path, protector) = peer.transport.outgoing()?;
    let number = peer.sending.as_ref().map_or(0, |sending| sending.bandwidth.next_number());
    let slot = sink.slot();
    let (len, seq) = receiver.rewriter.retransmit(wire, |layer, seq| kept.get(layer, seq), number, slot)?;
    let len = protector.protect_rtp(slot, len, seq)?;
    match &mut peer.sending {
        // It goes out under the transport-wide number that it has.
        Some(sending) if receiver.rewriter.numbers().rtx.is_none() => sending.pacer.charge(now, len),
        Some(sending) => sending.note_sent(now, len, what),
        None => {}
    }
    sink.commit(path, len, if receiver.kind.is_some() { Class::Video { keyframe: false } } else { Class::Voice });
    Some(len)
}

/// Sends the packet before the newest one of a stream again, where the way has room for that; whether it goes out.
fn repeat(now: Instant, peer: &mut Peer, receiver: &mut Receiver, kept: Kept<'_>, sink: &mut impl Sink) -> bool {
    // A call without pictures has no estimate: two packets of voice are no burden.
    let has_room = match &peer.sending {
        Some(sending) if receiver.kind.is_some() => receiver.rewriter.numbers().rtx.is_some() && sending.carries_twice,
        Some(sending) => sending.carries_voice_twice,
        None => true,
    };
    let newest = receiver.rewriter.newest().filter(|_| has_room);
    newest.is_some_and(|newest| {
        let wire = newest.wire().wrapping_sub(1);
        retransmit_one(now, peer, receiver, kept, wire, Sent::Retransmission, sink).is_some()
    })
}

#[cfg(test)]
mod tests;
