//! A STUN client (RFC 8489): what is our address, seen from outside? Without credentials.
use rtcd_media::stun::{MAGIC_COOKIE, TransactionId};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const MAPPED_ADDRESS: u16 = 0x0001;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PADDING: u16 = 0x0026;
/// No answer of ours to a request without credentials is longer: header 20, XOR-MAPPED-ADDRESS (IPv6) 24; rounded up,
/// as a server may add SOFTWARE.
const REQUEST_LEN: usize = 128;
/// First wait for an answer, doubled each time (RFC 8489, section 6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A Binding request, padded (RFC 5780, section 7.6) so that the answer is not longer: our own media port answers only
/// what amplifies nothing.
pub fn binding_request(transaction: &TransactionId) -> [u8; REQUEST_LEN] {
    let mut request = [0; REQUEST_LEN];
    request[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    request[2..4].copy_from_slice(&((REQUEST_LEN - HEADER) as u16).to_be_bytes());
    request[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    request[8..HEADER].copy_from_slice(transaction);
    request[HEADER..HEADER + 2].copy_from_slice(&PADDING.to_be_bytes());
    request[HEADER + 2..HEADER + 4].copy_from_slice(&((REQUEST_LEN - HEADER - 4) as u16).to_be_bytes());
    request
}

/// A plain Binding request for other people's servers, some of which know no PADDING.
fn plain_request(transaction: &TransactionId) -> [u8; HEADER] {
    let mut request = [0; HEADER];
    request.copy_from_slice(&binding_request(transaction)[..HEADER]);
    request[2..4].fill(0);
    request
}

/// The address in a success answer to this transaction; `None` for anything else.
pub fn read_answer(transaction: &TransactionId, answer: &[u8]) -> Option<SocketAddr> {
    let be16 = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if be16(0)? != BINDING_SUCCESS || answer.get(4..8)? != MAGIC_COOKIE.to_be_bytes() {
        return None;
    }
    if answer.get(8..HEADER)? != transaction || HEADER + usize::from(be16(2)?) != answer.len() {
        return None;
    }
    let mut mapped = None;
    let mut at = HEADER;
    while at < answer.len() {
        let (kind, len) = (be16(at)?, usize::from(be16(at + 2)?));
        let value = answer.get(at + 4..at + 4 + len)?;
        match kind {
            XOR_MAPPED_ADDRESS => return address(value, &answer[4..HEADER]),
            MAPPED_ADDRESS => mapped = address(value, &[0; 16]),
            _ => {}
        }
        at += 4 + len.next_multiple_of(4);
    }
    mapped
}

/// Family, port and address (RFC 8489, section 14.2), under a mask.
fn address(value: &[u8], mask: &[u8]) -> Option<SocketAddr> {
    let family = *value.get(1)?;
    let unmask = |at: usize, len: usize| -> Option<Vec<u8>> {
        Some(value.get(at..at + len)?.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect())
    };
    let port = u16::from_be_bytes(unmask(2, 2)?.try_into().ok()?);
    let ip = match family {
        1 => IpAddr::from(<[u8; 4]>::try_from(unmask(4, 4)?).ok()?),
        2 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(unmask(4, 16)?).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Asks a STUN server from a local address, until the deadline.
pub async fn public_address(local: IpAddr, server: SocketAddr, deadline: Instant) -> io::Result<SocketAddr> {
    let transaction: TransactionId = rand::random();
    ask(local, server, deadline, &transaction, &plain_request(&transaction)).await
}

/// Sends a request, again and again, until its answer or the deadline.
pub async fn ask(
    local: IpAddr,
    server: SocketAddr,
    deadline: Instant,
    transaction: &TransactionId,
    request: &[u8],
) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((local, 0)).await?;
    // The kernel then drops what comes from elsewhere, and tells of a closed port.
    socket.connect(server).await?;
    let mut wait = FIRST_WAIT;
    loop {
        socket.send(request).await?;
        let again = (Instant::now() + wait).min(deadline);
        wait *= 2;
        let mut buffer = [0; 1500];
        while let Ok(received) = timeout_at(again, socket.recv(&mut buffer)).await {
            if let Some(address) = read_answer(transaction, &buffer[..received?]) {
                return Ok(address);
            }
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtcd_media::stun::{Answer, Request};

    #[test]
    fn our_own_media_core_reads_our_request_and_we_read_its_answer() {
        let transaction = [7; 12];
        let request = binding_request(&transaction);
        let parsed = Request::parse(&request).expect("well formed");
        assert!(parsed.is_anonymous() && parsed.unknown.is_none());
        for text in ["192.0.2.1:32853", "[2001:db8::9]:1"] {
            let address: SocketAddr = text.parse().expect("an address");
            let answer = Answer::success(&parsed.transaction, address, None);
            assert!(answer.as_ref().len() <= request.len());
            assert_eq!(read_answer(&transaction, answer.as_ref()), Some(address));
            assert_eq!(read_answer(&[8; 12], answer.as_ref()), None);
            let len = answer.as_ref().len();
            assert!((0..len).all(|len| read_answer(&transaction, &answer.as_ref()[..len]).is_none()));
        }
        assert!(Request::parse(&plain_request(&transaction)).is_some_and(|request| request.is_anonymous()));
    }

    #[test]
    fn an_old_servers_plain_address_is_taken() {
        let mut answer = binding_request(&[1; 12])[..HEADER].to_vec();
        answer[..4].copy_from_slice(&[1, 1, 0, 12]);
        answer.extend([0, 1, 0, 8, 0, 1, 0, 80, 192, 0, 2, 1]);
        assert_eq!(read_answer(&[1; 12], &answer), "192.0.2.1:80".parse().ok());
    }
}
