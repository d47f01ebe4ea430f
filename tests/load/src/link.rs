//! The socket of a participant: UDP, or a TCP connection to the server with RFC 4571 frames.
use mio::event::Source;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg};
use std::io::{self, ErrorKind, IoSliceMut, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;

/// Datagrams that one system call takes. A burst of a screen is three, of several senders a few more.
const BATCH: usize = 16;
/// The longest run of datagrams that the kernel gives as one.
const RUN: usize = 1 << 16;
/// What waits for a slow TCP connection, at most; what comes on top is dropped, as routers do.
const MAX_WAITING: usize = 256 << 10;
/// What is read at once from a TCP connection: several frames.
const READ: usize = 64 << 10;
/// Receive buffer of a UDP socket, where the kernel lets us: some seconds of a screen, so that it is not the tool that loses.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Room for what is received, shared by all participants of a thread.
pub struct Room {
    slots: [Box<[u8]>; BATCH],
}

impl Default for Room {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| vec![0; RUN].into()) }
    }
}

/// One of the two.
pub enum Link {
    /// One socket for all candidates of the server.
    Udp(Udp),
    /// A connection to one candidate.
    Tcp(Tcp),
}

/// A UDP socket.
pub struct Udp {
    socket: mio::net::UdpSocket,
    /// Its address.
    pub local: SocketAddr,
}

impl Udp {
    /// A socket on any port of this address.
    pub fn bind(local: IpAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        Self::bind_to((local, 0).into(), registry, token)
    }

    /// A socket on this very port.
    pub fn bind_to(local: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = mio::net::UdpSocket::bind(local)?;
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &RECEIVE_BUFFER);
        // What a server sends in one piece is cut by us, and not in the server's time, which sends over loopback are. A kernel before
        // 5.0 gives single datagrams.
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::UdpGroSegment, &true);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { local: socket.local_addr()?, socket })
    }

    /// What has come, to `each` with its sender; returns whether there may be more.
    pub fn receive(&mut self, room: &mut Room, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<bool> {
        let mut slices = room.slots.each_mut().map(|slot| [IoSliceMut::new(slot)]);
        // New ones each time: nobody else tells the kernel again how much room there is for what it says of runs.
        let mut headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(i32)));
        let results = recvmmsg(self.socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let mut got = [(0, None, RUN); BATCH];
        let mut count = 0;
        match results {
            Ok(results) => {
                for (message, place) in results.zip(&mut got) {
                    *place =
                        (message.bytes, message.address.as_ref().and_then(address), segment(&message).unwrap_or(RUN));
                    count += 1;
                }
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(false),
            // An ICMP error of something that was sent: nothing that came.
            Err(nix::errno::Errno::ECONNREFUSED) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        for ((len, from, segment), slot) in got.iter().zip(&room.slots).take(count) {
            if let Some(from) = from {
                slot[..(*len).min(RUN)].chunks(*segment).for_each(|datagram| each(*from, datagram));
            }
        }
        Ok(count == BATCH)
    }

    /// Its descriptor, for calls that are not here.
    pub fn fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }

    /// Sends; what the kernel does not take is lost, as on any network.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.socket.send_to(bytes, to);
    }
}

/// The length of each datagram of a run but the last.
fn segment(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<usize> {
    let run = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::UdpGroSegments(len) => usize::try_from(len).ok(),
        _ => None,
    });
    run.filter(|len| *len > 0)
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into())
}

/// A TCP connection.
pub struct Tcp {
    stream: mio::net::TcpStream,
    /// Our end.
    pub local: SocketAddr,
    /// The server's candidate.
    pub remote: SocketAddr,
    input: Vec<u8>,
    /// Where the next frame begins, and where what was read ends.
    begin: usize,
    end: usize,
    output: Vec<u8>,
    /// Frames that were dropped because the server did not read.
    pub dropped: u64,
}

impl Tcp {
    /// Begins to connect; what is sent meanwhile waits.
    pub fn connect(remote: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = mio::net::TcpStream::connect(remote)?;
        let _ = stream.set_nodelay(true);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let local = stream.local_addr()?;
        Ok(Self { stream, local, remote, input: vec![0; READ], begin: 0, end: 0, output: Vec::new(), dropped: 0 })
    }

    /// What has come, frame by frame; returns whether there may be more.
    pub fn receive(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<bool> {
        self.flush()?;
        let free = self.input.len() - self.end;
        let more = match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) if free > 0 => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.end += len;
                // Readiness comes once: all must be read.
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => return Err(error),
        };
        while let Some((head, rest)) = self.input[self.begin..self.end].split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*head));
            let Some(frame) = rest.get(..len) else { break };
            each(self.remote, frame);
            self.begin += 2 + len;
        }
        // A frame has 64 KiB at most, and begins at 0 when there is little room behind it.
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.begin > 0 {
            self.input.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        } else if self.end == self.input.len() {
            self.input.resize(2 * READ, 0);
        }
        Ok(more)
    }

    /// Sends a frame, later if it must be.
    pub fn send(&mut self, bytes: &[u8]) {
        let Ok(len) = u16::try_from(bytes.len()) else { return };
        if self.output.len() + 2 + bytes.len() > MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.output.extend(len.to_be_bytes());
        self.output.extend(bytes);
        // Of a broken connection the reader hears.
        let _ = self.flush();
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Link {
    /// Takes it out of the poll.
    pub fn deregister(&mut self, registry: &Registry) {
        let _ = match self {
            Self::Udp(udp) => udp.socket.deregister(registry),
            Self::Tcp(tcp) => tcp.stream.deregister(registry),
        };
    }
}

/// The address of ours that the kernel takes to speak to the server: the one that participants have.
pub fn local_address(towards: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if towards.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(towards)?;
    Ok(socket.local_addr()?.ip())
}
