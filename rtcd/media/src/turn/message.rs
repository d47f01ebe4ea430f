//! TURN messages (RFC 8656): what a client says, and what it reads of a server's answers. Nothing that is read is believed
//! before the caller has looked at the transaction and at MESSAGE-INTEGRITY.
use crate::stun::{
    Attributes, Builder, ERROR_CODE, FINGERPRINT, HEADER, IntegrityKey, MAGIC_COOKIE, MESSAGE_INTEGRITY, TransactionId,
    USERNAME, be16, read_xor_address,
};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Peers in one CreatePermission request.
pub const MAX_PEERS: usize = 16;
/// REALM and NONCE have at most 763 bytes (RFC 8489, sections 14.9, 14.10).
const MAX_TEXT: usize = 763;
/// Room for the longest request: header, USERNAME (513 bytes at most), REALM, NONCE, peers of IPv6, MESSAGE-INTEGRITY,
/// FINGERPRINT and 64 bytes of smaller attributes.
const MAX_REQUEST: usize = HEADER + 520 + 2 * 768 + MAX_PEERS * 24 + 24 + 8 + 64;

const SEND_INDICATION: u16 = 0x0016;
const DATA_INDICATION: u16 = 0x0017;
const CHANNEL_NUMBER: u16 = 0x000c;
const LIFETIME: u16 = 0x000d;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: u8 = 17;

/// Bytes in front of the data of a channel.
pub const CHANNEL_HEADER: usize = 4;

/// Bytes in front of what is sent to a peer that has no channel.
pub const fn indication_header(peer: SocketAddr) -> usize {
    HEADER + if peer.is_ipv4() { 12 } else { 24 } + 4
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// An address of this family that others send to.
    Allocate {
        /// IPv6 in place of IPv4 (RFC 8656, section 18.6).
        ipv6: bool,
    },
    /// That the allocation lives on, in seconds; 0 ends it.
    Refresh(u32),
    /// That packets from these pass, and to them.
    Permit(Vec<IpAddr>),
    /// A channel to this peer.
    Bind(u16, SocketAddr),
}

impl Ask {
    fn method(&self) -> u16 {
        match self {
            Self::Allocate { .. } => 0x003,
            Self::Refresh(_) => 0x004,
            Self::Permit(_) => 0x008,
            Self::Bind(..) => 0x009,
        }
    }
}

/// What long-term credentials have become by the server's challenge (RFC 8489, section 9.2).
#[derive(Clone, Debug)]
pub struct Challenge {
    /// Of the server.
    pub realm: Box<[u8]>,
    /// To be used until another one comes.
    pub nonce: Box<[u8]>,
    /// Of username, realm and password.
    pub key: IntegrityKey,
}

