//! The forward table of one worker: for each track its cache, its local receivers, and the workers that have others.
use super::batch::SendBatch;
use super::command::{TrackId, TransportId, WorkerId, WorkerSet};
use super::counters::{Counters, count};
use super::outbox::Class;
use super::peer::Peer;
use super::socket::UdpSocket;
use super::tcp::Connection;
use rtcd_media::codec::Codec;
use rtcd_media::rtcp;
use rtcd_media::sfu::cache::PacketCache;
use rtcd_media::sfu::receive::ClockReference;
use rtcd_media::sfu::rewrite::Rewriter;
use rtcd_media::sfu::{Layer, MAX_LAYERS, Meta};
use slab::Slab;
use std::collections::HashMap;
use std::time::Instant;

/// Longest compound packet before protection: with SRTCP's trailer, UDP and IPv6 it stays below the least MTU of 1280.
const MAX_COMPOUND: usize = 1100;

/// One local receiver of a track.
pub struct Receiver {
    /// Its place among the worker's peers.
    pub peer: usize,
    /// Its outgoing stream.
    pub rewriter: Rewriter,
    /// The sender's session id.
    pub cname: String,
}

/// A track as one worker sees it.
pub struct ForwardTrack {
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
    /// Where the times of writes are sampled into, once there is a receiver.
    pub writes: Option<prometheus::Histogram>,
    /// The sender's clock, by layer.
    pub clocks: [Option<ClockReference>; MAX_LAYERS],
    /// What can be sent again, by layer; made for video when the first receiver comes.
    caches: [Option<PacketCache>; MAX_LAYERS],
    cache_size: usize,
    /// Panics while it was forwarded.
    panics: u32,
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
            writes: None,
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
        // Sound is never asked for.
        if !meta.codec.is_video() || self.receivers.is_empty() || self.cache_size == 0 {
            return;
        }
        let size = self.cache_size;
        if let Some(cache) = self.caches.get_mut(meta.layer.0 as usize) {
            cache.get_or_insert_with(|| PacketCache::new(size)).insert(meta, payload);
        }
    }

    /// A kept packet.
    pub fn kept(&self, layer: Layer, seq: rtcd_media::rtp::SeqNo) -> Option<(&Meta, &[u8])> {
        self.caches.get(layer.0 as usize)?.as_ref()?.get(seq)
    }

    /// Adds a receiver; returns the layer that it needs a key frame of.
    pub fn add_receiver(&mut self, receiver: Receiver, codec: Codec) -> Option<Layer> {
        let layer = receiver.rewriter.target();
        self.receivers.push(receiver);
        codec.is_video().then_some(layer)
    }
}

/// What forwarding needs of a worker besides the track.
pub struct Outlet<'a> {
    /// The worker's peers.
    pub peers: &'a mut Slab<Peer>,
    /// The batch under construction.
    pub batch: &'a mut SendBatch,
    /// Where it is flushed to.
    pub sockets: &'a mut [UdpSocket],
    /// TCP connections.
    pub connections: &'a mut HashMap<u32, Connection>,
    /// What is counted.
    pub counters: &'a Counters,
}

impl Outlet<'_> {
    /// Sends one packet of a track to one of its receivers.
    #[inline]
    pub fn forward(
        &mut self,
        now: Instant,
        receiver: &mut Receiver,
        clocks: &[Option<ClockReference>],
        meta: &Meta,
        payload: &[u8],
    ) {
        #[cfg(test)]
        tests::hit_bug(receiver.rewriter.ssrc());
        let Some(peer) = self.peers.get_mut(receiver.peer) else { return };
        let Some((path, protector)) = peer.transport.outgoing() else { return };
        if self.batch.is_full() {
            self.batch.flush(self.sockets, self.counters);
        }
        let slot = self.batch.slot();
        let Some((len, seq)) = receiver.rewriter.forward(now, meta, payload, clocks, slot) else { return };
        let Some(len) = protector.protect_rtp(slot, len, seq) else { return };
        let is_video = receiver.rewriter.codec().is_video();
        let class = if is_video { Class::Video { keyframe: meta.keyframe } } else { Class::Voice };
        self.batch.commit(path, len, class, self.connections, self.counters);
        count(&self.counters.forwarded);
    }

    /// Sends a datagram that is not media.
    pub fn send(&mut self, path: rtcd_media::demux::Path, bytes: &[u8]) {
        if self.batch.is_full() {
            self.batch.flush(self.sockets, self.counters);
        }
        let Some(slot) = self.batch.slot().get_mut(..bytes.len()) else { return };
        slot.copy_from_slice(bytes);
        self.batch.commit(path, bytes.len(), Class::Control, self.connections, self.counters);
    }

    /// Protects a compound RTCP packet and sends it to a peer, in as many datagrams as it takes.
    pub fn send_rtcp(&mut self, peer: usize, compound: &[u8]) {
        rtcp::split(compound, MAX_COMPOUND).for_each(|part| self.send_compound(peer, part));
    }

    fn send_compound(&mut self, peer: usize, compound: &[u8]) {
        if self.batch.is_full() {
            self.batch.flush(self.sockets, self.counters);
        }
        let Some((path, protector)) = self.peers.get_mut(peer).and_then(|peer| peer.transport.outgoing()) else {
            return;
        };
        let slot = self.batch.slot();
        let Some(room) = slot.get_mut(..compound.len()) else { return count(&self.counters.rtcp_dropped) };
        room.copy_from_slice(compound);
        if let Some(len) = protector.protect_rtcp(slot, compound.len()) {
            self.batch.commit(path, len, Class::Control, self.connections, self.counters);
        }
    }
}

#[cfg(test)]
mod tests;
