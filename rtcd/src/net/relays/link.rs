//! The way to a TURN server. The packet plane knows datagrams alone: over UDP it is given a socket that is connected to the
//! server, over TCP and TLS one end of a pair on loopback, from whose other end a task here writes to the stream.
use crate::config::IceUrl;
use crate::net::tls_client;
use nix::sys::socket::{setsockopt, sockopt};
use prometheus::IntCounter;
use rustls::pki_types::ServerName;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Packets that wait for a stream that takes less than there is: 100 ms of 4 Mbit/s. What waits longer is of no use.
const WAITING: usize = 64;
/// Bytes that the kernel takes of a stream before it has sent them: as little may wait in front of a voice.
const SEND_BUFFER: usize = 64 * 1024;
/// Datagrams that wait for the task; it takes them at once.
const DATAGRAM_BUFFER: usize = 256 * 1024;
/// The longest message: a length of 16 bits and a header.
const MAX_MESSAGE: usize = 20 + 65536;

/// A way that is open.
pub struct Link {
    /// For the plane.
    pub socket: UdpSocket,
    /// Where it is connected to.
    pub server: SocketAddr,
    /// Nothing gets lost on the way.
    pub reliable: bool,
    stream: Option<JoinHandle<io::Error>>,
}

impl Link {
    /// Waits until the stream has ended, and says why; for ever without one.
    pub async fn closed(&mut self) -> String {
        match &mut self.stream {
            None => std::future::pending().await,
            Some(task) => match task.await {
                Ok(error) => error.to_string(),
                Err(_) => "the connection has ended".to_owned(),
            },
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.stream {
            task.abort();
        }
    }
}

/// Opens the way from a local address, or from the one that the kernel chooses. What does not reach the stream is counted.
pub async fn open(
    url: &IceUrl,
    server: SocketAddr,
    local: Option<IpAddr>,
    dropped: IntCounter,
) -> Result<Link, String> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let local = SocketAddr::new(local.unwrap_or(any), 0);
    match (url.tcp, url.tls) {
        (false, true) => Err("TURN over DTLS is not spoken: write turns: with ?transport=tcp".to_owned()),
        (false, false) => {
            let connect = || {
                let socket = UdpSocket::bind(local)?;
                socket.connect(server)?;
                Ok::<_, io::Error>(socket)
            };
            let socket = connect().map_err(|error| error.to_string())?;
            Ok(Link { socket, server, reliable: false, stream: None })
        }
        (true, tls) => {
            let stream = connect(local, server).await.map_err(|error| error.to_string())?;
            if !tls {
                return bridge(stream, dropped).map_err(|error| error.to_string());
            }
            let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
            let stream = tls_client::connector(None)?.connect(name, stream).await;
            bridge(stream.map_err(|error| format!("TLS: {error}"))?, dropped).map_err(|error| error.to_string())
        }
    }
}

async fn connect(local: SocketAddr, server: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER as u32)?;
    socket.bind(local)?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn bridge(stream: impl AsyncRead + AsyncWrite + Send + 'static, dropped: IntCounter) -> io::Result<Link> {
    let (theirs, ours) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    let server = ours.local_addr()?;
    // The kernel then takes nothing from anybody else.
    ours.connect(theirs.local_addr()?)?;
    theirs.connect(server)?;
    ours.set_nonblocking(true)?;
    setsockopt(&ours, sockopt::RcvBuf, &DATAGRAM_BUFFER)?;
    let ours = tokio::net::UdpSocket::from_std(ours)?;
    let stream = tokio::spawn(async move {
        match carry(stream, &ours, &dropped).await {
            Ok(()) => io::Error::new(ErrorKind::UnexpectedEof, "the server has closed the connection"),
            Err(error) => error,
        }
    });
    Ok(Link { socket: theirs, server, reliable: true, stream: Some(stream) })
}

/// Carries messages both ways until the stream ends.
async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    datagrams: &tokio::net::UdpSocket,
    dropped: &IntCounter,
) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let take = async {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            // An error is an echo of the plane's end, which closes with the allocation.
            let Ok(len) = datagrams.recv(&mut buffer).await else { continue };
            let mut message = buffer[..len].to_vec();
            // RFC 8656, section 12.5: over a stream a message ends on a multiple of four.
            message.resize(len.next_multiple_of(4), 0);
            if queue.try_send(message).is_err() {
                dropped.inc();
            }
        }
    };
    let write = async {
        while let Some(message) = waiting.recv().await {
            writer.write_all(&message).await?;
            writer.flush().await?;
        }
        Ok(())
    };
    let read = async {
        let mut buffer = vec![0; MAX_MESSAGE];
        while let Some(len) = read_message(&mut reader, &mut buffer).await? {
            if datagrams.send(&buffer[..len]).await.is_err() {
                dropped.inc();
            }
        }
        Ok(())
    };
    tokio::select! {
        () = take => Ok(()),
        ended = write => ended,
        ended = read => ended,
    }
}

/// Reads one message without its padding; `None` at the end of the stream.
async fn read_message(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match reader.read(&mut buffer[..1]).await? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut buffer[1..4]).await?,
    };
    let body = usize::from(u16::from_be_bytes([buffer[2], buffer[3]]));
    let len = match buffer[0] {
        0x00..=0x3f => 20 + body,
        0x40..=0x4f => 4 + body,
        _ => return Err(io::Error::new(ErrorKind::InvalidData, "what the server sends is not TURN")),
    };
    let mut padding = [0; 3];
    reader.read_exact(&mut buffer[4..len]).await?;
    reader.read_exact(&mut padding[..len.next_multiple_of(4) - len]).await?;
    Ok(Some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_in_a_stream_however_it_comes() {
        let (ours, mut server) = tokio::io::duplex(1024);
        let mut link = bridge(ours, IntCounter::new("dropped", "of this test").expect("a counter")).expect("loopback");
        let plane = tokio::net::UdpSocket::from_std({
            let socket = link.socket.try_clone().expect("a second handle");
            socket.set_nonblocking(true).expect("a flag");
            socket
        })
        .expect("a socket");
        plane.send(&[0x40, 0, 0, 5, 1, 2, 3, 4, 5]).await.expect("sent");
        let mut padded = [0; 12];
        server.read_exact(&mut padded).await.expect("padded");
        assert_eq!(padded, [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
        let stun = [&[1, 1, 0, 4][..], &[7; 20]].concat();
        for byte in [&padded[..], &stun].concat() {
            server.write_all(&[byte]).await.expect("room");
        }
        let mut buffer = [0; 100];
        for expected in [&padded[..9], &stun] {
            let len = plane.recv(&mut buffer).await.expect("received");
            assert_eq!(&buffer[..len], expected);
        }
        server.write_all(&[0xff; 4]).await.expect("room");
        assert!(link.closed().await.contains("not TURN"));
    }
}
