//! UDP sockets in batches: recvmmsg, sendmmsg and UDP_SEGMENT behind a safe face. The only unsafe code of the daemon.
//!
//! A datagram that cannot be sent (full buffer, unreachable network) is dropped and counted: media does not wait.
#![allow(unsafe_code, reason = "the system calls of the packet path")]

use std::collections::HashSet;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

/// Longest datagram that is received whole: an MTU of 1500 with room for a larger DTLS record.
pub const RECV_SIZE: usize = 2048;
/// Datagrams per recvmmsg: at 265 packets/s and publisher a batch holds what came within a timer tick.
pub const RECV_BATCH: usize = 64;
/// Datagrams that are sent with one sendmmsg.
pub const SEND_BATCH: usize = 128;
/// Room for one outgoing packet.
pub const SEND_SIZE: usize = rtcd_media::sfu::switch::SLOT_SIZE;
/// Segments of one UDP_SEGMENT send; the kernel allows 64 and 64 KiB.
const MAX_SEGMENTS: usize = 40;
/// Bytes that the kernel takes of a TCP connection before it has sent them: 65 ms at 500 kbit/s.
pub const UNSENT: libc::c_int = 4 * 1024;
/// Send buffer of a TCP connection, which the kernel doubles and fills with headers by a third: some 40 KiB that are on
/// their way, a 2.5 Mbit/s screen over a round trip of 130 ms. More would only wait in front of a narrow link.
const UNACKNOWLEDGED: libc::c_int = 32 * 1024;
/// Destinations that are remembered to take no runs; when there are more, each is learned again by one failed call.
const MAX_SINGLY: usize = 1024;
/// So many destinations without checksum offload, and it is the device, not a tunnel or IPsec on the way to one.
const MAX_WITHOUT_OFFLOAD: usize = 8;
/// Buffer size that is asked for in both directions (the setup guide sets rmem_max and wmem_max to it).
pub const SOCKET_BUFFER: usize = 16 * 1024 * 1024;

/// A bound UDP socket that shares its port with those of the other workers.
pub struct UdpSocket {
    inner: std::net::UdpSocket,
    /// Whether the kernel and the device take UDP_SEGMENT; probed, then withdrawn when they say no to many.
    segmentation: bool,
    /// Where runs do not go, as the way there is narrower than a segment.
    singly: HashSet<SocketAddr>,
    /// Destinations for which the device could not do it.
    without_offload: usize,
}

/// What one flush did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SendStats {
    /// Datagrams handed to the kernel.
    pub sent: u64,
    /// Datagrams that the kernel refused.
    pub dropped: u64,
}

/// Sizes that the kernel gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferSizes {
    /// Receive buffer in bytes, as asked for (the kernel doubles it for itself).
    pub receive: usize,
    /// Send buffer in bytes.
    pub send: usize,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_option<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a plain C value of the size that is passed.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t)
    };
    check(result).map(|_| ())
}

fn get_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `value`.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    check(result).map(|_| value)
}

/// Asks for large buffers; says what came out.
pub fn grow_buffers(fd: BorrowedFd<'_>) -> io::Result<BufferSizes> {
    let wanted = SOCKET_BUFFER as libc::c_int;
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &wanted)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &wanted)?;
    Ok(BufferSizes {
        receive: get_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF)? as usize / 2,
        send: get_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF)? as usize / 2,
    })
}

/// With whom a socket shares its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// It is the first: nobody else may have the address, or a part of the packets would be another process's. Those
    /// that come after it may.
    First,
    /// With others of this process, which have it already.
    Later,
}

impl Sharing {
    /// Of the sockets of the first worker each is the first at its address, unless an earlier one covers it or is
    /// covered by it.
    pub fn of(first_worker: bool, address: &SocketAddr, earlier: impl Iterator<Item = io::Result<SocketAddr>>) -> Self {
        let meets = |other: SocketAddr| {
            let (a, b) = (address.ip(), other.ip());
            other.port() == address.port()
                && a.is_ipv4() == b.is_ipv4()
                && (a == b || a.is_unspecified() || b.is_unspecified())
        };
        if first_worker && !earlier.flatten().any(meets) { Self::First } else { Self::Later }
    }
}

