//! Answers to Binding requests.
use super::{BINDING_SUCCESS, Builder, ERROR_CODE, IntegrityKey, MAX_ANSWER, TransactionId, XOR_MAPPED_ADDRESS};
use std::net::SocketAddr;

const BINDING_ERROR: u16 = 0x0111;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;

/// An answer, ready to be sent.
pub struct Answer(Builder<MAX_ANSWER>);

impl Answer {
    /// Success: `to` is the address that the request came from. With a key: MESSAGE-INTEGRITY and FINGERPRINT.
    pub fn success(transaction: &TransactionId, to: SocketAddr, key: Option<&IntegrityKey>) -> Self {
        let mut answer = Builder::new(BINDING_SUCCESS, transaction);
        answer.xor_address(XOR_MAPPED_ADDRESS, to);
        Self::seal(answer, key)
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
        let mut answer = Builder::new(BINDING_ERROR, id);
        let mut value = [0u8; 4 + 20];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        value[4..4 + reason.len()].copy_from_slice(reason.as_bytes());
        answer.attribute(ERROR_CODE, &value[..4 + reason.len()]);
        if let Some(attribute) = unknown {
            answer.attribute(UNKNOWN_ATTRIBUTES, &attribute.to_be_bytes());
        }
        Self::seal(answer, Some(key))
    }

    fn seal(mut answer: Builder<MAX_ANSWER>, key: Option<&IntegrityKey>) -> Self {
        if let Some(key) = key {
            answer.integrity(key);
            answer.fingerprint();
        }
        Self(answer)
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        // No answer of ours is longer than its buffer.
        self.0.finish().unwrap_or_default()
    }
}
