//! A connectivity check of ours.
use super::{BINDING_REQUEST, Builder, ICE_CONTROLLED, IntegrityKey, PRIORITY, TransactionId, USERNAME};

/// USERNAME has at most 513 bytes.
const MAX_CHECK: usize = 640;

/// A Binding request with the peer's credentials, of a controlled agent (RFC 8445, section 7.2.2).
pub struct CheckRequest(Builder<MAX_CHECK>);

impl CheckRequest {
    /// From `local` ufrag to `remote`, whose password makes the key. `priority` is that of a peer-reflexive candidate;
    /// `tie_breaker` constant for the session.
    pub fn new(
        transaction: &TransactionId,
        local: &str,
        remote: &str,
        key: &IntegrityKey,
        priority: u32,
        tie_breaker: u64,
    ) -> Self {
        let mut request = Builder::new(BINDING_REQUEST, transaction);
        request.attribute(USERNAME, format!("{remote}:{local}").as_bytes());
        request.attribute(PRIORITY, &priority.to_be_bytes());
        request.attribute(ICE_CONTROLLED, &tie_breaker.to_be_bytes());
        request.integrity(key);
        request.fingerprint();
        Self(request)
    }

    /// The request; `None` when the ufrags are longer than any may be.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;

    #[test]
    fn the_peer_reads_its_own_credentials() {
        let key = IntegrityKey::new("their password");
        let check = CheckRequest::new(&[3; 12], "ours", "theirs", &key, 0x6e00_01ff, 7);
        let request = Request::parse(check.bytes().expect("short")).expect("well formed");
        assert_eq!(request.ufrags(), Some(("theirs", "ours")));
        assert!(request.verify(&key) && request.controlled && request.unknown.is_none() && !request.use_candidate);
        assert_eq!(request.priority, Some(0x6e00_01ff));
        assert!(CheckRequest::new(&[3; 12], "ours", &"u".repeat(600), &key, 1, 7).bytes().is_none());
    }
}
