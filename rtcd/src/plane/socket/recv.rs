//! Buffers that recvmmsg fills.
use super::address::Address;
use super::{RECV_BATCH, RECV_SIZE};
use std::mem::zeroed;
use std::net::SocketAddr;

/// Buffers of one receive call.
pub struct RecvBatch {
    buffers: Box<[[u8; RECV_SIZE]]>,
    addresses: Box<[Address]>,
    vectors: Box<[libc::iovec]>,
    pub(super) messages: Box<[libc::mmsghdr]>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvBatch {
    /// Memory of one batch.
    pub const BYTES: usize = RECV_BATCH
        * (RECV_SIZE + size_of::<libc::sockaddr_storage>() + size_of::<libc::iovec>() + size_of::<libc::mmsghdr>());

    /// Takes the memory for one batch.
    pub fn new() -> Self {
        let mut buffers = vec![[0; RECV_SIZE]; RECV_BATCH].into_boxed_slice();
        let mut addresses = vec![Address::default(); RECV_BATCH].into_boxed_slice();
        // SAFETY: a plain C structure for which zero is a valid value.
        let mut messages: Box<[libc::mmsghdr]> = unsafe { vec![zeroed(); RECV_BATCH].into() };
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

    pub(super) fn reset(&mut self) {
        debug_assert_eq!(self.vectors.len(), RECV_BATCH);
        for message in &mut self.messages {
            message.msg_hdr.msg_namelen = Address::ROOM;
        }
    }

    /// The datagram at `index` of the last receive and its sender; `None` when it was longer than a buffer.
    pub fn datagram(&mut self, index: usize) -> Option<(&mut [u8], SocketAddr)> {
        let message = &self.messages[index];
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let from = self.addresses[index].get()?;
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

// SAFETY: the pointers lead into the batch's own boxes, which move with it.
unsafe impl Send for RecvBatch {}
