//! Answers to Binding requests.
use super::{BINDING_SUCCESS, FINGERPRINT, HEADER, IntegrityKey, MAGIC_COOKIE, MAX_ANSWER, MESSAGE_INTEGRITY};
use super::{TransactionId, XOR_MAPPED_ADDRESS, fingerprint};
use aws_lc_rs::hmac;
use std::net::{IpAddr, SocketAddr};

const BINDING_ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;

/// An answer under construction.
pub struct Answer {
    bytes: [u8; MAX_ANSWER],
    len: usize,
}

impl Answer {
    /// Success: `to` is the address that the request came from. With a key: MESSAGE-INTEGRITY and FINGERPRINT.
    pub fn success(transaction: &TransactionId, to: SocketAddr, key: Option<&IntegrityKey>) -> Self {
        let mut answer = Self::header(BINDING_SUCCESS, transaction);
        let cookie = MAGIC_COOKIE.to_be_bytes();
        let mut value = [0u8; 20];
        value[2..4].copy_from_slice(&(to.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
        let len = match to.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                for (at, octet) in ip.octets().iter().enumerate() {
                    value[4 + at] = octet ^ cookie[at];
                }
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                let mask = cookie.iter().chain(transaction);
                for (at, (octet, mask)) in ip.octets().iter().zip(mask).enumerate() {
                    value[4 + at] = octet ^ mask;
                }
                20
            }
        };
        answer.attribute(XOR_MAPPED_ADDRESS, &value[..len]);
        answer.seal(key)
    }

    /// 487: the peer must take the controlling role, as a lite agent is always controlled.
    pub fn role_conflict(transaction: &TransactionId, key: &IntegrityKey) -> Self {
        Self::error(transaction, 487, "Role Conflict", None, key)
    }

    /// 420: a comprehension-required attribute that we do not know.
    pub fn unknown_attribute(transaction: &TransactionId, attribute: u16, key: &IntegrityKey) -> Self {
        Self::error(transaction, 420, "Unknown Attribute", Some(attribute), key)
    }

    fn error(id: &TransactionId, code: u16, reason: &str, unknown: Option<u16>, key: &IntegrityKey) -> Self {
        let mut answer = Self::header(BINDING_ERROR, id);
        let mut value = [0u8; 4 + 20];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        value[4..4 + reason.len()].copy_from_slice(reason.as_bytes());
        answer.attribute(ERROR_CODE, &value[..4 + reason.len()]);
        if let Some(attribute) = unknown {
            answer.attribute(UNKNOWN_ATTRIBUTES, &attribute.to_be_bytes());
        }
        answer.seal(Some(key))
    }

    fn header(kind: u16, transaction: &TransactionId) -> Self {
        let mut bytes = [0; MAX_ANSWER];
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes[8..HEADER].copy_from_slice(transaction);
        Self { bytes, len: HEADER }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let at = self.len;
        self.bytes[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        self.bytes[at + 2..at + 4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes[at + 4..at + 4 + value.len()].copy_from_slice(value);
        self.len = at + 4 + value.len().next_multiple_of(4);
    }

    fn set_length(&mut self, attributes: usize) {
        self.bytes[2..4].copy_from_slice(&(attributes as u16).to_be_bytes());
    }

    fn seal(mut self, key: Option<&IntegrityKey>) -> Self {
        self.set_length(self.len - HEADER);
        if let Some(IntegrityKey(key)) = key {
            self.set_length(self.len - HEADER + 24);
            let tag = hmac::sign(key, &self.bytes[..self.len]);
            self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
            self.set_length(self.len - HEADER + 8);
            let sum = fingerprint(&self.bytes[..self.len]);
            self.attribute(FINGERPRINT, &sum.to_be_bytes());
        }
        self
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
