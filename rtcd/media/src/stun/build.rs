//! A STUN message under construction, in a buffer of its own.
use super::attributes::write_xor_address;
use super::{FINGERPRINT, HEADER, IntegrityKey, MAGIC_COOKIE, MESSAGE_INTEGRITY, TransactionId, fingerprint};
use std::net::SocketAddr;

/// A message of at most `N` bytes.
#[derive(Clone)]
pub(crate) struct Builder<const N: usize> {
    bytes: [u8; N],
    len: usize,
    /// Something did not fit.
    overflown: bool,
}

impl<const N: usize> Builder<N> {
    /// The header of a message of this type.
    pub fn new(kind: u16, transaction: &TransactionId) -> Self {
        let mut bytes = [0; N];
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes[8..HEADER].copy_from_slice(transaction);
        Self { bytes, len: HEADER, overflown: false }
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let next = self.len + 4 + value.len().next_multiple_of(4);
        match self.bytes.get_mut(self.len..next) {
            Some(room) => {
                room[..2].copy_from_slice(&kind.to_be_bytes());
                room[2..4].copy_from_slice(&(value.len() as u16).to_be_bytes());
                room[4..4 + value.len()].copy_from_slice(value);
                self.len = next;
                self.set_length(0);
            }
            None => self.overflown = true,
        }
    }

    /// Appends an address, masked by the transaction.
    pub fn xor_address(&mut self, kind: u16, address: SocketAddr) {
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&self.bytes[8..HEADER]);
        let (value, len) = write_xor_address(address, &transaction);
        self.attribute(kind, &value[..len]);
    }

    /// Appends MESSAGE-INTEGRITY.
    pub fn integrity(&mut self, key: &IntegrityKey) {
        self.set_length(24);
        let tag = key.sign(&self.bytes[..self.len]);
        self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
    }

    /// Appends FINGERPRINT.
    pub fn fingerprint(&mut self) {
        self.set_length(8);
        let sum = fingerprint(&self.bytes[..self.len]);
        self.attribute(FINGERPRINT, &sum.to_be_bytes());
    }

    /// The message; `None` when something did not fit.
    pub fn finish(&self) -> Option<&[u8]> {
        (!self.overflown).then(|| &self.bytes[..self.len])
    }

    /// The length field counts what is there, and `more` bytes.
    fn set_length(&mut self, more: usize) {
        self.bytes[2..4].copy_from_slice(&((self.len - HEADER + more) as u16).to_be_bytes());
    }
}
