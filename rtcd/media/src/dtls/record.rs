//! DTLS 1.2 records of epoch 1 under an AEAD (RFC 6347, section 4.1; RFC 5288; RFC 7905): all that is left of DTLS when the
//! handshake is over. Plain data, so that another process can go on with it.
use crate::footprint::{Footprint, flat};
use crate::random::random_u64;
use crate::reserve::DTLS_LEAP;
use aws_lc_rs::aead::{self, LessSafeKey, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Type, version, epoch and number, length.
const HEADER: usize = 13;
const TAG: usize = 16;
/// The part of a GCM nonce that travels with the record (RFC 5288, section 3).
const EXPLICIT: usize = 8;
/// Epoch and number are one 64-bit number in nonces and associated data.
const EPOCH_1: u64 = 1 << 48;
/// DTLS 1.2.
const VERSION: [u8; 2] = [0xfe, 0xfd];
/// Numbers of records that may come behind the newest one (RFC 6347, section 4.1.2.6).
const WINDOW: u64 = 64;

pub(super) const ALERT: u8 = 21;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The AEAD of a cipher suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Suite {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Suite {
    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
    /// Length of the explicit nonce.
    const fn explicit(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => EXPLICIT,
            Self::ChaCha20Poly1305 => 0,
        }
    }
}

/// One direction: its secret, and which numbers were used.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Half {
    suite: Suite,
    key: Zeroizing<Vec<u8>>,
    /// The implicit nonce: 12 bytes of ChaCha20's, 4 of GCM's.
    iv: [u8; 12],
    /// The highest number used or seen, and a bit for each of those up to it; `None` before the first.
    newest: Option<u64>,
    seen: u64,
    /// Numbers from this one on must not be used: see [`reserve`](crate::reserve).
    #[serde(skip, default = "all")]
    ceiling: u64,
}

const fn all() -> u64 {
    EPOCH_1
}

impl Half {
    /// A direction of which nothing but the key is known: its implicit nonce shows at the first record.
    pub(super) fn new(suite: Suite, key: &[u8]) -> Self {
        Self { suite, key: Zeroizing::new(key.to_vec()), iv: [0; 12], newest: None, seen: 0, ceiling: all() }
    }

    /// A record of epoch 1 was sealed or opened elsewhere: `number` is epoch and number, `nonce` the whole nonce.
    pub(super) fn note(&mut self, number: u64, nonce: [u8; 12]) {
        self.iv = if self.suite.explicit() == 0 { with_number(nonce, number) } else { nonce };
        self.commit(number & (EPOCH_1 - 1));
    }

    /// Everything up to this number counts as used.
    fn pass_over(&mut self, newest: u64) {
        if self.newest.is_none_or(|known| known <= newest) {
            self.newest = Some(newest);
            self.seen = u64::MAX;
        }
    }

    fn is_fresh(&self, number: u64) -> bool {
        match self.newest.and_then(|newest| newest.checked_sub(number)) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen >> behind & 1 == 0,
        }
    }

    fn commit(&mut self, number: u64) {
        let newest = self.newest.unwrap_or(number);
        match number.checked_sub(newest) {
            Some(ahead) => {
                self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
                self.newest = Some(number);
            }
            None if newest - number < WINDOW => self.seen |= 1 << (newest - number),
            None => {}
        }
    }

    fn nonce(&self, number: u64, explicit: &[u8]) -> aead::Nonce {
        let mut nonce = self.iv;
        match self.suite.explicit() {
            0 => nonce = with_number(nonce, number),
            len => nonce[12 - len..].copy_from_slice(explicit),
        }
        aead::Nonce::assume_unique_for_key(nonce)
    }

    /// `None` when the key has not the length that the suite wants.
    fn cipher(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(self.suite.algorithm(), &self.key).ok()?))
    }
}

/// RFC 7905, section 2: the number, XOR the last bytes.
fn with_number(mut nonce: [u8; 12], number: u64) -> [u8; 12] {
    nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, with)| *byte ^= with);
    nonce
}

/// RFC 5246, section 6.2.3.3: epoch and number, type, version, length of the plaintext.
fn associated(number: u64, kind: u8, len: usize) -> aead::Aad<[u8; HEADER]> {
    let mut data = [0; HEADER];
    data[..8].copy_from_slice(&number.to_be_bytes());
    data[8] = kind;
    data[9..11].copy_from_slice(&VERSION);
    data[11..].copy_from_slice(&(len as u16).to_be_bytes());
    aead::Aad::from(data)
}

/// Both directions of an association.
#[derive(Deserialize)]
#[serde(try_from = "Halves")]
pub(super) struct Records {
    /// Their ciphers are made for each record: two of them take more than a kilobyte, and a data channel has little to say.
    halves: Halves,
}

/// What we write under and what we read under.
#[derive(Serialize, Deserialize)]
struct Halves {
    write: Half,
    read: Half,
}

/// Halves that no record can be sealed or opened under.
#[derive(Debug, thiserror::Error)]
#[error("the DTLS keys are not whole")]
pub(super) struct NotWhole;