/// A request in bytes; `None` when the username is longer than any may be.
pub fn request(ask: &Ask, id: &TransactionId, username: &str, challenge: Option<&Challenge>) -> Option<Box<[u8]>> {
    let mut request = Builder::<MAX_REQUEST>::new(ask.method(), id);
    match ask {
        Ask::Allocate { ipv6 } => {
            request.attribute(REQUESTED_TRANSPORT, &[UDP, 0, 0, 0]);
            // Left out for IPv4: servers from before RFC 6156 do not know it.
            if *ipv6 {
                request.attribute(REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
            }
        }
        Ask::Refresh(seconds) => request.attribute(LIFETIME, &seconds.to_be_bytes()),
        Ask::Permit(peers) => {
            peers.iter().for_each(|peer| request.xor_address(XOR_PEER_ADDRESS, SocketAddr::new(*peer, 0)));
        }
        Ask::Bind(number, peer) => {
            let [high, low] = number.to_be_bytes();
            request.attribute(CHANNEL_NUMBER, &[high, low, 0, 0]);
            request.xor_address(XOR_PEER_ADDRESS, *peer);
        }
    }
    if let Some(challenge) = challenge {
        request.attribute(USERNAME, username.as_bytes());
        request.attribute(REALM, &challenge.realm);
        request.attribute(NONCE, &challenge.nonce);
        request.integrity(&challenge.key);
    }
    request.fingerprint();
    request.finish().map(Into::into)
}

/// Puts the header of a channel in front of the first `len` bytes; the new length, or `None` for want of room.
#[inline]
pub fn wrap_in_channel(number: u16, slot: &mut [u8], len: usize) -> Option<usize> {
    let whole = len + CHANNEL_HEADER;
    if whole > slot.len() {
        return None;
    }
    slot.copy_within(..len, CHANNEL_HEADER);
    slot[..2].copy_from_slice(&number.to_be_bytes());
    slot[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    Some(whole)
}

/// Makes a Send indication (RFC 8656, section 11.1) of the first `len` bytes; the new length, or `None` for want of room.
pub fn wrap_in_indication(peer: SocketAddr, id: &TransactionId, slot: &mut [u8], len: usize) -> Option<usize> {
    let header = indication_header(peer);
    let whole = header + len.next_multiple_of(4);
    if whole > slot.len() {
        return None;
    }
    slot.copy_within(..len, header);
    slot[header + len..whole].fill(0);
    let mut indication = Builder::<64>::new(SEND_INDICATION, id);
    indication.xor_address(XOR_PEER_ADDRESS, peer);
    let written = indication.finish()?;
    slot[..written.len()].copy_from_slice(written);
    slot[2..4].copy_from_slice(&((whole - HEADER) as u16).to_be_bytes());
    slot[header - 4..header - 2].copy_from_slice(&DATA.to_be_bytes());
    slot[header - 2..header].copy_from_slice(&(len as u16).to_be_bytes());
    Some(whole)
}

/// An answer to a request.
#[derive(Debug)]
pub struct Response<'a> {
    /// Of the request.
    pub transaction: TransactionId,
    /// ERROR-CODE and its reason phrase, which is the server's own text; `None`: it has succeeded.
    pub error: Option<(u16, &'a [u8])>,
    pub realm: Option<&'a [u8]>,
    pub nonce: Option<&'a [u8]>,
    /// XOR-RELAYED-ADDRESS.
    pub relayed: Option<SocketAddr>,
    /// LIFETIME in seconds.
    pub lifetime: Option<u32>,
    integrity_at: Option<usize>,
    raw: &'a [u8],
}

impl Response<'_> {
    /// Whether it has a MESSAGE-INTEGRITY; an answer that comes before the challenge has none.
    pub fn is_signed(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether MESSAGE-INTEGRITY holds.
    pub fn verify(&self, key: &IntegrityKey) -> bool {
        self.integrity_at.is_some_and(|at| key.verifies(self.raw, at))
    }
}

/// What a server sends.
#[derive(Debug)]
pub enum Received<'a> {
    /// Of a channel: its number, and where the data lies.
    Channel(u16, Range<usize>),
    /// Of a peer without one.
    Indication(SocketAddr, Range<usize>),
    /// An answer.
    Response(Response<'a>),
}

/// Reads what a server has sent; `None` for anything that lies about a length.
pub fn read(raw: &[u8]) -> Option<Received<'_>> {
    let kind = be16(raw, 0)?;
    if (0x4000..0x5000).contains(&kind) {
        let end = CHANNEL_HEADER + usize::from(be16(raw, 2)?);
        // Over UDP padding is allowed (RFC 8656, section 12.5).
        return (end <= raw.len()).then_some(Received::Channel(kind, CHANNEL_HEADER..end));
    }
    if raw.get(4..8)? != MAGIC_COOKIE.to_be_bytes() || HEADER + usize::from(be16(raw, 2)?) != raw.len() {
        return None;
    }
    let transaction: TransactionId = raw.get(8..HEADER)?.try_into().ok()?;
    if kind == DATA_INDICATION {
        return read_indication(raw, &transaction);
    }
    // Success and error answers have 0b01 and 0b11 in the bits of the class.
    if kind & 0x0100 == 0 {
        return None;
    }
    let (mut realm, mut nonce, mut relayed, mut lifetime) = (None, None, None, None);
    let (mut error, mut integrity_at) = (None, None);
    for attribute in Attributes::of(raw) {
        let (at, kind, value) = attribute?;
        match kind {
            // What follows MESSAGE-INTEGRITY is not covered by it (RFC 8489, section 14.5).
            _ if integrity_at.is_some() => {}
            MESSAGE_INTEGRITY if value.len() == 20 => integrity_at = Some(at),
            REALM if value.len() <= MAX_TEXT => realm = Some(value),
            NONCE if value.len() <= MAX_TEXT => nonce = Some(value),
            XOR_RELAYED_ADDRESS => relayed = read_xor_address(value, &transaction),
            LIFETIME => lifetime = Some(u32::from_be_bytes(value.try_into().ok()?)),
            ERROR_CODE => {
                let code = u16::from(*value.get(2)? & 7) * 100 + u16::from(*value.get(3)?);
                error = Some((code, &value[4..]));
            }
            FINGERPRINT => {}
            _ => {}
        }
    }
    let is_error = kind & 0x0010 != 0;
    if is_error != error.is_some() {
        return None;
    }
    Some(Received::Response(Response { transaction, error, realm, nonce, relayed, lifetime, integrity_at, raw }))
}

fn read_indication<'a>(raw: &[u8], transaction: &TransactionId) -> Option<Received<'a>> {
    let (mut peer, mut data) = (None, None);
    for attribute in Attributes::of(raw) {
        match attribute? {
            (_, XOR_PEER_ADDRESS, value) => peer = read_xor_address(value, transaction),
            (at, DATA, value) => data = Some(at + 4..at + 4 + value.len()),
            _ => {}
        }
    }
    Some(Received::Indication(peer?, data?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_what_a_server_would_read() {
        for peer in ["192.0.2.1:32853", "[2001:db8::9]:1"] {
            let peer: SocketAddr = peer.parse().expect("an address");
            let mut slot = [0xff; 200];
            slot[..5].copy_from_slice(b"hello");
            let len = wrap_in_indication(peer, &[7; 12], &mut slot, 5).expect("there is room");
            // A Data indication differs from it by its type alone.
            slot[1] = 0x17;
            let Some(Received::Indication(from, data)) = read(&slot[..len]) else { panic!("{slot:?}") };
            assert_eq!((from, &slot[data]), (peer, &b"hello"[..]));
            assert!(wrap_in_indication(peer, &[7; 12], &mut slot[..len - 1], 5).is_none(), "no room");
        }
        let mut slot = *b"hello....";
        assert_eq!(wrap_in_channel(0x4001, &mut slot, 5), Some(9));
        let Some(Received::Channel(0x4001, data)) = read(&slot) else { panic!("{slot:?}") };
        assert_eq!(&slot[data], b"hello");
        assert!(wrap_in_channel(0x4001, &mut slot, 6).is_none(), "no room");
        slot[3] = 6;
        assert!(read(&slot).is_none(), "shorter than it says");
    }

    #[test]
    fn the_longest_request_fits_and_a_longer_username_is_refused() {
        let key = IntegrityKey::long_term("user", b"realm", "pass");
        let challenge = Challenge { realm: [b'r'; MAX_TEXT].into(), nonce: [b'n'; MAX_TEXT].into(), key };
        let peers = vec!["2001:db8::1".parse().expect("an address"); MAX_PEERS];
        let ask = Ask::Permit(peers);
        assert!(request(&ask, &[1; 12], &"u".repeat(513), Some(&challenge)).is_some());
        assert!(request(&ask, &[1; 12], &"u".repeat(700), Some(&challenge)).is_none());
    }
}
