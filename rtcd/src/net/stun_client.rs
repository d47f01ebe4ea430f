//! A STUN client (RFC 8489): what is our address, seen from outside? Without credentials.
use rtcd_media::stun::{TransactionId, client};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// First wait for an answer, doubled each time (RFC 8489, section 6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Asks a STUN server from a local address, until the deadline.
pub async fn public_address(local: IpAddr, server: SocketAddr, deadline: Instant) -> io::Result<SocketAddr> {
    let transaction: TransactionId = rand::random();
    ask(local, server, deadline, &transaction, &client::request(&transaction)).await
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
            if let Some(address) = client::mapped_address(transaction, &buffer[..received?]) {
                return Ok(address);
            }
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
        }
    }
}
