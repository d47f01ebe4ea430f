//! The forward table of one worker: for each track its cache, its local receivers, and the workers that have others.
use super::peer::Peer;
use super::{Class, Counters, Sink, Switch};
use crate::codec::Codec;
use crate::rtcp;
use crate::rtp::{SeqNo, Ssrc};
use crate::sfu::cache::PacketCache;
use crate::sfu::command::{TrackId, TransportId, WorkerId, WorkerSet};
use crate::sfu::receive::ClockReference;
use crate::sfu::rewrite::Rewriter;
use crate::sfu::{Layer, MAX_LAYERS, Meta};
use std::time::Instant;

/// Longest compound packet before protection: with SRTCP's trailer, UDP and IPv6 it stays below the least MTU of 1280.
const MAX_COMPOUND: usize = 1100;

/// One local receiver of a track.
pub(super) struct Receiver {
    /// Its place among the worker's peers.
    pub peer: usize,
    /// Its outgoing stream.
    pub rewriter: Rewriter,
    /// The sender's session id.
    pub cname: String,
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
    /// Receivers on this worker.
    pub receivers: Vec<Receiver>,
    /// The sender's clock, by layer.
    pub clocks: [Option<ClockReference>; MAX_LAYERS],
    /// What can be sent again, by layer; made when the first receiver comes.
    caches: [Option<PacketCache>; MAX_LAYERS],
    cache_size: usize,
    /// Panics while it was forwarded.
    panics: u32,
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
            cache_size,
            panics: 0,
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

    /// Keeps a packet for retransmission when somebody here may ask for it.
    #[inline]
    pub fn keep(&mut self, meta: Meta, payload: &[u8]) {
        if self.receivers.is_empty() || self.cache_size == 0 {
            return;
        }
        let size = self.cache_size;
        let make = || if meta.codec.is_video() { PacketCache::new(size) } else { PacketCache::for_voice() };
        if let Some(cache) = self.caches.get_mut(meta.layer.0 as usize) {
            cache.get_or_insert_with(make).insert(meta, payload);
        }
    }

    /// The receiver with this outgoing stream, and what can be sent to it again.
    pub fn receiver_and_kept(&mut self, peer: usize, ssrc: Ssrc) -> Option<(&mut Receiver, Kept<'_>)> {
        let mine = |receiver: &&mut Receiver| receiver.peer == peer && receiver.rewriter.ssrc() == ssrc;
        Some((self.receivers.iter_mut().find(mine)?, Kept(&self.caches)))
    }

    /// Adds a receiver; returns the layer that it needs a key frame of.
    pub fn add_receiver(&mut self, receiver: Receiver, codec: Codec) -> Option<Layer> {
        let layer = receiver.rewriter.target();
        self.receivers.push(receiver);
        codec.is_video().then_some(layer)
    }
}

impl Switch {
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
            track.keep(meta, payload);
        }
        self.forwarding = Some(forward);
        for receiver in &mut track.receivers {
            // A panic ends one session, see `handle_panic`.
            self.current = Some(receiver.peer);
            let Some(peer) = self.peers.get_mut(receiver.peer) else { continue };
            for at in 0..count {
                let (meta, payload) = packet(at);
                if forward_one(now, peer, receiver, &track.clocks, &meta, payload, sink) {
                    self.counters.forwarded += 1;
                }
            }
        }
        (self.current, self.forwarding) = (None, None);
        if !track.receivers.is_empty() {
            sink.forwarded(track.id);
        }
        for worker in track.remote.iter() {
            for at in 0..count {
                let (meta, payload) = packet(at);
                sink.hand_over_media(worker, track.id, &meta, payload);
            }
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

/// Sends one packet of a track to one of its receivers; whether it goes out.
#[inline]
fn forward_one(
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
    let slot = sink.slot();
    let Some((len, seq)) = receiver.rewriter.forward(now, meta, payload, clocks, 0, slot) else { return false };
    let Some(len) = protector.protect_rtp(slot, len, seq) else { return false };
    let is_video = receiver.rewriter.codec().is_video();
    let class = if is_video { Class::Video { keyframe: meta.keyframe } } else { Class::Voice };
    sink.commit(path, len, class);
    true
}

#[cfg(test)]
mod tests;
