//! What a worker holds, by kind.
use super::{RECV_SIZE, RecvBatch, Worker};
use crate::plane::handoff::{MediaPacket, MisroutedDatagram};
use rtcd_media::footprint::{Footprint, Per, Tally, flat, flat_queue};

impl Worker {
    /// What its switch, its buffers and its connections hold.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.switch.tally();
        let received = RecvBatch::BYTES + RECV_SIZE;
        tally.add(Per::Process, "receive batches", 1, received);
        tally.add(Per::Process, "send batches", 1, self.io.batch.heap_bytes());
        let connections = self.io.connections.len();
        tally.add(Per::Session, "TCP connections", connections, self.io.connections.heap_bytes());
        tally.add(Per::Process, "what is written down", 1, self.keep.heap_bytes());
        let media = flat(&self.media) + self.media.len() * size_of::<MediaPacket>();
        let misrouted = flat(&self.misrouted) + self.misrouted.len() * size_of::<MisroutedDatagram>();
        tally.add(Per::Process, "queues", 1, media + misrouted + flat_queue(&self.waiting_events));
        tally
    }
}