impl TryFrom<Halves> for Records {
    type Error = NotWhole;
    fn try_from(halves: Halves) -> Result<Self, NotWhole> {
        let both_seen = halves.write.newest.is_some() && halves.read.newest.is_some();
        let are_whole = both_seen && halves.write.cipher().is_some() && halves.read.cipher().is_some();
        are_whole.then_some(Self { halves }).ok_or(NotWhole)
    }
}

impl Serialize for Records {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.halves.serialize(serializer)
    }
}

/// What has come of a record.
enum Fresh {
    /// Its plaintext.
    Plain(Vec<u8>),
    /// It was opened before, or is too old to know.
    Not,
}

/// A record that was opened.
pub(super) struct Opened {
    /// Its content type.
    pub(super) kind: u8,
    /// What it says.
    pub(super) plain: Vec<u8>,
}

impl Records {
    /// Goes on where a handshake has ended: each side has sealed something, its Finished.
    pub(super) fn new(write: Half, read: Half) -> Result<Self, NotWhole> {
        Halves { write, read }.try_into()
    }

    /// The newest numbers written and read.
    pub(super) fn newest(&self) -> (u64, u64) {
        (self.halves.write.newest.unwrap_or_default(), self.halves.read.newest.unwrap_or_default())
    }

    /// The newest number is written down: some more may be used.
    pub(super) fn reserve(&mut self) {
        let write = &mut self.halves.write;
        write.ceiling = (write.newest.unwrap_or_default() + DTLS_LEAP).min(EPOCH_1);
    }

    /// Goes on behind whoever died, for whom these were written down last as the newest. Nothing can be sealed until it is
    /// [reserved](Self::reserve).
    pub(super) fn leap(&mut self, (written, read): (u64, u64)) {
        let Halves { write, read: reads } = &mut self.halves;
        write.pass_over(written.saturating_add(DTLS_LEAP).min(EPOCH_1 - 1));
        write.ceiling = write.newest.unwrap_or_default();
        reads.pass_over(read.min(EPOCH_1 - 1));
    }

    /// One record, to be sent in one datagram. `None` when the numbers of the epoch are used up.
    pub(super) fn seal(&mut self, kind: u8, plain: &[u8]) -> Option<Vec<u8>> {
        let write = &mut self.halves.write;
        let number = write.newest? + 1;
        if number >= write.ceiling {
            return None;
        }
        write.commit(number);
        let number = EPOCH_1 | number;
        // Random, not the number: it never comes twice, however old the state is that we go on from.
        let random = random_u64().to_be_bytes();
        let explicit = &random[..write.suite.explicit()];
        let mut record = Vec::with_capacity(HEADER + explicit.len() + plain.len() + TAG);
        record.push(kind);
        record.extend(VERSION);
        record.extend(number.to_be_bytes());
        record.extend(u16::try_from(explicit.len() + plain.len() + TAG).ok()?.to_be_bytes());
        record.extend(explicit);
        record.extend(plain);
        let body = &mut record[HEADER + explicit.len()..];
        let nonce = write.nonce(number, explicit);
        let tag =
            write.cipher()?.seal_in_place_separate_tag(nonce, associated(number, kind, plain.len()), body).ok()?;
        record.extend(tag.as_ref());
        Some(record)
    }

    /// Opens the records of a datagram that are of epoch 1, fresh and authentic. False when something is malformed or forged;
    /// what comes again is passed over: a record, or a flight of the handshake that is behind us.
    pub(super) fn open(&mut self, mut datagram: &[u8], mut each: impl FnMut(Opened)) -> bool {
        let mut whole = true;
        while let Some((header, rest)) = datagram.split_first_chunk::<HEADER>() {
            let [kind, v1, v2, number @ .., l1, l2] = *header;
            let Some((body, rest)) = rest.split_at_checked(u16::from_be_bytes([l1, l2]).into()) else { return false };
            datagram = rest;
            let number = u64::from_be_bytes(number);
            if number < EPOCH_1 {
                continue;
            }
            match ([v1, v2] == VERSION).then(|| self.open_one(kind, number, body)).flatten() {
                Some(Fresh::Plain(plain)) => each(Opened { kind, plain }),
                Some(Fresh::Not) => {}
                None => whole = false,
            }
        }
        whole && datagram.is_empty()
    }

    /// `None`: malformed or forged.
    fn open_one(&mut self, kind: u8, number: u64, body: &[u8]) -> Option<Fresh> {
        let read = &mut self.halves.read;
        let within = number.checked_sub(EPOCH_1).filter(|within| *within < EPOCH_1)?;
        if !read.is_fresh(within) {
            return Some(Fresh::Not);
        }
        let (explicit, sealed) = body.split_at_checked(read.suite.explicit())?;
        let len = sealed.len().checked_sub(TAG)?;
        let mut plain = sealed.to_vec();
        read.cipher()?.open_in_place(read.nonce(number, explicit), associated(number, kind, len), &mut plain).ok()?;
        plain.truncate(len);
        read.commit(within);
        Some(Fresh::Plain(plain))
    }
}

impl Footprint for Records {
    fn heap_bytes(&self) -> usize {
        flat(&self.halves.write.key) + flat(&self.halves.read.key)
    }
}

#[cfg(test)]
mod tests;
