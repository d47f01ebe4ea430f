//! What we have sent and the peer has not acknowledged, message by message: the crate counts payload alone, and a peer
//! that acknowledges nothing could make us keep half a million answers of one byte.
use super::guard::STREAMS;
use sctp_proto::Association;
use std::collections::VecDeque;

/// What we keep for a peer that does not read; beyond it the channel is considered dead.
const MAX_BUFFERED: usize = 512 * 1024;
/// What a message costs besides its payload: the crate and the allocator were measured to keep 370 bytes.
const OVERHEAD: usize = 512;

/// Lengths of the messages under way, the oldest first.
#[derive(Default)]
pub(super) struct Backlog {
    messages: VecDeque<u32>,
    bytes: usize,
    /// One bit for each stream that was written to.
    streams: u16,
}

const _: () = assert!(STREAMS <= u16::BITS as usize);

impl Backlog {
    /// Whether one more message may be queued.
    pub(super) fn has_room(&mut self, association: &mut Association, len: usize) -> bool {
        self.settle(association);
        let messages = self.messages.len() + 1;
        self.bytes + len + messages * OVERHEAD <= MAX_BUFFERED
    }

    /// A message was queued.
    pub(super) fn push(&mut self, stream: u16, len: usize) {
        self.messages.push_back(len as u32);
        self.bytes += len;
        self.streams |= 1u16.checked_shl(stream.into()).unwrap_or_default();
    }

    /// Forgets what has been acknowledged since.
    fn settle(&mut self, association: &mut Association) {
        let written = (0..STREAMS as u16).filter(|stream| self.streams >> stream & 1 == 1);
        let buffered: usize =
            written.filter_map(|stream| association.stream(stream).ok()?.buffered_amount().ok()).sum();
        while let Some(oldest) = self.messages.front().map(|len| *len as usize) {
            if self.bytes - oldest < buffered {
                return;
            }
            self.bytes -= oldest;
            self.messages.pop_front();
        }
    }
}
