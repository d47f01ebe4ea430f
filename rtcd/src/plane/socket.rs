//! UDP sockets in batches: recvmmsg, sendmmsg and UDP_SEGMENT behind a safe face. The only unsafe code of the daemon.
//!
//! A datagram that cannot be sent (full buffer, unreachable network) is dropped and counted: media does not wait.
#![allow(unsafe_code, reason = "the system calls of the packet path")]

mod address;
mod bind;
mod pass;
mod recv;
mod send;
mod steer;

pub use bind::{BufferSizes, Sharing, grow_buffers, keep_little_unsent, listen_tcp, taken};
pub use pass::{passed_descriptors, receive_descriptors, send_descriptors};
pub use recv::RecvBatch;
pub use send::{Datagram, SendScratch};
pub use steer::SteeringProgram;

use bind::{check, get_option, set_option, shared_socket, unreceived};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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
#[derive(Debug)]
pub struct UdpSocket {
    inner: std::net::UdpSocket,
    /// Whether the kernel and the device take UDP_SEGMENT; probed, then withdrawn when they say no to many.
    segmentation: bool,
    /// Where runs do not go, as the way there is narrower than a segment.
    singly: HashSet<SocketAddr>,
    /// Destinations for which the device could not do it.
    without_offload: usize,
    /// Datagrams that the kernel has dropped for want of room, as far as they were counted.
    unreceived: u32,
}

/// What one flush did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SendStats {
    /// Datagrams handed to the kernel.
    pub sent: u64,
    /// Datagrams that the kernel refused.
    pub dropped: u64,
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
        Ok((Self { inner: fd.into(), segmentation, singly: HashSet::new(), without_offload: 0, unreceived: 0 }, sizes))
    }

    /// Takes over a socket that is bound and connected already.
    pub fn adopt(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        grow_buffers(socket.as_fd())?;
        let segmentation = get_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        // What was dropped before is counted already.
        let unreceived = unreceived(socket.as_fd()).unwrap_or_default();
        Ok(Self { inner: socket, segmentation, singly: HashSet::new(), without_offload: 0, unreceived })
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Datagrams that the kernel has dropped since this was asked last, as its buffer was full.
    pub fn take_unreceived(&mut self) -> u32 {
        // A kernel that does not say (before Linux 4.11) has dropped none.
        let Ok(unreceived) = unreceived(self.inner.as_fd()) else { return 0 };
        unreceived.wrapping_sub(std::mem::replace(&mut self.unreceived, unreceived))
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
                // Unsigned to musl.
                libc::MSG_DONTWAIT as _,
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
        self.send_each(datagrams.len(), |at| datagrams[at], scratch)
    }

    /// The same with `count` datagrams that `datagram` gives by their place: a batch needs no list of them.
    pub fn send_each<'a>(
        &mut self,
        count: usize,
        datagram: impl Fn(usize) -> Datagram<'a>,
        scratch: &mut SendScratch,
    ) -> SendStats {
        let mut stats = SendStats::default();
        let mut next = 0;
        while next < count {
            let takes_runs = |to| self.segmentation && !self.singly.contains(&to);
            let messages = scratch.fill(SEND_BATCH.min(count - next), |at| datagram(next + at), takes_runs);
            let mut done = 0;
            while done < messages {
                // SAFETY: the first `messages` headers point into `scratch` and to the bytes of the datagrams, which
                // outlive the call; the kernel only reads through them.
                // musl's function of this name calls sendmsg for each message: the pads of its structures may be dirty.
                // Ours were zero when they were made and nobody writes there.
                let result = unsafe {
                    libc::syscall(
                        libc::SYS_sendmmsg,
                        self.inner.as_raw_fd(),
                        scratch.headers.as_mut_ptr().add(done),
                        (messages - done) as libc::c_uint,
                        libc::MSG_DONTWAIT,
                    )
                };
                match check(result as libc::c_int) {
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
        stats
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

impl From<UdpSocket> for OwnedFd {
    fn from(socket: UdpSocket) -> Self {
        socket.inner.into()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[cfg(test)]
mod tests;