/// Makes and binds a socket whose address may be shared with others of this process.
fn shared_socket(address: SocketAddr, kind: libc::c_int, sharing: Sharing) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: plain system call; the new descriptor is owned by nobody else.
    let fd = unsafe {
        let fd = check(libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0))?;
        std::os::fd::OwnedFd::from_raw_fd(fd)
    };
    let on: libc::c_int = 1;
    if sharing == Sharing::Later {
        set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, &on)?;
    }
    if kind == libc::SOCK_STREAM {
        // Connections of a process that has just ended do not stand in the way; a listener does.
        set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, &on)?;
    }
    if address.is_ipv6() {
        set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &on)?;
    }
    let (storage, len) = to_c(address);
    // SAFETY: `storage` holds an address of `len` bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&storage).cast(), len) })?;
    // Bound alone, so nobody else has it; from here on others may come, who must have this option too.
    set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, &on)?;
    Ok(fd)
}

/// A TCP listener whose port is shared by the workers.
pub fn listen_tcp(address: SocketAddr, sharing: Sharing) -> io::Result<std::net::TcpListener> {
    let fd = shared_socket(address, libc::SOCK_STREAM, sharing)?;
    // SAFETY: plain system call on a descriptor of ours.
    check(unsafe { libc::listen(fd.as_raw_fd(), 1024) })?;
    Ok(fd.into())
}

/// Lets a TCP socket take little more than the network does: what waits is in our queue, where voice goes first.
pub fn keep_little_unsent(stream: &std::net::TcpStream) -> io::Result<()> {
    set_option(stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &UNSENT)?;
    set_option(stream.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, &UNACKNOWLEDGED)
}

impl UdpSocket {
    /// Binds to `address`, sharing it with other sockets of this process.
    pub fn bind(address: SocketAddr) -> io::Result<(Self, BufferSizes)> {
        Self::bind_as(address, Sharing::Later)
    }

