//! Where a switch of the kit sends to: lists, which the world empties.
use rtcd_media::demux::Path;
use rtcd_media::sfu::Meta;
use rtcd_media::sfu::command::{TrackId, WorkerId};
use rtcd_media::sfu::switch::{Class, Handoff, SLOT_SIZE, Sink};
use std::collections::VecDeque;

/// What a switch has sent.
pub(super) struct Wire {
    slot: [u8; SLOT_SIZE],
    pub(super) datagrams: VecDeque<(Path, Vec<u8>)>,
    pub(super) handoffs: VecDeque<(WorkerId, Handoff)>,
    pub(super) misrouted: VecDeque<(WorkerId, Path, Vec<u8>)>,
    pub(super) media: VecDeque<(WorkerId, TrackId, Meta, Vec<u8>)>,
}

impl Default for Wire {
    fn default() -> Self {
        let (datagrams, handoffs, misrouted, media) = Default::default();
        Self { slot: [0; SLOT_SIZE], datagrams, handoffs, misrouted, media }
    }
}

impl Sink for Wire {
    fn slot(&mut self) -> &mut [u8; SLOT_SIZE] {
        &mut self.slot
    }
    fn commit(&mut self, path: Path, len: usize, _class: Class) {
        self.datagrams.push_back((path, self.slot[..len].to_vec()));
    }
    fn hand_over(&mut self, worker: WorkerId, handoff: Handoff) {
        self.handoffs.push_back((worker, handoff));
    }
    fn hand_over_datagram(&mut self, worker: WorkerId, path: Path, bytes: &[u8]) {
        self.misrouted.push_back((worker, path, bytes.to_vec()));
    }
    fn hand_over_media(&mut self, worker: WorkerId, track: TrackId, meta: &Meta, payload: &[u8]) {
        self.media.push_back((worker, track, *meta, payload.to_vec()));
    }
    fn handed_over(&mut self) {}
    fn path_verified(&mut self, _path: Path) {}
    fn path_closed(&mut self, _path: Path) {}
    fn forwarded(&mut self, _track: TrackId) {}
}
