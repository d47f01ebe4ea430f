//! What a STUN message carries, and addresses in it.
use super::{HEADER, MAGIC_COOKIE, TransactionId, be16};
use std::net::{IpAddr, SocketAddr};

/// Attributes of a message: offset, type, value. `None` for one that does not fit, and then no more.
pub(crate) struct Attributes<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    /// Of a whole message; its header has been looked at.
    pub fn of(message: &'a [u8]) -> Self {
        Self { message, at: HEADER }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(usize, u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let at = self.at;
        let attribute = || {
            let (kind, len) = (be16(self.message, at)?, usize::from(be16(self.message, at + 2)?));
            let value = self.message.get(at + 4..at + 4 + len)?;
            let next = at + 4 + len.next_multiple_of(4);
            (next <= self.message.len()).then_some((next, (at, kind, value)))
        };
        match attribute() {
            Some((next, attribute)) => {
                self.at = next;
                Some(Some(attribute))
            }
            None => {
                self.at = self.message.len();
                Some(None)
            }
        }
    }
}

/// The mask of XOR addresses (RFC 8489, section 14.2): cookie, then transaction.
fn mask(transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(transaction);
    mask
}

/// An address under the mask, as an attribute's value: so many bytes of the array.
pub(super) fn write_xor_address(address: SocketAddr, transaction: &TransactionId) -> ([u8; 20], usize) {
    let mut value = [0; 20];
    let mask = mask(transaction);
    value[2..4].copy_from_slice(&(address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
    let mut write = |family, octets: &[u8]| {
        value[1] = family;
        for ((byte, octet), mask) in value[4..].iter_mut().zip(octets).zip(mask) {
            *byte = octet ^ mask;
        }
        4 + octets.len()
    };
    let len = match address.ip() {
        IpAddr::V4(ip) => write(1, &ip.octets()),
        IpAddr::V6(ip) => write(2, &ip.octets()),
    };
    (value, len)
}

/// The address in the value of an XOR attribute.
pub(crate) fn read_xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    read_masked(value, mask(transaction))
}

/// The address in the value of a plain attribute, of servers from before RFC 5389.
pub(super) fn read_address(value: &[u8]) -> Option<SocketAddr> {
    read_masked(value, [0; 16])
}

/// Family, port and address under a mask (RFC 8489, section 14.2).
fn read_masked(value: &[u8], mask: [u8; 16]) -> Option<SocketAddr> {
    let (family, port) = (*value.get(1)?, be16(value, 2)? ^ u16::from_be_bytes([mask[0], mask[1]]));
    let mut octets = [0; 16];
    let masked = value.get(4..)?;
    for ((octet, byte), mask) in octets.iter_mut().zip(masked).zip(mask) {
        *octet = byte ^ mask;
    }
    let ip = match (family, masked.len()) {
        (1, 4..) => IpAddr::from(*octets.first_chunk::<4>()?),
        (2, 16..) => IpAddr::from(octets),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
