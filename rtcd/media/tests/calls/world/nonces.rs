//! What the participants' networks see of the nonces that the server encrypts with: none may ever be used for two plaintexts
//! under one key, and each participant has its own keys.
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

#[derive(Default)]
pub struct Nonces {
    /// The packet of each number of a stream: the same one may be sent again.
    rtp: HashMap<(SocketAddr, u32, u64), u64>,
    newest: HashMap<(SocketAddr, u32), u64>,
    rtcp: HashSet<(SocketAddr, u32, u32)>,
    dtls: HashSet<(SocketAddr, u64)>,
    explicit: HashSet<(SocketAddr, [u8; 8])>,
}

impl Nonces {
    /// A datagram of the server's. Panics when it is encrypted under a nonce that was used before.
    pub fn note(&mut self, to: SocketAddr, bytes: &[u8]) {
        match bytes {
            [20..=63, ..] => self.note_dtls(to, bytes),
            [128..=191, 192..=223, ..] => {
                let (ssrc, index) = (word(&bytes[4..]), word(&bytes[bytes.len() - 4..]));
                assert!(self.rtcp.insert((to, ssrc, index)), "{to}: SRTCP index {index:x} of {ssrc} is used twice");
            }
            [128..=191, ..] => self.note_rtp(to, bytes),
            _ => {}
        }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.rtp.len() + self.rtcp.len() + self.dtls.len()
    }

    fn note_rtp(&mut self, to: SocketAddr, bytes: &[u8]) {
        let (wire, ssrc) = (u16::from_be_bytes([bytes[2], bytes[3]]), word(&bytes[8..]));
        let newest = self.newest.entry((to, ssrc)).or_insert(u64::from(wire));
        let seq = newest.saturating_add_signed(i64::from(wire.wrapping_sub(*newest as u16) as i16));
        *newest = seq.max(*newest);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        let known = *self.rtp.entry((to, ssrc, seq)).or_insert(hash);
        assert_eq!(known, hash, "{to}: number {seq} of {ssrc} is used for two packets");
    }

    fn note_dtls(&mut self, to: SocketAddr, mut bytes: &[u8]) {
        while let Some((header, rest)) = bytes.split_at_checked(13) {
            let number = u64::from_be_bytes(header[3..11].try_into().expect("eight bytes"));
            let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes([header[11], header[12]])));
            bytes = rest;
            // Epoch 0 is not encrypted; application data alone is never sent again.
            if number >> 48 == 0 || header[0] != 23 {
                continue;
            }
            assert!(self.dtls.insert((to, number)), "{to}: record {number:x} is used twice");
            let explicit = body[..8].try_into().expect("eight bytes");
            assert!(self.explicit.insert((to, explicit)), "{to}: a nonce of GCM is used twice");
        }
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
