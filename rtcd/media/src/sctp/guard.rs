//! What a peer may make the SCTP crate hold or compute, bounded before the crate sees a byte: well-formed chunks, few
//! streams, windows of TSN and SSN, one bucket for packets.
use crate::token_bucket::TokenBucket;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Streams a peer may use.
pub(super) const STREAMS: usize = 16;
/// How far a TSN may lie ahead of the cumulative one: with 1200-byte chunks half as much again as our receive window.
const TSN_WINDOW: i32 = 512;
/// How many messages of one stream may be under way.
const SSN_WINDOW: i16 = 256;
/// Packets a second, and how many may come at once: a negotiation burst of 100 KB is 90 packets.
const PACKETS_PER_SECOND: f64 = 200.0;
const PACKET_BURST: f64 = 300.0;
/// RE-CONFIG chunks in the life of an association: closing channels is rare.
const RECONFIGS: u32 = 64;
/// Chunks in one packet.
const CHUNKS: usize = 64;
/// Longest packet: a DTLS record in one datagram.
const MAX_PACKET: usize = 1500;
/// One message under assembly, with an overhead per fragment.
const MAX_ASSEMBLY: u32 = 2 * super::MAX_MESSAGE as u32;
const FRAGMENT_OVERHEAD: u32 = 64;

pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
pub(super) const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;
pub(super) const RE_CONFIG: u8 = 130;
pub(super) const FORWARD_TSN: u8 = 192;
const I_FORWARD_TSN: u8 = 194;

/// Parameters of INIT by which a peer says that it may send FORWARD TSN (RFC 3758, section 3.1; RFC 5061, section 4.2.7).
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;

/// What is known of one incoming stream.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Stream {
    /// SSN of the next message to be delivered.
    next: u16,
    /// Bytes of the message that is being assembled.
    assembling: u32,
    unordered: bool,
}

/// The part of the state that one packet changes; committed only when the whole packet is admitted.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Window {
    /// Cumulative TSN, once known.
    cumulative: Option<u32>,
    /// The handshake is over: an INIT is a late repetition. RFC 9260, section 5.2.2 wants the association unharmed; the
    /// crate would close it.
    up: bool,
    streams: [Stream; STREAMS],
    reconfigs: u32,
    /// FORWARD TSN was agreed upon; of a peer that has not, the crate would end the association.
    forwards: bool,
}

pub(super) struct SctpGuard {
    window: Window,
    packets: TokenBucket,
    #[cfg(test)]
    trusts: bool,
}

impl SctpGuard {
    /// Browsers have no guard, and take an INIT at any time.
    #[cfg(test)]
    pub(super) fn trust(&mut self) {
        self.trusts = true;
    }

    /// Of an association that another process has watched.
    pub(super) fn with_window(window: Window, now: Instant) -> Self {
        Self { window, ..Self::new(now) }
    }

    /// The peer has begun a handshake that has not come to its end.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.window.cumulative.is_some() && !self.window.up
    }

    /// Whether FORWARD TSN was agreed upon.
    pub(super) fn forwards(&self) -> bool {
        self.window.forwards
    }

    /// Of an association whose peer is somewhere, see [`expect`](Self::expect).
    pub(super) fn adrift(now: Instant) -> Self {
        let fresh = Self::new(now);
        Self { window: Window { up: true, forwards: true, ..fresh.window }, ..fresh }
    }

    /// What the peer sends next comes behind this TSN, and in this stream behind this SSN.
    pub(super) fn expect(&mut self, cumulative: u32, stream: u16, ssn: Option<u16>) {
        self.window.cumulative = Some(cumulative);
        if let (Some(stream), Some(ssn)) = (self.window.streams.get_mut(usize::from(stream)), ssn) {
            stream.next = ssn.wrapping_add(1);
        }
    }

    /// Whether messages of a stream come in order.
    pub(super) fn is_ordered(&self, stream: u16) -> bool {
        self.window.streams.get(usize::from(stream)).is_some_and(|stream| !stream.unordered)
    }

    /// What another process goes on with.
    pub(super) fn window(&self) -> Window {
        self.window
    }

    pub(super) fn new(now: Instant) -> Self {
        let window = Window {
            cumulative: None,
            up: false,
            streams: [Stream::default(); STREAMS],
            reconfigs: RECONFIGS,
            forwards: false,
        };
        Self {
            window,
            packets: TokenBucket::new(PACKETS_PER_SECOND, PACKET_BURST, now),
            #[cfg(test)]
            trusts: false,
        }
    }

    /// A message of a stream was read: the next one may lie further ahead.
    pub(super) fn delivered(&mut self, stream: u16) {
        if let Some(stream) = self.window.streams.get_mut(stream as usize).filter(|stream| !stream.unordered) {
            stream.next = stream.next.wrapping_add(1);
        }
    }

    /// Our own SACKs tell how far the peer has come.
    pub(super) fn sent(&mut self, packet: &[u8]) {
        for chunk in Chunks::of(packet).map_while(Result::ok) {
            if chunk.kind == SACK
                && let Some(tsn) = be32(chunk.value, 0)
            {
                self.window.cumulative = Some(tsn);
            }
        }
    }

    /// Whether the packet may go to the crate.
    pub(super) fn admit(&mut self, packet: &[u8], now: Instant) -> bool {
        #[cfg(test)]
        if self.trusts {
            return true;
        }
        if packet.len() < 16 || packet.len() > MAX_PACKET || !self.packets.take(now) {
            return false;
        }
        let mut window = self.window;
        for (count, chunk) in Chunks::of(packet).enumerate() {
            let admitted = chunk.is_ok_and(|chunk| window.admit(&chunk));
            if !admitted || count >= CHUNKS {
                // RE-CONFIGs count even in a refused packet.
                self.window.reconfigs = window.reconfigs;
                return false;
            }
        }
        self.window = window;
        true
    }
}

