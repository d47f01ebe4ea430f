//! What `dimpl` does not tell: the record keys of an association, seen where it hands them to its ciphers.
use super::record::{Half, Suite};
use dimpl::CryptoError;
use dimpl::crypto::{
    Aad, Buf, Cipher, Dtls12CipherSuite, HashAlgorithm, Nonce, SupportedDtls12CipherSuite, TmpBuf, aws_lc_rs as backend,
};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    /// What the call to `dimpl` that is under way on this thread has made: the client's half, then the server's.
    static MADE: RefCell<Vec<Tapped>> = const { RefCell::new(Vec::new()) };
}

/// One direction of an association that `dimpl` works on; the lock is its own alone.
pub(super) type Tapped = Arc<Mutex<Half>>;

/// The halves that the last call to `dimpl` on this thread has made, the client's first.
pub(super) fn made() -> Option<[Tapped; 2]> {
    MADE.with_borrow_mut(std::mem::take).try_into().ok()
}

/// What was seen so far.
pub(super) fn look(tapped: &Tapped) -> Half {
    tapped.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[derive(Debug)]
struct TappedSuite {
    aead: Suite,
    suite: Dtls12CipherSuite,
}

impl TappedSuite {
    fn inner(&self) -> &'static dyn SupportedDtls12CipherSuite {
        let known = backend::default_provider().cipher_suites;
        // All three are there; whatever was taken in place of one would fail the handshake.
        known.iter().copied().find(|suite| suite.suite() == self.suite).unwrap_or(known[0])
    }
}

impl SupportedDtls12CipherSuite for TappedSuite {
    fn suite(&self) -> Dtls12CipherSuite {
        self.suite
    }
    fn hash_algorithm(&self) -> HashAlgorithm {
        self.inner().hash_algorithm()
    }
    fn key_lengths(&self) -> (usize, usize, usize) {
        self.inner().key_lengths()
    }
    fn explicit_nonce_len(&self) -> usize {
        self.inner().explicit_nonce_len()
    }
    fn tag_len(&self) -> usize {
        self.inner().tag_len()
    }
    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        let inner = self.inner().create_cipher(key)?;
        let half = Arc::new(Mutex::new(Half::new(self.aead, key)));
        MADE.with_borrow_mut(|made| made.push(half.clone()));
        Ok(Box::new(TappedCipher { inner, half }))
    }
}

struct TappedCipher {
    inner: Box<dyn Cipher>,
    half: Tapped,
}

impl std::fmt::Debug for TappedCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TappedCipher")
    }
}

impl TappedCipher {
    fn note(&self, associated: &[u8], nonce: [u8; 12]) {
        // Begins with epoch and number (RFC 5246, section 6.2.3.3).
        if let Some(number) = associated.first_chunk() {
            self.half.lock().unwrap_or_else(PoisonError::into_inner).note(u64::from_be_bytes(*number), nonce);
        }
    }
}

impl Cipher for TappedCipher {
    fn encrypt(&mut self, plaintext: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        self.note(&aad, nonce.0);
        self.inner.encrypt(plaintext, aad, nonce)
    }
    fn decrypt(&mut self, ciphertext: &mut TmpBuf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        self.inner.decrypt(ciphertext, aad.clone(), nonce)?;
        self.note(&aad, nonce.0);
        Ok(())
    }
}

static SUITES: [TappedSuite; 3] = [
    TappedSuite { aead: Suite::Aes128Gcm, suite: Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256 },
    TappedSuite { aead: Suite::Aes256Gcm, suite: Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384 },
    TappedSuite { aead: Suite::ChaCha20Poly1305, suite: Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256 },
];

/// The cipher suites of a provider, each with our eye on it, the preferred first.
pub(super) static TAPPED_SUITES: [&dyn SupportedDtls12CipherSuite; 3] = [&SUITES[0], &SUITES[1], &SUITES[2]];
