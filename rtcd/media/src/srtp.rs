//! SRTP and SRTCP in place on `aws-lc-rs` (RFC 3711, RFC 7714): protect for one peer, unprotect from one peer.
//!
//! Keys come from the DTLS exporter (RFC 5764, section 4.2). The sequence number of an outgoing packet is known to its
//! track, so [`Protector`] keeps nothing per SSRC; [`Unprotector`] keeps a roll-over counter and a replay window each.

use crate::footprint::Footprint;
use serde::{Deserialize, Serialize, Serializer};
mod crypt;
mod protect;
mod replay;
mod streams;
mod unprotect;

pub use protect::Protector;
pub use replay::ReplayWindow;
pub use unprotect::{SrtpError, Unprotector};

use crate::dtls::Role;
use std::sync::Arc;
use streams::Streams;
use zeroize::Zeroizing;

/// Bytes that protecting a packet may add: a GCM tag, and for SRTCP the index behind it.
pub const MAX_OVERHEAD: usize = 16 + 4;

/// A DTLS-SRTP protection profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Profile {
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`.
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    AesCm128HmacSha1_80,
}

impl Profile {
    /// Length of a master key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 => 16,
        }
    }

    /// Length of a master salt in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// The name under which IANA lists it, for logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        }
    }
}

/// What the DTLS exporter gave: both sides' master keys and salts. Never to be logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Material")]
pub struct KeyingMaterial {
    profile: Profile,
    bytes: Zeroizing<Box<[u8]>>,
}

/// [`KeyingMaterial`] as it was read.
#[derive(Deserialize)]
struct Material {
    profile: Profile,
    bytes: Zeroizing<Vec<u8>>,
}

/// Keys that are too short for their profile.
#[derive(Debug, thiserror::Error)]
#[error("too few bytes of keys for {}", .0.name())]
struct TooShort(Profile);

impl TryFrom<Material> for KeyingMaterial {
    type Error = TooShort;
    fn try_from(Material { profile, bytes }: Material) -> Result<Self, TooShort> {
        Self::new(profile, &bytes).ok_or(TooShort(profile))
    }
}

/// One direction's master key and salt.
pub(crate) struct Master<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) salt: &'a [u8],
}

impl KeyingMaterial {
    /// `bytes`: client key, server key, client salt, server salt; `None` when too few.
    pub fn new(profile: Profile, bytes: &[u8]) -> Option<Self> {
        let len = 2 * (profile.key_len() + profile.salt_len());
        Some(Self { profile, bytes: Zeroizing::new(bytes.get(..len)?.into()) })
    }

    /// The negotiated profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    fn master(&self, of_client: bool) -> Master<'_> {
        let (key, salt) = (self.profile.key_len(), self.profile.salt_len());
        let (keys, salts) = self.bytes.split_at(2 * key);
        let side = usize::from(!of_client);
        Master { key: &keys[side * key..][..key], salt: &salts[side * salt..][..salt] }
    }

    /// The two directions of the side that was DTLS client (`is_client`) or server.
    pub fn split(&self, is_client: bool) -> (Protector, Unprotector) {
        both(&Arc::new(self.clone()), is_client)
    }
}

fn both(keys: &Arc<KeyingMaterial>, is_client: bool) -> (Protector, Unprotector) {
    (Protector::new(keys, is_client), Unprotector::new(keys, !is_client))
}

/// Both directions of one participant's media.
#[derive(Serialize)]
pub struct Srtp {
    #[serde(serialize_with = "written")]
    keys: Arc<KeyingMaterial>,
    /// What we send.
    #[serde(flatten)]
    pub protector: Protector,
    /// What we receive.
    #[serde(flatten)]
    pub unprotector: Unprotector,
}

impl Srtp {
    /// Fresh ones, of the side that had this part in DTLS.
    pub fn new(keys: KeyingMaterial, role: Role) -> Self {
        let keys = Arc::new(keys);
        let (protector, unprotector) = both(&keys, role == Role::Client);
        Self { keys, protector, unprotector }
    }
}

fn written<S: Serializer>(keys: &Arc<KeyingMaterial>, serializer: S) -> Result<S::Ok, S::Error> {
    keys.as_ref().serialize(serializer)
}

/// [`Srtp`] as another process has written it.
#[derive(Deserialize)]
pub(crate) struct SavedSrtp {
    keys: KeyingMaterial,
    rtcp_index: u32,
    streams: Streams,
    rtcp_streams: Streams,
}

impl SavedSrtp {
    /// Goes on.
    pub(crate) fn resume(self, role: Role) -> Srtp {
        let mut srtp = Srtp::new(self.keys, role);
        srtp.protector.go_on(self.rtcp_index);
        srtp.unprotector.go_on(self.streams, self.rtcp_streams);
        srtp
    }
}

impl std::fmt::Debug for KeyingMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyingMaterial").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Footprint for Srtp {
    fn heap_bytes(&self) -> usize {
        // Keys stand behind two counters.
        let keys = 2 * size_of::<usize>() + size_of::<KeyingMaterial>() + self.keys.bytes.len();
        keys + self.protector.heap_bytes() + self.unprotector.heap_bytes()
    }
}

#[cfg(test)]
mod tests;
