//! What a switch holds, by kind.
use super::Switch;
use super::forward::ForwardTrack;
use super::peer::Peer;
use crate::footprint::{Footprint, Per, Tally, flat, flat_queue, flat_slab, flat_table};

impl Switch {
    /// What everything here holds, by kind.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, peer) in &self.peers {
            peer.count(&mut tally);
        }
        for (_, track) in &self.tracks {
            track.count(&mut tally);
        }
        let registrations: usize =
            self.registrations.iter().map(|(ufrag, known)| ufrag.len() + known.heap_bytes()).sum();
        tally.add(
            Per::Session,
            "registrations",
            self.registrations.len(),
            flat_table(&self.registrations) + registrations,
        );
        tally.add(Per::Session, "openings", self.openings.len(), self.openings.heap_bytes());
        // Places that nobody has, and those who find them.
        let spare_peers = flat_slab(&self.peers) - self.peers.len() * size_of::<Peer>();
        let spare_tracks = flat_slab(&self.tracks) - self.tracks.len() * size_of::<ForwardTrack>();
        let found = flat_table(&self.peers_by_id) + flat_table(&self.paths) + flat_table(&self.tracks_by_id);
        let tables = spare_peers + spare_tracks + found + self.timers.heap_bytes() + self.keeping.heap_bytes();
        tally.add(Per::Session, "tables of workers", 1, tables);
        let lists = flat(&self.pending) + flat(&self.touched) + flat(&self.rtcp) + flat_queue(&self.events);
        tally.add(Per::Process, "early checks", self.early.len(), self.early.heap_bytes());
        tally.add(Per::Process, "switches", 1, size_of::<Self>() + lists);
        tally
    }
}

impl ForwardTrack {
    fn count(&self, tally: &mut Tally) {
        let receivers = flat(&self.receivers) + self.receivers.iter().map(Footprint::heap_bytes).sum::<usize>();
        tally.add(Per::Session, "rewriters", self.receivers.len(), receivers);
        let caches = self.caches();
        tally.add(Per::Track, "packet caches", caches.clone().count(), caches.map(Footprint::heap_bytes).sum());
        tally.add(Per::Track, "forwarded tracks", 1, size_of::<Self>());
    }
}
