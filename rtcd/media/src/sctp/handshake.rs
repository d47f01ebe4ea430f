//! Our answers in the handshake of SCTP, sent again before the peer's own timer repeats the question: that is 1 s in
//! browsers and 3 s by RFC 9260 (section 16), during which a participant sees nothing happen.
use bytes::Bytes;
use std::time::{Duration, Instant};

/// When the answer goes out again: three times within a second, each wait twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(150);
const REPEATS: u32 = 3;

/// Chunk types (RFC 9260, section 3.2).
const INIT_ACK: u8 = 2;
const COOKIE_ACK: u8 = 11;

/// The answer that the peer has not reacted to yet. It is the same packet each time: a peer that has it drops it, an
/// INIT ACK outside of COOKIE-WAIT and a COOKIE ACK outside of COOKIE-ECHOED (sections 5.2.3 and 5.2.5).
#[derive(Default)]
pub(super) struct Answer {
    packet: Option<Bytes>,
    next: Option<Instant>,
    sent: u32,
}

impl Answer {
    /// The peer has spoken: whatever it said, it is past what our last answer said, or asks for it again.
    pub(super) fn heard(&mut self) {
        *self = Self::default();
    }

    /// We are sending this.
    pub(super) fn sent(&mut self, now: Instant, packet: &Bytes) {
        if matches!(packet.get(12), Some(&(INIT_ACK | COOKIE_ACK))) {
            *self = Self { packet: Some(packet.clone()), next: Some(now + FIRST_WAIT), sent: 0 };
        }
    }

    /// When to call [`repeat`](Self::repeat).
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The answer, if its time has come.
    pub(super) fn repeat(&mut self, now: Instant) -> Option<Bytes> {
        self.next.filter(|next| *next <= now)?;
        self.sent += 1;
        self.next = (self.sent < REPEATS).then(|| now + FIRST_WAIT * 2u32.pow(self.sent));
        self.packet.clone()
    }
}
