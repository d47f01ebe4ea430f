//! The transport-wide numbers that packets went out with, for those that may have to be sent again as they were.
use crate::footprint::Footprint;

/// Packets that are remembered of a video stream: as many as a cache of usual size keeps twice over.
const VIDEO: usize = 512;
/// Packets of a voice: 1.28 s.
const VOICE: usize = 64;

/// A ring of pairs: sequence number and transport-wide number, both as on the wire.
#[derive(Debug)]
pub(super) struct TransportNumbers(Box<[Option<(u16, u16)>]>);

impl TransportNumbers {
    pub(super) fn new(is_video: bool) -> Self {
        Self(vec![None; if is_video { VIDEO } else { VOICE }].into())
    }

    pub(super) fn note(&mut self, wire: u16, number: u16) {
        self.0[usize::from(wire) % self.0.len()] = Some((wire, number));
    }

    /// The number of a packet that went out lately.
    pub(super) fn get(&self, wire: u16) -> Option<u16> {
        self.0[usize::from(wire) % self.0.len()].filter(|(known, _)| *known == wire).map(|(_, number)| number)
    }
}

impl Footprint for TransportNumbers {
    fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}
