//! The forward table of one worker: for each track its cache, its local receivers, and the workers that have others.
use crate::footprint::Footprint;
use crate::handover::Age;
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::allocation::Kind;
use crate::sfu::bandwidth::Bitrate;
use crate::sfu::cache::PacketCache;
use crate::sfu::command::{TrackId, TransportId, WorkerId, WorkerSet};
use crate::sfu::meter::Meter;
use crate::sfu::receive::ClockReference;
use crate::sfu::rewrite::Rewriter;
use crate::sfu::switch::admission::Admission;
use crate::sfu::{Layer, MAX_LAYERS, Meta};
use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as};
use std::time::Instant;

/// One local receiver of a track.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(in crate::sfu::switch) struct Receiver {
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
pub(super) fn lost_on_the_way(fraction_lost: u8, numbers: u64, sent: u64) -> u8 {
    let lost = (numbers * u64::from(fraction_lost) / 256).saturating_sub(numbers.saturating_sub(sent));
    (lost * 256).checked_div(sent).map_or(0, |part| part.min(255) as u8)
}

/// A track as one worker sees it.
pub(in crate::sfu::switch) struct ForwardTrack {
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
    pub(super) caches: [Option<PacketCache>; MAX_LAYERS],
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
pub(in crate::sfu::switch) struct KeptTrack {
    clocks: [Option<ClockReference>; MAX_LAYERS],
    meters: [Option<Meter>; MAX_LAYERS],
    panics: u32,
    /// The newest packets of each layer, in the order of their numbers.
    #[serde_as(as = "[Option<Vec<(_, Bytes)>>; MAX_LAYERS]")]
    packets: [Option<Vec<KeptPacket>>; MAX_LAYERS],
}

/// The packets of a track that can be sent again.
#[derive(Clone, Copy)]
pub(in crate::sfu::switch) struct Kept<'a>(pub(super) &'a [Option<PacketCache>]);

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
    pub(super) fn keeps(&self) -> bool {
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
