//! Packets under construction, until a flush sends them all: sealed in place, ordered so that packets to one receiver
//! stand together.
use super::connections::Connections;
use super::counters::{Counters, count};
use super::relay::Relays;
use super::socket::{Datagram, SEND_BATCH, SEND_SIZE, SendScratch, UdpSocket};
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::footprint::{Footprint, flat};
use rtcd_media::sfu::switch::Class;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Outgoing UDP packets; TCP ones go into their connection's queue at once.
pub struct SendBatch {
    slots: Box<[[u8; SEND_SIZE]]>,
    entries: Vec<(Path, usize)>,
    scratch: SendScratch,
    /// The time of this turn.
    pub now: Instant,
    /// Connections that have something to write.
    pub dirty_connections: Vec<u32>,
}

impl Footprint for SendBatch {
    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots) + flat(&self.entries) + flat(&self.dirty_connections) + SendScratch::BYTES
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendBatch {
    /// Takes the memory for one batch: 128 slots of 1.5 KiB, which stay in the second-level cache.
    pub fn new() -> Self {
        Self {
            slots: vec![[0; SEND_SIZE]; SEND_BATCH].into(),
            entries: Vec::with_capacity(SEND_BATCH),
            scratch: SendScratch::new(),
            now: Instant::now(),
            dirty_connections: Vec::new(),
        }
    }

    /// Room for the next packet. Call [`is_full`](Self::is_full) before.
    #[inline]
    pub fn slot(&mut self) -> &mut [u8; SEND_SIZE] {
        let at = self.entries.len();
        &mut self.slots[at]
    }

    /// No slot is free: flush.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.entries.len() == SEND_BATCH
    }

    /// The first `len` bytes of the slot are a packet for `path`; that of a relay leads to its server.
    #[inline]
    pub fn commit(&mut self, path: Path, len: usize, class: Class, connections: &mut Connections, counters: &Counters) {
        match path.protocol {
            Protocol::Udp | Protocol::Relay => self.entries.push((path, len)),
            Protocol::Tcp => {
                let bytes = &self.slots[self.entries.len()][..len];
                let connection = connections.get_mut(path.local);
                let queued = connection.is_some_and(|connection| connection.queue(self.now, class, bytes, counters));
                count(if queued { &counters.sent } else { &counters.tcp_dropped });
                // One that takes nothing may want a key frame.
                if self.dirty_connections.last() != Some(&path.local) {
                    self.dirty_connections.push(path.local);
                }
            }
        }
    }

    /// Sends all UDP packets.
    pub fn flush(&mut self, sockets: &mut [UdpSocket], relays: &mut Relays, counters: &Counters) {
        let mut first = 0;
        while first < self.entries.len() {
            let Path { protocol, local, .. } = self.entries[first].0;
            let same = |(path, _): &&(Path, usize)| path.local == local && path.protocol == protocol;
            let run = self.entries[first..].iter().take_while(same).count();
            let (socket, sent) = match protocol {
                Protocol::Relay => (relays.socket(local), &counters.relay_sent),
                Protocol::Udp | Protocol::Tcp => (sockets.get_mut(local as usize), &counters.sent),
            };
            if let Some(socket) = socket {
                let (entries, slots) = (&self.entries[first..], &self.slots[first..]);
                let datagram = |at: usize| {
                    let (path, len) = entries[at];
                    Datagram { to: path.remote, bytes: &slots[at][..len] }
                };
                let stats = socket.send_each(run, datagram, &mut self.scratch);
                sent.fetch_add(stats.sent, Relaxed);
                counters.send_refused.fetch_add(stats.dropped, Relaxed);
            }
            first += run;
        }
        self.entries.clear();
    }
}