impl Window {
    fn admit(&mut self, chunk: &Chunk<'_>) -> bool {
        let value = chunk.value;
        match chunk.kind {
            DATA => self.admit_data(chunk.flags, value).is_some(),
            INIT | INIT_ACK => {
                if self.up {
                    return false;
                }
                let Some(initial) = be32(value, 12) else { return false };
                if chunk.kind == INIT && self.cumulative.is_none() {
                    self.cumulative = Some(initial.wrapping_sub(1));
                }
                let mut says = parameters(&value[16..]);
                self.forwards |= says.by_ref().flatten().any(|(kind, value)| {
                    kind == FORWARD_TSN_SUPPORTED || (kind == SUPPORTED_EXTENSIONS && value.contains(&FORWARD_TSN))
                });
                parameters_fit(&value[16..])
            }
            SACK => {
                let (Some(gaps), Some(duplicates)) = (be16(value, 8), be16(value, 10)) else { return false };
                value.len() == 12 + 4 * (gaps as usize + duplicates as usize)
            }
            HEARTBEAT | HEARTBEAT_ACK => value.len() >= 4 && parameters_fit(value),
            // One cause at most, filling the chunk.
            ABORT | ERROR => value.is_empty() || be16(value, 2).is_some_and(|len| len as usize == value.len()),
            SHUTDOWN => value.len() == 4,
            COOKIE_ECHO | COOKIE_ACK => {
                self.up = true;
                true
            }
            SHUTDOWN_ACK | SHUTDOWN_COMPLETE => true,
            RE_CONFIG => {
                self.reconfigs = self.reconfigs.saturating_sub(1);
                // A reset starts the numbering of streams anew.
                self.streams.iter_mut().for_each(|stream| stream.next = 0);
                self.reconfigs > 0 && value.len() >= 4 && parameters_fit(value)
            }
            FORWARD_TSN => self.forwards && be32(value, 0).is_some_and(|tsn| self.is_near(tsn)),
            // Message interleaving is not agreed upon (RFC 8260, section 2.2).
            I_FORWARD_TSN => false,
            // Types whose highest bit says "skip if unknown" (RFC 9260, section 3.2).
            kind => kind & 0x80 != 0,
        }
    }

    fn admit_data(&mut self, flags: u8, value: &[u8]) -> Option<()> {
        let (tsn, stream, ssn) = (be32(value, 0)?, be16(value, 4)?, be16(value, 6)?);
        if value.len() < 13 || !self.is_near(tsn) {
            return None;
        }
        let (begins, unordered) = (flags & 0x02 != 0, flags & 0x04 != 0);
        let stream = self.streams.get_mut(stream as usize)?;
        stream.unordered = unordered;
        if !unordered && ssn.wrapping_sub(stream.next) as i16 > SSN_WINDOW {
            return None;
        }
        let before = if begins { 0 } else { stream.assembling };
        stream.assembling = before + value.len() as u32 + FRAGMENT_OVERHEAD;
        (stream.assembling <= MAX_ASSEMBLY).then_some(())
    }

    fn is_near(&self, tsn: u32) -> bool {
        self.cumulative.is_none_or(|cumulative| tsn.wrapping_sub(cumulative) as i32 <= TSN_WINDOW)
    }
}

pub(super) struct Chunk<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) value: &'a [u8],
}

/// The chunks of a packet; an `Err` for one that lies about its length ends the walk.
pub(super) struct Chunks<'a>(&'a [u8]);
pub(super) struct Malformed;

impl<'a> Chunks<'a> {
    pub(super) fn of(packet: &'a [u8]) -> Self {
        Self(packet.get(12..).unwrap_or_default())
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let (Some(header), Some(len)) = (bytes.get(..4), be16(bytes, 2)) else { return Some(Err(Malformed)) };
        let len = len as usize;
        let Some(value) = (len >= 4).then(|| bytes.get(4..len)).flatten() else { return Some(Err(Malformed)) };
        self.0 = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Chunk { kind: header[0], flags: header[1], value }))
    }
}

/// Parameters of INIT, HEARTBEAT and RE-CONFIG, type and value; `None` for one that is shorter than its header or goes past
/// the end, and then no more.
fn parameters(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut bytes);
        let parameter = || {
            let (kind, len) = (be16(rest, 0)?, usize::from(be16(rest, 2)?));
            Some((kind, len, rest.get(4..len)?))
        };
        Some(parameter().map(|(kind, len, value)| {
            bytes = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            (kind, value)
        }))
    })
}

fn parameters_fit(bytes: &[u8]) -> bool {
    parameters(bytes).all(|parameter| parameter.is_some())
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
