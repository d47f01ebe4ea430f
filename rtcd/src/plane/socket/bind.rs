//! Sockets that are bound: who shares an address with whom, and how large their buffers are.
use super::address::Address;
use super::{SOCKET_BUFFER, UNACKNOWLEDGED, UNSENT};
use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::ptr;

/// Sizes that the kernel gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferSizes {
    /// Receive buffer in bytes, as asked for (the kernel doubles it for itself).
    pub receive: usize,
    /// Send buffer in bytes.
    pub send: usize,
}

pub(super) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(super) fn set_option<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a plain C value of the size that is passed.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t)
    };
    check(result).map(|_| ())
}

pub(super) fn get_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `value`.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    check(result).map(|_| value)
}

/// Datagrams that the kernel has dropped for want of room since the socket was made; the counter wraps.
pub(super) fn unreceived(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SK_MEMINFO_VARS numbers, of which SK_MEMINFO_DROPS is the last (linux/sock_diag.h).
    let mut numbers = [0u32; 9];
    let mut len = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `numbers`.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, numbers.as_mut_ptr().cast(), &raw mut len)
    };
    check(result).map(|_| numbers[8])
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
pub(super) fn shared_socket(
    address: SocketAddr,
    kind: libc::c_int,
    sharing: Sharing,
) -> io::Result<std::os::fd::OwnedFd> {
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
    let mut name = Address::default();
    let len = name.set(address);
    // SAFETY: `name` holds an address of `len` bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&name).cast(), len) })?;
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

/// How many bytes a connection has taken from us since it began, but for a constant: what came before a process that has
/// died, and what it had the kernel take.
pub fn taken(stream: &std::net::TcpStream) -> io::Result<u64> {
    let mut acknowledged = acknowledged(stream)?;
    loop {
        let mut waiting: libc::c_int = 0;
        // SAFETY: the kernel writes one number into `waiting`.
        check(unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) })?;
        // Between both calls something may have been acknowledged.
        let before = std::mem::replace(&mut acknowledged, self::acknowledged(stream)?);
        if before == acknowledged {
            return Ok(acknowledged + waiting as u64);
        }
    }
}

fn acknowledged(stream: &std::net::TcpStream) -> io::Result<u64> {
    // SAFETY: numbers, for which zeros are a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let (place, size) = ((&raw mut info).cast(), &raw mut len);
    // SAFETY: the kernel writes at most `len` bytes into `info`.
    check(unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, size) })?;
    Ok(info.tcpi_bytes_acked)
}
