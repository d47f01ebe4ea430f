//! A ClientHello is repeated sooner than str0m does it.
use super::Wants;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A ClientHello and when it is to be repeated. str0m waits for a second, and then for two and four (RFC 6347, section
/// 4.2.4.1); browsers begin with 50 ms.
pub(super) struct Hello {
    way: (SocketAddr, SocketAddr),
    bytes: Vec<u8>,
    pub(super) again: Instant,
    wait: Duration,
}

impl Hello {
    /// Of a datagram that is one: a handshake record with a ClientHello (RFC 5246, sections 6.2.1 and 7.4).
    pub(super) fn of(now: Instant, way: (SocketAddr, SocketAddr), bytes: &[u8]) -> Option<Self> {
        let wait = Duration::from_millis(50);
        let is_hello = bytes.first() == Some(&22) && bytes.get(13) == Some(&1);
        is_hello.then(|| Self { way, bytes: bytes.to_vec(), again: now + wait, wait })
    }

    /// The same once more, if it is time.
    pub(super) fn repeat(&mut self, now: Instant) -> Option<Wants> {
        if now < self.again {
            return None;
        }
        self.wait *= 2;
        self.again = now + self.wait;
        let (from, to) = self.way;
        Some(Wants::Send { from, to, bytes: self.bytes.clone() })
    }
}
