//! What a [`Switch`](super::Switch) needs of whoever owns the sockets: datagrams to read, slots to write packets into, and
//! a road to the other workers.
use super::Handoff;
use crate::demux::Path;
use crate::sfu::Meta;
use crate::sfu::command::{TrackId, WorkerId};
use std::ops::Range;

/// Room for one outgoing packet: payload, header, tag.
pub const SLOT_SIZE: usize = 1536;

/// What a datagram is to the one who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// STUN, DTLS, RTCP.
    Control,
    /// Sound.
    Voice,
    /// Pictures; with a key frame they can begin anew.
    Video {
        /// A decoder can start here.
        keyframe: bool,
    },
}

/// Whether media is worth reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Age {
    /// It has just come.
    Fresh,
    /// It has lain unread for a while: a voice is still worth hearing, and there is no time for pictures.
    Late,
    /// It has lain unread for so long that nobody wants to hear it.
    Stale,
}

/// Where packets go.
pub trait Sink {
    /// Room for the next packet; what it holds is of no meaning.
    fn slot(&mut self) -> &mut [u8; SLOT_SIZE];
    /// The first `len` bytes of the slot that was lent last are a packet for `path`.
    fn commit(&mut self, path: Path, len: usize, class: Class);
    /// Gives another worker's switch something.
    fn hand_over(&mut self, worker: WorkerId, handoff: Handoff);
    /// Gives another worker's switch a datagram that is for a peer of that one. What came over TCP moves its connection.
    fn hand_over_datagram(&mut self, worker: WorkerId, path: Path, bytes: &[u8]);
    /// Gives another worker's switch a plain packet for its receivers.
    fn hand_over_media(&mut self, worker: WorkerId, track: TrackId, meta: &Meta, payload: &[u8]);
    /// For now nothing more is handed over: the other workers can begin.
    fn handed_over(&mut self);
    /// An authentic check has come over a path that was not this transport's before.
    fn path_verified(&mut self, path: Path);
    /// Nobody uses the path any more: a connection can be closed.
    fn path_closed(&mut self, path: Path);
    /// Packets of this track have been given to [`commit`](Self::commit) for all its receivers here.
    fn forwarded(&mut self, track: TrackId);

    /// Sends a datagram that is not media; one that is longer than a slot is dropped.
    fn send(&mut self, path: Path, bytes: &[u8]) {
        if let Some(room) = self.slot().get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.commit(path, bytes.len(), Class::Control);
        }
    }
}

/// What one receive call has given.
pub trait Datagrams {
    /// How many datagrams there are.
    fn count(&self) -> usize;
    /// One of them and the way it came; `None`: it was cut.
    fn datagram(&mut self, at: usize) -> Option<(Path, &mut [u8])>;
    /// A part of one of them, as it was left.
    fn bytes(&self, at: usize, range: Range<usize>) -> &[u8];
}

/// A single datagram.
pub(super) struct Single<'a> {
    pub(super) path: Path,
    pub(super) bytes: &'a mut [u8],
}

impl Datagrams for Single<'_> {
    fn count(&self) -> usize {
        1
    }
    fn datagram(&mut self, _at: usize) -> Option<(Path, &mut [u8])> {
        Some((self.path, self.bytes))
    }
    fn bytes(&self, _at: usize, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}
