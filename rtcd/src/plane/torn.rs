//! Frames that are torn when a process dies: the kernel has taken a part of them. The receiver waits for the rest, and would
//! take the next frame for it, and everything behind it for something else. Whoever goes on fills the frame up; what is in
//! it does not matter, as no key opens it.
use super::handover::{Inode, inode};
use super::outbox::Begun;
use super::socket::taken;
use crate::handover::cells::MARK;
use std::net::TcpStream;

/// A frame of which the kernel has taken a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Torn {
    /// On which connection.
    pub inode: Inode,
    /// What had been taken of all that was ever sent on it.
    taken: u64,
    /// Bytes that had not.
    rest: u16,
    /// The first of them.
    next: u8,
}

impl Torn {
    /// The frame that has begun to leave on a connection.
    pub fn of(stream: &TcpStream, begun: Begun) -> Option<Self> {
        let rest = u16::try_from(begun.rest).ok()?;
        Some(Self { inode: inode(stream), taken: taken(stream).ok()?, rest, next: begun.next })
    }

    /// As it is written down.
    pub fn to_mark(self) -> [u8; MARK] {
        let mut mark = [0; MARK];
        mark[..8].copy_from_slice(&self.inode.to_le_bytes());
        mark[8..16].copy_from_slice(&self.taken.to_le_bytes());
        mark[16..18].copy_from_slice(&self.rest.to_le_bytes());
        mark[18] = self.next;
        mark
    }

    /// As it was written down.
    pub fn of_mark(mark: [u8; MARK]) -> Self {
        let [i0, i1, i2, i3, i4, i5, i6, i7, t0, t1, t2, t3, t4, t5, t6, t7, r0, r1, next, _] = mark;
        Self {
            inode: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            taken: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            rest: u16::from_le_bytes([r0, r1]),
            next,
        }
    }

    /// What is missing when so much has been taken; `None`: the frame has not begun, or was finished.
    fn rest(&self, taken: u64) -> Option<Vec<u8>> {
        let more = usize::try_from(taken.checked_sub(self.taken)?).ok()?;
        let missing = usize::from(self.rest).checked_sub(more).filter(|missing| *missing > 0)?;
        let mut rest = vec![0; missing];
        if more == 0 {
            rest[0] = self.next;
        }
        Some(rest)
    }
}

/// What fills up the frame that a connection was in the middle of, by what was `torn` on it at one time or another.
pub fn rest_of(stream: &TcpStream, torn: &[Torn]) -> Option<Vec<u8>> {
    let taken = taken(stream).ok()?;
    torn.iter().find_map(|torn| torn.rest(taken))
}