    /// Binds to `address`.
    pub fn bind_as(address: SocketAddr, sharing: Sharing) -> io::Result<(Self, BufferSizes)> {
        let fd = shared_socket(address, libc::SOCK_DGRAM, sharing)?;
        if address.is_ipv4() {
            // A datagram beyond the path's MTU is cut on its way instead of being dropped there: our packets are made
            // for 1200 bytes and more, and some tunnels carry less. IPv6 is cut by the sender, which is the default.
            set_option(fd.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)?;
        }
        let sizes = grow_buffers(fd.as_fd())?;
        // The option exists since Linux 4.18: asking for its default value tells.
        let segmentation = get_option(fd.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        Ok((Self { inner: fd.into(), segmentation, singly: HashSet::new(), without_offload: 0 }, sizes))
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Receives what is there, up to the batch's size; 0 when nothing is.
    pub fn receive(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.reset();
        // SAFETY: every message points to buffers and an address of its own in `batch`, which outlives the call.
        let result = unsafe {
            libc::recvmmsg(
                self.inner.as_raw_fd(),
                batch.messages.as_mut_ptr(),
                RECV_BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        match check(result) {
            Ok(received) => Ok(received as usize),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Sends `datagrams` in order; runs to one address of equal length (the last may be shorter) leave as one.
    pub fn send(&mut self, datagrams: &[Datagram<'_>], scratch: &mut SendScratch) -> SendStats {
        let mut stats = SendStats::default();
        for chunk in datagrams.chunks(SEND_BATCH) {
            self.send_chunk(chunk, scratch, &mut stats);
        }
        stats
    }

    fn send_chunk(&mut self, datagrams: &[Datagram<'_>], scratch: &mut SendScratch, stats: &mut SendStats) {
        let mut next = 0;
        while next < datagrams.len() {
            let messages = scratch.fill(&datagrams[next..], |to| self.segmentation && !self.singly.contains(&to));
            let mut done = 0;
            while done < messages {
                // SAFETY: the first `messages` headers point into `scratch` and into `datagrams`, which outlive the
                // call; the kernel only reads through them.
                let result = unsafe {
                    libc::sendmmsg(
                        self.inner.as_raw_fd(),
                        scratch.headers.as_mut_ptr().add(done),
                        (messages - done) as libc::c_uint,
                        libc::MSG_DONTWAIT,
                    )
                };
                match check(result) {
                    Ok(sent) => {
                        let sent = sent as usize;
                        stats.sent += scratch.runs[done..done + sent].iter().map(|run| *run as u64).sum::<u64>();
                        done += sent;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if scratch.runs[done] > 1 && self.refuses_run(&error, scratch.to(done)) => {
                        // From this run on anew: it leaves one by one, others as before.
                        break;
                    }
                    Err(_) => {
                        stats.dropped += u64::from(scratch.runs[done]);
                        done += 1;
                    }
                }
            }
            next += scratch.runs[..done].iter().map(|run| *run as usize).sum::<usize>();
        }
    }

    /// Whether a run was refused for being one; it will not be tried again for this destination.
    fn refuses_run(&mut self, error: &io::Error, to: Option<SocketAddr>) -> bool {
        match error.raw_os_error() {
            // A segment does not fit the path's MTU (EINVAL before Linux 6.14).
            Some(libc::EMSGSIZE | libc::EINVAL) => {}
            // No checksum offload on the way there.
            Some(libc::EIO) => {
                self.without_offload += 1;
                self.segmentation = self.without_offload < MAX_WITHOUT_OFFLOAD;
            }
            Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT) => self.segmentation = false,
            _ => return false,
        }
        if self.singly.len() >= MAX_SINGLY {
            self.singly.clear();
        }
        match to {
            Some(to) => self.singly.insert(to) || !self.segmentation,
            None => {
                self.segmentation = false;
                true
            }
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// A datagram to be sent.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

/// Buffers of one receive call.
pub struct RecvBatch {
    buffers: Box<[[u8; RECV_SIZE]]>,
    addresses: Box<[libc::sockaddr_storage]>,
    vectors: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvBatch {
    /// Takes the memory for one batch.
    pub fn new() -> Self {
        let mut buffers = vec![[0; RECV_SIZE]; RECV_BATCH].into_boxed_slice();
        // SAFETY: all three are plain C structures for which zero is a valid value.
        let (mut addresses, mut messages): (Box<[libc::sockaddr_storage]>, Box<[libc::mmsghdr]>) =
            unsafe { (vec![zeroed(); RECV_BATCH].into(), vec![zeroed(); RECV_BATCH].into()) };
        let mut vectors: Box<[libc::iovec]> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: RECV_SIZE })
            .collect();
        // The boxes' contents never move, so the pointers stay right for the life of the batch.
        for at in 0..RECV_BATCH {
            messages[at].msg_hdr.msg_name = (&raw mut addresses[at]).cast();
            messages[at].msg_hdr.msg_iov = &raw mut vectors[at];
            messages[at].msg_hdr.msg_iovlen = 1;
        }
        Self { buffers, addresses, vectors, messages }
    }

    fn reset(&mut self) {
        debug_assert_eq!(self.vectors.len(), RECV_BATCH);
        for message in &mut self.messages {
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
    }

    /// The datagram at `index` of the last receive and its sender; `None` when it was longer than a buffer.
    pub fn datagram(&mut self, index: usize) -> Option<(&mut [u8], SocketAddr)> {
        let message = &self.messages[index];
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let from = from_c(&self.addresses[index])?;
        Some((&mut self.buffers[index][..message.msg_len as usize], from))
    }

    /// How many of the first `count` datagrams were longer than a buffer.
    pub fn cut(&self, count: usize) -> u64 {
        self.messages[..count].iter().filter(|message| message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0).count() as u64
    }

    /// Bytes `range` of the datagram at `index`.
    pub fn bytes(&self, index: usize, range: std::ops::Range<usize>) -> &[u8] {
        &self.buffers[index][range]
    }
}

/// The control message that carries the segment size, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl([u8; 24]);

/// Headers for one sendmmsg; kept so that nothing is allocated per flush.
pub struct SendScratch {
    addresses: Box<[libc::sockaddr_storage]>,
    vectors: Box<[libc::iovec]>,
    controls: Box<[SegmentControl]>,
    headers: Box<[libc::mmsghdr]>,
    /// Datagrams in each message.
    runs: Box<[u32]>,
}

// SAFETY: the pointers inside are rewritten before each use and lead nowhere in between.
unsafe impl Send for SendScratch {}
// SAFETY: the pointers lead into the batch's own boxes, which move with it.
unsafe impl Send for RecvBatch {}

impl Default for SendScratch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendScratch {
    /// Takes the memory.
    pub fn new() -> Self {
        // SAFETY: plain C structures for which zero is a valid value.
        unsafe {
            Self {
                addresses: vec![zeroed(); SEND_BATCH].into(),
                vectors: vec![zeroed(); SEND_BATCH].into(),
                controls: vec![SegmentControl([0; 24]); SEND_BATCH].into(),
                headers: vec![zeroed(); SEND_BATCH].into(),
                runs: vec![0; SEND_BATCH].into(),
            }
        }
    }

    /// Prepares headers for `datagrams` (at most [`SEND_BATCH`]); returns how many messages they make.
    fn fill(&mut self, datagrams: &[Datagram<'_>], takes_runs: impl Fn(SocketAddr) -> bool) -> usize {
        let mut messages = 0;
        let mut first = 0;
        while first < datagrams.len() {
            let run = match run_length(&datagrams[first..]) {
                run if run > 1 && takes_runs(datagrams[first].to) => run,
                _ => 1,
            };
            for (vector, datagram) in self.vectors[first..].iter_mut().zip(&datagrams[first..first + run]) {
                *vector =
                    libc::iovec { iov_base: datagram.bytes.as_ptr().cast_mut().cast(), iov_len: datagram.bytes.len() };
            }
            let (address, len) = to_c(datagrams[first].to);
            self.addresses[messages] = address;
            self.runs[messages] = run as u32;
            let header = &mut self.headers[messages].msg_hdr;
            header.msg_name = (&raw mut self.addresses[messages]).cast();
            header.msg_namelen = len;
            header.msg_iov = &raw mut self.vectors[first];
            header.msg_iovlen = run as _;
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
            if run > 1 {
                let control = &mut self.controls[messages].0;
                header.msg_control = control.as_mut_ptr().cast();
                // SAFETY: CMSG_SPACE(2) is 24 on 64-bit Linux, the size of the aligned buffer that the header has just
                // been given, so header and value of the first control message lie inside of it.
                unsafe {
                    header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
                    debug_assert!(header.msg_controllen <= control.len());
                    let message = libc::CMSG_FIRSTHDR(header);
                    (*message).cmsg_level = libc::SOL_UDP;
                    (*message).cmsg_type = libc::UDP_SEGMENT;
                    (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                    ptr::write_unaligned(libc::CMSG_DATA(message).cast(), datagrams[first].bytes.len() as u16);
                }
            }
            messages += 1;
            first += run;
        }
        messages
    }
}

impl SendScratch {
    /// Where the message at `index` goes.
    fn to(&self, index: usize) -> Option<SocketAddr> {
        from_c(&self.addresses[index])
    }
}

/// How many datagrams from the first on can leave as segments of one.
fn run_length(datagrams: &[Datagram<'_>]) -> usize {
    let size = datagrams[0].bytes.len();
    let mut total = size;
    let mut run = 1;
    while run < datagrams.len().min(MAX_SEGMENTS) {
        let next = &datagrams[run];
        total += next.bytes.len();
        if next.to != datagrams[0].to || next.bytes.len() > size || total > 65_000 {
            break;
        }
        run += 1;
        if next.bytes.len() < size {
            break;
        }
    }
    run
}

fn to_c(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    // SAFETY: the storage is large enough and aligned for both address types, and all zeros is a valid value.
    unsafe {
        let len = match address {
            SocketAddr::V4(v4) => {
                storage.as_mut_ptr().cast::<libc::sockaddr_in>().write(libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                });
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                storage.as_mut_ptr().cast::<libc::sockaddr_in6>().write(libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                });
                size_of::<libc::sockaddr_in6>()
            }
        };
        (storage.assume_init(), len as libc::socklen_t)
    }
}

fn from_c(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds an IPv4 address.
            let v4 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds an IPv6 address.
            let v6 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(std::net::SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
