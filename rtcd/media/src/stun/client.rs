//! The client's half of a Binding transaction without credentials: what is our address, seen from outside?
use super::attributes::{Attributes, read_address, read_xor_address};
use super::{BINDING_REQUEST, BINDING_SUCCESS, HEADER, MAGIC_COOKIE, PADDING, TransactionId, XOR_MAPPED_ADDRESS, be16};
use std::net::SocketAddr;

const MAPPED_ADDRESS: u16 = 0x0001;
/// Length of a padded request. No answer of ours to a request without credentials is longer: header 20,
/// XOR-MAPPED-ADDRESS (IPv6) 24; rounded up, as a server may add SOFTWARE.
const PADDED_LEN: usize = 128;

/// A Binding request for other people's servers, some of which know no PADDING.
pub fn request(transaction: &TransactionId) -> [u8; HEADER] {
    let mut request = [0; HEADER];
    request[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    request[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    request[8..].copy_from_slice(transaction);
    request
}

/// A Binding request, padded (RFC 5780, section 7.6) so that the answer is not longer: our own media port answers only
/// what amplifies nothing.
pub fn padded_request(transaction: &TransactionId) -> [u8; PADDED_LEN] {
    let mut padded = [0; PADDED_LEN];
    padded[..HEADER].copy_from_slice(&request(transaction));
    padded[2..4].copy_from_slice(&((PADDED_LEN - HEADER) as u16).to_be_bytes());
    padded[HEADER..HEADER + 2].copy_from_slice(&PADDING.to_be_bytes());
    padded[HEADER + 2..HEADER + 4].copy_from_slice(&((PADDED_LEN - HEADER - 4) as u16).to_be_bytes());
    padded
}

/// Our address by a success answer to this transaction: XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of a server from before
/// RFC 5389. `None` for anything else and for anything that lies about a length.
pub fn mapped_address(transaction: &TransactionId, answer: &[u8]) -> Option<SocketAddr> {
    if be16(answer, 0)? != BINDING_SUCCESS || answer.get(4..8)? != MAGIC_COOKIE.to_be_bytes() {
        return None;
    }
    if answer.get(8..HEADER)? != transaction || HEADER + usize::from(be16(answer, 2)?) != answer.len() {
        return None;
    }
    let mut mapped = None;
    for attribute in Attributes::of(answer) {
        match attribute? {
            (_, XOR_MAPPED_ADDRESS, value) => return read_xor_address(value, transaction),
            (_, MAPPED_ADDRESS, value) => mapped = read_address(value),
            _ => {}
        }
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Request};
    use super::*;

    #[test]
    fn our_own_half_reads_the_request_and_we_read_its_answer() {
        let transaction = [7; 12];
        let padded = padded_request(&transaction);
        let parsed = Request::parse(&padded).expect("well formed");
        assert!(parsed.is_anonymous() && parsed.unknown.is_none());
        for text in ["192.0.2.1:32853", "[2001:db8::9]:1"] {
            let address: SocketAddr = text.parse().expect("an address");
            let answer = Answer::success(&parsed.transaction, address, None);
            assert!(answer.as_ref().len() <= padded.len());
            assert_eq!(mapped_address(&transaction, answer.as_ref()), Some(address));
            assert_eq!(mapped_address(&[8; 12], answer.as_ref()), None);
            let len = answer.as_ref().len();
            assert!((0..len).all(|len| mapped_address(&transaction, &answer.as_ref()[..len]).is_none()));
        }
        assert!(Request::parse(&request(&transaction)).is_some_and(|request| request.is_anonymous()));
    }

    #[test]
    fn an_old_servers_plain_address_is_taken() {
        let mut answer = request(&[1; 12]).to_vec();
        answer[..4].copy_from_slice(&[1, 1, 0, 12]);
        answer.extend([0, 1, 0, 8, 0, 1, 0, 80, 192, 0, 2, 1]);
        assert_eq!(mapped_address(&[1; 12], &answer), "192.0.2.1:80".parse().ok());
        answer[25] = 2;
        assert_eq!(mapped_address(&[1; 12], &answer), None, "IPv6 in four bytes");
    }
}
