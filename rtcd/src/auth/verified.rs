//! Keys that were found right once: a client that comes back with its key needs no bcrypt check, so that a flood of logins
//! keeps nobody out who was in before. A keyed hash is kept, never the key, under a secret that dies with the process.
use super::Secret;
use crate::ids::ClientId;
use aws_lc_rs::hmac;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Clients that are remembered; of more the one that was away longest is forgotten.
const CAPACITY: usize = 4096;

/// What is remembered of each client.
pub(super) struct Verified {
    secret: hmac::Key,
    clients: Mutex<HashMap<ClientId, (hmac::Tag, Instant)>>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} clients", self.clients().len())
    }
}

impl Verified {
    pub(super) fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, &secret), clients: Mutex::default() }
    }

    /// Whether this is the key that `hash` was found to be of.
    pub(super) fn knows(&self, client: &ClientId, hash: &str, key: &Secret, now: Instant) -> bool {
        let mut clients = self.clients();
        let Some((tag, seen)) = clients.get_mut(client) else { return false };
        let right = hmac::verify(&self.secret, &message(client, hash, key), tag.as_ref()).is_ok();
        if right {
            *seen = now;
        }
        right
    }

    /// This key was found right.
    pub(super) fn remember(&self, client: &ClientId, hash: &str, key: &Secret, now: Instant) {
        let tag = hmac::sign(&self.secret, &message(client, hash, key));
        let mut clients = self.clients();
        if clients.len() >= CAPACITY && !clients.contains_key(client) {
            // Rare: each newcomer costs a bcrypt check.
            let oldest = clients.iter().min_by_key(|(_, (_, seen))| *seen).map(|(client, _)| client.clone());
            oldest.and_then(|oldest| clients.remove(&oldest));
        }
        clients.insert(client.clone(), (tag, now));
    }

    /// The client has gone.
    pub(super) fn forget(&self, client: &ClientId) {
        self.clients().remove(client);
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientId, (hmac::Tag, Instant)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that registers again has another hash.
fn message(client: &ClientId, hash: &str, key: &Secret) -> Vec<u8> {
    let parts = [client.as_str(), hash, key.expose()];
    parts.into_iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_is_known_for_its_client_and_hash_alone_until_it_is_forgotten() {
        let verified = Verified::new();
        let (now, key) = (Instant::now(), Secret::from("right"));
        verified.remember(&"a".into(), "hash", &key, now);
        assert!(verified.knows(&"a".into(), "hash", &key, now));
        assert!(!verified.knows(&"a".into(), "hash", &"wrong".into(), now));
        assert!(!verified.knows(&"a".into(), "other", &key, now));
        assert!(!verified.knows(&"b".into(), "hash", &key, now));
        assert!(!format!("{verified:?}").contains("right"));
        verified.forget(&"a".into());
        assert!(!verified.knows(&"a".into(), "hash", &key, now));
    }

    #[test]
    fn who_was_away_longest_is_forgotten_first() {
        let verified = Verified::new();
        let (start, key) = (Instant::now(), Secret::from("key"));
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..CAPACITY {
            verified.remember(&number.to_string().as_str().into(), "", &key, at(number));
        }
        assert!(verified.knows(&"0".into(), "", &key, at(CAPACITY)));
        verified.remember(&"new".into(), "", &key, at(CAPACITY));
        assert!(verified.knows(&"0".into(), "", &key, start) && !verified.knows(&"1".into(), "", &key, start));
        assert_eq!(verified.clients().len(), CAPACITY);
    }
}
