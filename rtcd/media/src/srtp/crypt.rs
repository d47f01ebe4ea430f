//! Key derivation and the two ciphers, for one direction and one of RTP or RTCP.
use super::{KeyingMaterial, Master, Profile};
use crate::footprint::Footprint;
use aws_lc_rs::{aead, cipher, constant_time, hmac, iv::FixedLength};
use std::cell::OnceCell;
use std::sync::Arc;

/// Labels of the key derivation function (RFC 3711, section 4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Rtp = 0,
    Rtcp = 3,
}

/// HMAC-SHA1-80: bytes of the tag.
pub(super) const CM_TAG: usize = 10;
/// GCM: bytes of the tag.
pub(super) const GCM_TAG: usize = 16;

/// A session key, ready to use.
pub(super) enum Crypt {
    Gcm {
        key: aead::LessSafeKey,
        salt: [u8; 12],
    },
    /// In boxes: these states are large, and most sessions are GCM's.
    Cm {
        key: Box<cipher::EncryptingKey>,
        auth: Box<hmac::Key>,
        salt: [u8; 14],
    },
}

/// A session key that is derived when it is first used: whoever sends or hears nothing keeps no state of a cipher, which takes more
/// than half a kilobyte.
pub(super) struct SessionKey {
    keys: Arc<KeyingMaterial>,
    of_client: bool,
    purpose: Purpose,
    /// Bytes of the tag: here, and not looked up in what all keys share, which is out of the cache when a packet comes.
    tag_len: usize,
    derived: OnceCell<Crypt>,
}

impl SessionKey {
    pub(super) fn new(keys: &Arc<KeyingMaterial>, of_client: bool, purpose: Purpose) -> Self {
        let tag_len = match keys.profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => GCM_TAG,
            Profile::AesCm128HmacSha1_80 => CM_TAG,
        };
        Self { keys: keys.clone(), of_client, purpose, tag_len, derived: OnceCell::new() }
    }

    #[inline]
    pub(super) fn get(&self) -> &Crypt {
        self.derived.get_or_init(|| self.derive())
    }

    #[cold]
    fn derive(&self) -> Crypt {
        Crypt::new(self.keys.profile, &self.keys.master(self.of_client), self.purpose)
    }

    /// Bytes of the tag.
    #[inline]
    pub(super) fn tag_len(&self) -> usize {
        self.tag_len
    }
}

/// What the crate holds of a cipher behind its face, of either kind (heaptrack).
const CONTEXT: usize = 592;

/// The cipher failed: for an incoming packet, it is not authentic.
#[derive(Debug)]
pub(super) struct NotAuthentic;

// Key lengths are fixed by the profile, so the constructors of aws-lc cannot fail; if they did it would be our bug.
const LENGTHS: &str = "key lengths are those of the profile";

fn counter_mode(key: &[u8]) -> cipher::EncryptingKey {
    let algorithm = if key.len() == 32 { &cipher::AES_256 } else { &cipher::AES_128 };
    let key = cipher::UnboundCipherKey::new(algorithm, key).expect(LENGTHS);
    cipher::EncryptingKey::ctr(key).expect(LENGTHS)
}

/// AES-CM as pseudo-random function (RFC 3711, section 4.3.3).
fn derive<const N: usize>(master: &Master<'_>, label: u8) -> [u8; N] {
    let mut iv = [0u8; 16];
    iv[..master.salt.len()].copy_from_slice(master.salt);
    iv[7] ^= label;
    let mut out = [0u8; N];
    counter_mode(master.key)
        .less_safe_encrypt(&mut out, cipher::EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect(LENGTHS);
    out
}

impl Crypt {
    pub(super) fn new(profile: Profile, master: &Master<'_>, purpose: Purpose) -> Self {
        let label = purpose as u8;
        match profile {
            Profile::AesCm128HmacSha1_80 => Self::Cm {
                key: Box::new(counter_mode(&derive::<16>(master, label))),
                auth: Box::new(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &derive::<20>(master, label + 1))),
                salt: derive(master, label + 2),
            },
            Profile::AeadAes128Gcm => Self::gcm(&aead::AES_128_GCM, &derive::<16>(master, label), master, label),
            Profile::AeadAes256Gcm => Self::gcm(&aead::AES_256_GCM, &derive::<32>(master, label), master, label),
        }
    }

    fn gcm(algorithm: &'static aead::Algorithm, key: &[u8], master: &Master<'_>, label: u8) -> Self {
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).expect(LENGTHS));
        Self::Gcm { key, salt: derive(master, label + 2) }
    }
}

/// The nonce of GCM (RFC 7714, section 8.1): 0, SSRC, 48 bits of index, XOR salt.
pub(super) fn gcm_nonce(salt: &[u8; 12], ssrc: &[u8], index: u64) -> aead::Nonce {
    let mut nonce = [0u8; 12];
    nonce[2..6].copy_from_slice(ssrc);
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    aead::Nonce::assume_unique_for_key(nonce)
}

/// Encrypts or decrypts in counter mode (RFC 3711, section 4.1.1): the IV from salt, SSRC and 48 bits of index.
pub(super) fn cm_apply(
    key: &cipher::EncryptingKey,
    salt: &[u8; 14],
    ssrc: [u8; 4],
    index: u64,
    bytes: &mut [u8],
) -> Result<(), NotAuthentic> {
    let mut iv = [0u8; 16];
    iv[4..8].copy_from_slice(&ssrc);
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    key.less_safe_encrypt(bytes, cipher::EncryptionContext::Iv128(FixedLength::from(iv)))
        .map(|_| ())
        .map_err(|_| NotAuthentic)
}

/// The tag over `parts`.
pub(super) fn cm_tag(auth: &hmac::Key, parts: [&[u8]; 2]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(auth);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Compares a received tag with the one over `parts`, in constant time.
pub(super) fn cm_verify(auth: &hmac::Key, parts: [&[u8]; 2], received: &[u8]) -> Result<(), NotAuthentic> {
    let tag = cm_tag(auth, parts);
    constant_time::verify_slices_are_equal(&tag.as_ref()[..CM_TAG], received).map_err(|_| NotAuthentic)
}

/// The keys that it is derived from are shared.
impl Footprint for SessionKey {
    fn heap_bytes(&self) -> usize {
        match self.derived.get() {
            Some(Crypt::Gcm { .. }) => CONTEXT,
            Some(Crypt::Cm { .. }) => size_of::<cipher::EncryptingKey>() + size_of::<hmac::Key>() + CONTEXT,
            None => 0,
        }
    }
}
