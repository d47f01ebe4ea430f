//! MESSAGE-INTEGRITY (RFC 8489, section 14.5).
use super::HEADER;
use aws_lc_rs::{constant_time, hmac};
use md5::{Digest as _, Md5};

/// A key for MESSAGE-INTEGRITY.
#[derive(Clone)]
pub struct IntegrityKey(hmac::Key);

impl IntegrityKey {
    /// Of an ICE password: short-term credentials (RFC 8489, section 9.1.1).
    pub fn new(password: &str) -> Self {
        Self::of(password.as_bytes())
    }

    /// Of long-term credentials (RFC 8489, section 9.2.2). The standard wants MD5: it keeps nothing secret that HMAC would not.
    pub fn long_term(username: &str, realm: &[u8], password: &str) -> Self {
        let digest = Md5::new().chain_update(username).chain_update(":").chain_update(realm).chain_update(":");
        Self::of(&digest.chain_update(password).finalize())
    }

    fn of(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key))
    }

    /// The tag of a message whose length field counts MESSAGE-INTEGRITY already.
    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, message)
    }

    /// Whether the tag in a message's MESSAGE-INTEGRITY at `at` is right. Constant time in the tag.
    pub(crate) fn verifies(&self, message: &[u8], at: usize) -> bool {
        let (Some(covered), Some(tag)) = (message.get(4..at), message.get(at + 4..at + 24)) else { return false };
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&message[..2]);
        // The length field counts up to the end of MESSAGE-INTEGRITY itself.
        context.update(&((at + 24 - HEADER) as u16).to_be_bytes());
        context.update(covered);
        constant_time::verify_slices_are_equal(context.sign().as_ref(), tag).is_ok()
    }
}

impl std::fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntegrityKey")
    }
}
