//! Headers that sendmmsg reads: runs of datagrams to one address become one message with UDP_SEGMENT.
use super::address::Address;
use super::{MAX_SEGMENTS, SEND_BATCH};
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::ptr;

/// A datagram to be sent.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

/// The control message that carries the segment size, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl([u8; 24]);

/// Headers for one sendmmsg; kept so that nothing is allocated per flush.
pub struct SendScratch {
    addresses: Box<[Address]>,
    vectors: Box<[libc::iovec]>,
    controls: Box<[SegmentControl]>,
    pub(super) headers: Box<[libc::mmsghdr]>,
    /// Datagrams in each message.
    pub(super) runs: Box<[u32]>,
}

// SAFETY: the pointers inside are rewritten before each use and lead nowhere in between.
unsafe impl Send for SendScratch {}

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
                addresses: vec![Address::default(); SEND_BATCH].into(),
                vectors: vec![zeroed(); SEND_BATCH].into(),
                controls: vec![SegmentControl([0; 24]); SEND_BATCH].into(),
                headers: vec![zeroed(); SEND_BATCH].into(),
                runs: vec![0; SEND_BATCH].into(),
            }
        }
    }

    /// Memory that it takes.
    pub const BYTES: usize = SEND_BATCH
        * (size_of::<libc::sockaddr_storage>()
            + size_of::<libc::iovec>()
            + size_of::<SegmentControl>()
            + size_of::<libc::mmsghdr>()
            + size_of::<u32>());

    /// Prepares headers for `datagrams` (at most [`SEND_BATCH`]); returns how many messages they make.
    pub(super) fn fill<'a>(
        &mut self,
        count: usize,
        datagram: impl Fn(usize) -> Datagram<'a>,
        takes_runs: impl Fn(SocketAddr) -> bool,
    ) -> usize {
        let mut messages = 0;
        let mut first = 0;
        while first < count {
            let Datagram { to, bytes } = datagram(first);
            let run = match run_length(first, count, &datagram) {
                run if run > 1 && takes_runs(to) => run,
                _ => 1,
            };
            for (at, vector) in self.vectors[first..first + run].iter_mut().enumerate() {
                let bytes = datagram(first + at).bytes;
                *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            }
            let len = self.addresses[messages].set(to);
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
                    debug_assert_eq!(libc::CMSG_SPACE(size_of::<u16>() as u32) as usize, control.len());
                    header.msg_controllen = control.len() as _;
                    let message = libc::CMSG_FIRSTHDR(header);
                    (*message).cmsg_level = libc::SOL_UDP;
                    (*message).cmsg_type = libc::UDP_SEGMENT;
                    (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                    ptr::write_unaligned(libc::CMSG_DATA(message).cast(), bytes.len() as u16);
                }
            }
            messages += 1;
            first += run;
        }
        messages
    }

    /// Where the message at `index` goes.
    pub(super) fn to(&self, index: usize) -> Option<SocketAddr> {
        self.addresses[index].get()
    }
}

/// How many of `count` datagrams can leave from `first` on as segments of one.
pub(super) fn run_length<'a>(first: usize, count: usize, datagram: impl Fn(usize) -> Datagram<'a>) -> usize {
    let Datagram { to, bytes } = datagram(first);
    let size = bytes.len();
    let mut total = size;
    let mut run = 1;
    while run < (count - first).min(MAX_SEGMENTS) {
        let next = datagram(first + run);
        total += next.bytes.len();
        if next.to != to || next.bytes.len() > size || total > 65_000 {
            break;
        }
        run += 1;
        if next.bytes.len() < size {
            break;
        }
    }
    run
}
