//! What one peer holds, by kind.
use super::{Peer, Sending};
use crate::footprint::{Footprint, Per, Tally, flat, flat_queue};
use crate::transport::Transport;

impl Peer {
    /// Adds all of it.
    pub(in crate::sfu::switch) fn count(&self, tally: &mut Tally) {
        self.transport.count(tally);
        let lists = flat(&self.receives) + flat_queue(&self.retired) + flat(&self.repairs) + flat(&self.used);
        tally.add(Per::Session, "peers", 1, size_of::<Self>() - size_of::<Transport>() + lists);
        let incoming = self.tracks.heap_bytes() + self.streams.heap_bytes() + self.arrivals.heap_bytes();
        tally.add(Per::Session, "incoming tracks", self.tracks.len(), incoming);
        if let Some(sending) = &self.sending {
            let bandwidth = sending.bandwidth.total_bytes();
            let rest = size_of::<Sending>() - size_of_val(&sending.bandwidth) + sending.heap_bytes();
            tally.add(Per::Session, "bandwidth estimates", 1, bandwidth);
            tally.add(Per::Session, "pacers", 1, rest);
        }
    }
}
