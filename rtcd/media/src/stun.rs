//! STUN (RFC 8489): an ICE-lite agent (RFC 8445) reads requests, writes [`Answer`]s, and [`CheckRequest`]s that open the way for
//! the peer's own; a [`client`] asks for its own address. What TURN needs of it is here, too.
mod answer;
mod attributes;
mod build;
mod check;
pub mod client;
mod integrity;

pub use answer::Answer;
pub use check::CheckRequest;
pub use integrity::IntegrityKey;

pub(crate) use attributes::{Attributes, read_xor_address};
pub(crate) use build::Builder;

/// Magic cookie, bytes 4..8 of every message (RFC 8489, section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// The longest answer that this module writes: header 20, XOR-MAPPED-ADDRESS (IPv6) 24, MESSAGE-INTEGRITY 24,
/// FINGERPRINT 8, and an ERROR-CODE of at most 36 with UNKNOWN-ATTRIBUTES 8 in place of the address.
pub const MAX_ANSWER: usize = 128;

pub(crate) const HEADER: usize = 20;
pub(crate) const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(crate) const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const PADDING: u16 = 0x0026;
pub(crate) const FINGERPRINT: u16 = 0x8028;
pub(crate) const ICE_CONTROLLED: u16 = 0x8029;
/// XORed into the CRC of FINGERPRINT (RFC 8489, section 14.7): "STUN".
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A STUN transaction id.
pub type TransactionId = [u8; 12];

/// A well-formed Binding request. Nothing in it is to be believed before [`Request::verify`].
#[derive(Debug)]
pub struct Request<'a> {
    /// Echoed in the answer.
    pub transaction: TransactionId,
    username: &'a [u8],
    /// The peer nominates this path.
    pub use_candidate: bool,
    /// The peer believes to be controlled, as we are: a role conflict.
    pub controlled: bool,
    /// PRIORITY of the peer-reflexive candidate, required in a connectivity check.
    pub priority: Option<u32>,
    /// The first comprehension-required attribute that we do not know.
    pub unknown: Option<u16>,
    /// Offset of the MESSAGE-INTEGRITY attribute.
    integrity_at: Option<usize>,
    fingerprint_ok: bool,
    raw: &'a [u8],
}

/// A new one, which nobody can guess (RFC 8489, section 5).
pub(crate) fn transaction_id() -> TransactionId {
    let mut id = [0; 12];
    crate::random::fill(&mut id);
    id
}

/// The value of FINGERPRINT behind a message whose length field counts it already (RFC 8489, section 14.7).
pub(crate) fn fingerprint(message: &[u8]) -> u32 {
    crc32fast::hash(message) ^ FINGERPRINT_XOR
}

/// Whether a message answers a Binding request, by its first two bytes.
pub fn is_answer(message: &[u8]) -> bool {
    matches!(message, [0x01, 0x01 | 0x11, ..])
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

impl<'a> Request<'a> {
    /// Reads a Binding request; `None` for anything else and for anything that lies about a length.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if be16(raw, 0)? != BINDING_REQUEST || raw.get(4..8)? != MAGIC_COOKIE.to_be_bytes() {
            return None;
        }
        let transaction = raw.get(8..HEADER)?.try_into().ok()?;
        let len = be16(raw, 2)? as usize;
        if HEADER + len != raw.len() || !len.is_multiple_of(4) {
            return None;
        }
        let mut request = Self {
            transaction,
            username: &[],
            use_candidate: false,
            controlled: false,
            priority: None,
            unknown: None,
            integrity_at: None,
            fingerprint_ok: false,
            raw,
        };
        for attribute in Attributes::of(raw) {
            let (at, kind, value) = attribute?;
            request.attribute(at, kind, value)?;
        }
        Some(request)
    }

    fn attribute(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            FINGERPRINT => {
                let sum: [u8; 4] = value.try_into().ok()?;
                if at + 8 != self.raw.len() {
                    return None;
                }
                self.fingerprint_ok = fingerprint(&self.raw[..at]) == u32::from_be_bytes(sum);
            }
            // What follows MESSAGE-INTEGRITY is not covered by it, so it does not count (RFC 8489, section 14.5).
            _ if self.integrity_at.is_some() => {}
            USERNAME => self.username = value,
            MESSAGE_INTEGRITY if value.len() == 20 => self.integrity_at = Some(at),
            MESSAGE_INTEGRITY => return None,
            PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLED => self.controlled = true,
            PADDING => {}
            0x0000..=0x7fff => {
                self.unknown.get_or_insert(kind);
            }
            _ => {}
        }
        Some(())
    }

    /// The two halves of USERNAME: our ufrag, then the peer's (RFC 8445, section 7.2.2).
    pub fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        std::str::from_utf8(self.username).ok()?.split_once(':')
    }

    /// Whether MESSAGE-INTEGRITY and FINGERPRINT hold. Constant time in the tag.
    pub fn verify(&self, key: &IntegrityKey) -> bool {
        self.fingerprint_ok && self.integrity_at.is_some_and(|at| key.verifies(self.raw, at))
    }

    /// Whether this is a plain question for one's own address: no credentials at all. `rtcd check` and load
    /// balancers ask so.
    pub fn is_anonymous(&self) -> bool {
        self.username.is_empty() && self.integrity_at.is_none()
    }

    /// Length of the request in bytes.
    pub fn wire_len(&self) -> usize {
        self.raw.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769, section 2.1.
    const SAMPLE_REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\
        \x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_sample_request_of_rfc_5769_is_read_and_verified() {
        let request = Request::parse(SAMPLE_REQUEST).expect("well formed");
        assert_eq!(request.ufrags(), Some(("evtj", "h6vY")));
        assert!(request.controlled);
        assert_eq!(request.priority, Some(0x6e00_01ff));
        assert!(request.verify(&IntegrityKey::new(SAMPLE_PASSWORD)));
        assert!(!request.verify(&IntegrityKey::new("another")));
    }

    #[test]
    fn a_request_changed_in_any_byte_is_refused() {
        let key = IntegrityKey::new(SAMPLE_PASSWORD);
        for at in 0..SAMPLE_REQUEST.len() {
            let mut changed = SAMPLE_REQUEST.to_vec();
            changed[at] ^= 1;
            assert!(Request::parse(&changed).is_none_or(|request| !request.verify(&key)), "byte {at}");
        }
    }

    #[test]
    fn a_truncated_request_is_refused() {
        assert!((0..SAMPLE_REQUEST.len()).all(|len| Request::parse(&SAMPLE_REQUEST[..len]).is_none()));
    }

    #[test]
    fn the_sample_ipv4_answer_of_rfc_5769_has_the_same_address_bytes() {
        let transaction = SAMPLE_REQUEST[8..20].try_into().expect("12 bytes");
        let answer = Answer::success(&transaction, "192.0.2.1:32853".parse().expect("address"), None);
        assert_eq!(&answer.as_ref()[20..32], b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43");
    }

    #[test]
    fn an_anonymous_request_has_no_credentials() {
        let mut plain = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        plain.extend([7; 12]);
        assert!(Request::parse(&plain).is_some_and(|request| request.is_anonymous()));
        assert!(Request::parse(SAMPLE_REQUEST).is_some_and(|request| !request.is_anonymous()));
    }
}
