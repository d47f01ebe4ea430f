//! The sockets of a participant: UDP, TCP with RFC 4571 frames, or both.
use super::PeerConfig;
use anyhow::{Context as _, Result};
use std::future::pending;
use std::net::SocketAddr;
use str0m::Candidate;
use str0m::net::{Protocol, TcpType, Transmit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UdpSocket};

pub(super) struct Links {
    udp: Option<UdpSocket>,
    tcp: Option<Tcp>,
}

/// What has come in.
pub(super) struct Datagram {
    pub protocol: Protocol,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

impl Links {
    pub(super) async fn open(config: &PeerConfig, media: SocketAddr) -> Result<Self> {
        let udp = if config.udp { Some(UdpSocket::bind((config.udp_from, 0)).await?) } else { None };
        let tcp = if config.tcp { Some(Tcp::connect(media).await?) } else { None };
        Ok(Self { udp, tcp })
    }

    /// Where checks may come from.
    pub(super) fn candidates(&self) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::from_iter(self.udp_candidate()?);
        if let Some(tcp) = &self.tcp {
            candidates.push(Candidate::builder().tcp().host(tcp.local).tcptype(TcpType::Active).build()?);
        }
        Ok(candidates)
    }

    pub(super) fn udp_candidate(&self) -> Result<Option<Candidate>> {
        let Some(udp) = &self.udp else { return Ok(None) };
        Ok(Some(Candidate::host(udp.local_addr()?, "udp")?))
    }

    /// Whether there is a socket for a candidate of the daemon's, as a description or a message writes it.
    pub(super) fn fits(&self, candidate: &str) -> bool {
        (self.udp.is_some() && candidate.contains(" udp ")) || (self.tcp.is_some() && candidate.contains(" tcp "))
    }

    pub(super) async fn receive(&mut self) -> Result<Datagram> {
        tokio::select! {
            datagram = receive_udp(self.udp.as_ref()) => datagram,
            frame = receive_tcp(self.tcp.as_mut()) => frame,
        }
    }

    pub(super) async fn send(&mut self, out: &Transmit) -> Result<()> {
        match (out.proto, &self.udp, &mut self.tcp) {
            (Protocol::Udp, Some(udp), _) => {
                // A port that is closed for a moment is the network's business.
                let _ = udp.send_to(&out.contents, out.destination).await;
                Ok(())
            }
            (Protocol::Tcp, _, Some(tcp)) => tcp.send(&out.contents).await,
            _ => anyhow::bail!("no socket for {:?}", out.proto),
        }
    }
}

async fn receive_udp(socket: Option<&UdpSocket>) -> Result<Datagram> {
    let Some(socket) = socket else { return pending().await };
    let mut bytes = vec![0; 2048];
    let (len, from) = socket.recv_from(&mut bytes).await?;
    bytes.truncate(len);
    Ok(Datagram { protocol: Protocol::Udp, from, to: socket.local_addr()?, bytes })
}

async fn receive_tcp(connection: Option<&mut Tcp>) -> Result<Datagram> {
    let Some(tcp) = connection else { return pending().await };
    let bytes = tcp.frame().await?;
    // The daemon's address is the one that was dialled.
    Ok(Datagram { protocol: Protocol::Tcp, from: tcp.remote, to: tcp.local, bytes })
}

struct Tcp {
    reader: OwnedReadHalf,
    /// What has been read of the next frame survives a cancelled read.
    buffer: Vec<u8>,
    writer: OwnedWriteHalf,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Tcp {
    async fn connect(remote: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(remote).await.context("connecting to the TCP media port")?;
        let local = stream.local_addr()?;
        let (reader, writer) = stream.into_split();
        Ok(Self { reader, buffer: Vec::new(), writer, local, remote })
    }

    async fn frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some((head, rest)) = self.buffer.split_at_checked(2) {
                let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
                if rest.len() >= len {
                    let frame = rest[..len].to_vec();
                    self.buffer.drain(..2 + len);
                    return Ok(frame);
                }
            }
            let read = self.reader.read_buf(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the daemon closed the connection");
        }
    }

    async fn send(&mut self, datagram: &[u8]) -> Result<()> {
        let mut frame = u16::try_from(datagram.len())?.to_be_bytes().to_vec();
        frame.extend(datagram);
        // Of a connection that the daemon has closed the reader hears, which may have a goodbye to read first.
        let _ = self.writer.write_all(&frame).await;
        Ok(())
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
        let media = is_media(datagram);
        self.seen += u32::from(media);
        media && self.seen.is_multiple_of(every)
    }
}

/// RFC 7983 for RTP and RTCP, RFC 5761 to tell them apart.
pub(super) fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(64..=95).contains(&(kind & 0x7f)))
}
