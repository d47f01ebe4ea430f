//! ICE-TCP (RFC 6544, passive): datagrams framed by a 16-bit length (RFC 4571) over connections that peers open.
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest frame that is looked at; what a peer sends is made for datagrams.
pub const MAX_FRAME: usize = super::socket::RECV_SIZE;
/// What waits for a peer whose connection is full: 0.8 s of a 2.5 Mbit/s screen. Then packets are dropped, as by any
/// full router queue.
const MAX_QUEUED: usize = 256 * 1024;
/// A connection that has carried no authentic check by then is closed.
pub const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of strangers per worker.
pub const MAX_STRANGERS: usize = 512;

/// Splits a byte stream into frames.
#[derive(Debug, Default)]
pub struct Deframer {
    bytes: Vec<u8>,
    read: usize,
}

/// The peer announced a frame longer than [`MAX_FRAME`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct FrameTooLong(pub usize);

impl Deframer {
    /// A deframer that has already received `bytes`.
    pub fn with(bytes: Vec<u8>) -> Self {
        Self { bytes, read: 0 }
    }

    /// Bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, FrameTooLong> {
        let rest = &self.bytes[self.read..];
        let Some(header) = rest.first_chunk() else { return Ok(None) };
        let len = u16::from_be_bytes(*header) as usize;
        if len > MAX_FRAME {
            return Err(FrameTooLong(len));
        }
        if rest.len() < 2 + len {
            return Ok(None);
        }
        let start = self.read + 2;
        self.read = start + len;
        Ok(Some(&mut self.bytes[start..start + len]))
    }

    /// What has not been taken as a frame.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.read);
        self.bytes
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
    deframer: Deframer,
    outgoing: VecDeque<u8>,
    /// When it must have carried an authentic check; `None` once it has.
    pub deadline: Option<Instant>,
}

impl Connection {
    /// Takes over an accepted connection, with what was already read from it.
    pub fn new(stream: TcpStream, remote: SocketAddr, read: Vec<u8>, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            remote,
            deframer: Deframer::with(read),
            outgoing: VecDeque::new(),
            deadline: Some(now + AUTHENTICATION_TIMEOUT),
        })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Reads what is there, at most `scratch` at once. `Ok(false)`: the peer has closed.
    pub fn fill(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        match self.stream.read(scratch) {
            Ok(0) => Ok(false),
            Ok(len) => {
                self.deframer.push(&scratch[..len]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Copies the next whole frame into `buffer` (at least [`MAX_FRAME`] long).
    pub fn next_frame(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, FrameTooLong> {
        let Some(frame) = self.deframer.next_frame()? else { return Ok(None) };
        buffer[..frame.len()].copy_from_slice(frame);
        Ok(Some(frame.len()))
    }

    /// Queues a datagram; false when the connection is full and it was dropped.
    pub fn queue(&mut self, datagram: &[u8]) -> bool {
        let Ok(len) = u16::try_from(datagram.len()) else { return false };
        if self.outgoing.len() + 2 + datagram.len() > MAX_QUEUED {
            return false;
        }
        self.outgoing.extend(len.to_be_bytes());
        self.outgoing.extend(datagram);
        true
    }

    /// Writes what the socket takes; whether everything is out.
    pub fn flush(&mut self) -> io::Result<bool> {
        while !self.outgoing.is_empty() {
            match self.stream.write(self.outgoing.as_slices().0) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.outgoing.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Gives the connection up to another worker: socket, address, and what was read but not taken; `frame` is put in
    /// front again.
    pub fn into_parts(self, frame: &[u8]) -> (TcpStream, SocketAddr, Vec<u8>) {
        let mut read = (frame.len() as u16).to_be_bytes().to_vec();
        read.extend_from_slice(frame);
        read.extend(self.deframer.into_rest());
        (self.stream, self.remote, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_come_in() {
        let mut deframer = Deframer::default();
        let mut frames = Vec::new();
        for byte in [0, 3, 1, 2, 3, 0, 0, 0, 1, 9] {
            deframer.push(&[byte]);
            while let Some(frame) = deframer.next_frame().expect("short enough") {
                frames.push(frame.to_vec());
            }
        }
        assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]]);
    }

    #[test]
    fn a_frame_too_long_is_an_error_before_it_is_stored() {
        let mut deframer = Deframer::default();
        deframer.push(&[0xff, 0xff]);
        assert_eq!(deframer.next_frame(), Err(FrameTooLong(65_535)));
    }

    #[test]
    fn what_was_not_taken_can_be_handed_on() {
        let mut deframer = Deframer::default();
        deframer.push(&[0, 1, 7, 0, 2, 8]);
        assert_eq!(deframer.next_frame(), Ok(Some(&mut [7][..])));
        assert_eq!(deframer.into_rest(), [0, 2, 8]);
    }
}
