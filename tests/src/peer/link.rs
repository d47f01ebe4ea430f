//! The socket of a participant: UDP, or TCP with RFC 4571 frames.
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UdpSocket};

pub(super) enum Link {
    Udp(UdpSocket),
    Tcp { reader: Frames, writer: OwnedWriteHalf, local: SocketAddr, remote: SocketAddr },
}

/// Frames that come in; what has been read of the next one survives a cancelled read.
pub(super) struct Frames {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Frames {
    async fn next(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some((head, rest)) = self.buffer.split_at_checked(2) {
                let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
                if rest.len() >= len {
                    let frame = rest[..len].to_vec();
                    self.buffer.drain(..2 + len);
                    return Ok(frame);
                }
            }
            let read = self.stream.read_buf(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the daemon closed the connection");
        }
    }
}

/// Loses every n-th packet of media; all else gets through.
pub(crate) struct Loss {
    every: Option<u32>,
    seen: u32,
}

impl Loss {
    pub(crate) fn every(every: Option<u32>) -> Self {
        Self { every, seen: 0 }
    }
    /// Whether this datagram is lost.
    pub(crate) fn takes(&mut self, datagram: &[u8]) -> bool {
        let Some(every) = self.every else { return false };
        // RFC 7983 for RTP and RTCP, RFC 5761 to tell them apart.
        let rtp = matches!(datagram, [128..=191, kind, ..] if !(64..=95).contains(&(kind & 0x7f)));
        self.seen += u32::from(rtp);
        rtp && self.seen.is_multiple_of(every)
    }
}

impl Link {
    pub(super) async fn udp() -> Result<Self> {
        Ok(Self::Udp(UdpSocket::bind("127.0.0.1:0").await?))
    }
    pub(super) async fn tcp(remote: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(remote).await.context("connecting to the TCP media port")?;
        let local = stream.local_addr()?;
        let (reader, writer) = stream.into_split();
        Ok(Self::Tcp { reader: Frames { stream: reader, buffer: Vec::new() }, writer, local, remote })
    }
    pub(super) fn local(&self) -> Result<SocketAddr> {
        Ok(match self {
            Self::Udp(socket) => socket.local_addr()?,
            Self::Tcp { local, .. } => *local,
        })
    }
    pub(super) async fn receive(&mut self) -> Result<(SocketAddr, Vec<u8>)> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = vec![0; 2048];
                let (len, from) = socket.recv_from(&mut buffer).await?;
                buffer.truncate(len);
                Ok((from, buffer))
            }
            Self::Tcp { reader, remote, .. } => Ok((*remote, reader.next().await?)),
        }
    }
    pub(super) async fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> Result<()> {
        match self {
            Self::Udp(socket) => {
                // A port that is closed for a moment is the network's business.
                let _ = socket.send_to(datagram, to).await;
            }
            Self::Tcp { writer, .. } => {
                let mut frame = u16::try_from(datagram.len())?.to_be_bytes().to_vec();
                frame.extend(datagram);
                writer.write_all(&frame).await?;
            }
        }
        Ok(())
    }
}
