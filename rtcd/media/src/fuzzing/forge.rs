//! Packets made by hand: a peer's view of STUN and SCTP, free to break any rule.
use crate::stun;
use aws_lc_rs::hmac;

/// A STUN attribute: its type and value.
pub type Attribute<'a> = (u16, &'a [u8]);

/// `USE-CANDIDATE`, empty.
pub const USE_CANDIDATE: Attribute<'static> = (0x0025, &[]);
/// `PRIORITY` of some peer-reflexive candidate.
pub const PRIORITY: Attribute<'static> = (0x0024, &[0x6e, 0, 1, 0xff]);
/// `ICE-CONTROLLING` with a tie-breaker.
pub const ICE_CONTROLLING: Attribute<'static> = (0x802a, &[1, 2, 3, 4, 5, 6, 7, 8]);
/// `ICE-CONTROLLED` with a tie-breaker.
pub const ICE_CONTROLLED: Attribute<'static> = (0x8029, &[1, 2, 3, 4, 5, 6, 7, 8]);

/// A Binding request with these attributes; `sign` adds MESSAGE-INTEGRITY under that password, and FINGERPRINT.
pub fn stun_request(transaction: [u8; 12], attributes: &[Attribute<'_>], sign: Option<&str>) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0];
    out.extend(stun::MAGIC_COOKIE.to_be_bytes());
    out.extend(transaction);
    for (kind, value) in attributes {
        push(&mut out, *kind, value);
    }
    if let Some(password) = sign {
        set_len(&mut out, 24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &out);
        push(&mut out, 0x0008, tag.as_ref());
        set_len(&mut out, 8);
        let sum = stun::fingerprint(&out);
        push(&mut out, 0x8028, &sum.to_be_bytes());
    }
    set_len(&mut out, 0);
    out
}

fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn set_len(out: &mut [u8], more: usize) {
    let len = (out.len() - 20 + more) as u16;
    out[2..4].copy_from_slice(&len.to_be_bytes());
}

/// TSN of the first chunk that a [`SctpClient`] sends.
pub const FIRST_TSN: u32 = 1000;
const OUR_TAG: u32 = 0x0bad_cafe;

/// The client's half of an SCTP association, as far as an attacker needs it: the peer's tag.
#[derive(Debug, Clone, Copy)]
pub struct SctpClient {
    peer_tag: u32,
}

impl SctpClient {
    /// The packet that opens an association.
    pub fn init() -> Vec<u8> {
        packet(0, &Self::init_chunk())
    }

    /// An INIT chunk: tag, window, 16 streams each way, first TSN.
    pub fn init_chunk() -> Vec<u8> {
        let mut value = OUR_TAG.to_be_bytes().to_vec();
        value.extend(131_072u32.to_be_bytes());
        value.extend([0, 16, 0, 16]);
        value.extend(FIRST_TSN.to_be_bytes());
        chunk(1, 0, &value)
    }

    /// Reads INIT ACK; gives the client and the packet to answer with, COOKIE ECHO.
    pub fn accept(init_ack: &[u8]) -> Option<(Self, Vec<u8>)> {
        let chunk_len = usize::from(u16::from_be_bytes(init_ack.get(14..16)?.try_into().ok()?));
        let value = init_ack.get(12..12 + chunk_len).filter(|chunk| chunk[0] == 2)?.get(4..)?;
        let peer_tag = u32::from_be_bytes(value.get(..4)?.try_into().ok()?);
        let mut parameters = value.get(16..)?;
        loop {
            let header = parameters.get(..4)?;
            let len = usize::from(u16::from_be_bytes([header[2], header[3]])).max(4);
            let content = parameters.get(4..len)?;
            if header[..2] == [0, 7] {
                return Some((Self { peer_tag }, packet(peer_tag, &chunk(10, 0, content))));
            }
            parameters = parameters.get(len.next_multiple_of(4)..)?;
        }
    }

    /// A packet of this association with any chunks. The checksum is zero: DTLS protects it (RFC 9653).
    pub fn packet(&self, chunks: &[u8]) -> Vec<u8> {
        packet(self.peer_tag, chunks)
    }
}

fn packet(tag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut out = vec![0x13, 0x88, 0x13, 0x88];
    out.extend(tag.to_be_bytes());
    out.extend([0; 4]);
    out.extend(chunks);
    out
}

/// A chunk with its header, padded to four bytes (RFC 9260, section 3.2).
pub fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend((4 + value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Where a DATA chunk belongs.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    /// TSN (RFC 9260, section 3.3.1).
    pub tsn: u32,
    /// Stream identifier.
    pub stream: u16,
    /// Its message's number in the stream.
    pub ssn: u16,
    /// What it carries: 50 DCEP, 51 text, 53 binary.
    pub ppi: u32,
    /// B (2), E (1), U (4).
    pub flags: u8,
}

impl Data {
    /// A whole ordered binary message.
    pub fn whole(tsn: u32, stream: u16, ssn: u16) -> Self {
        Self { tsn, stream, ssn, ppi: 53, flags: 3 }
    }

    /// A DATA chunk with this payload.
    pub fn chunk(&self, payload: &[u8]) -> Vec<u8> {
        let mut value = self.tsn.to_be_bytes().to_vec();
        value.extend(self.stream.to_be_bytes());
        value.extend(self.ssn.to_be_bytes());
        value.extend(self.ppi.to_be_bytes());
        value.extend(payload);
        chunk(0, self.flags, &value)
    }
}

/// DATA_CHANNEL_OPEN of a reliable, ordered channel, as the first message of its stream.
pub fn open_channel(tsn: u32, stream: u16, label: &str) -> Vec<u8> {
    let mut open = vec![3, 0, 0, 0, 0, 0, 0, 0];
    open.extend((label.len() as u16).to_be_bytes());
    open.extend([0, 0]);
    open.extend(label.as_bytes());
    Data { ppi: 50, ..Data::whole(tsn, stream, 0) }.chunk(&open)
}
