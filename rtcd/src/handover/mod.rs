//! Another process goes on with the calls: after `systemctl restart`, or as `rtcd --takeover`.
//!
//! This process suspends data channels as they get ready, says goodbye on the WebSockets, stops its workers, and leaves a
//! [`Parcel`]: sockets, which the kernel queues packets for meanwhile, and a [`memory`] with the [`Record`] of everything else.
//! It reaches the next process by systemd's descriptor store or over a Unix socket, see [`door`]. The next process starts its
//! workers with it before anything else.
pub mod arrival;
pub mod cells;
pub mod control;
pub mod crash;
pub mod door;
pub mod leaving;
mod memory;
mod record;

pub use memory::{Memory, MemoryError};
pub use record::{Legacy, LegacyError, Record, Rest, monotonic};

use std::os::fd::OwnedFd;

/// All that another process needs, on its way.
#[derive(Debug)]
pub struct Parcel {
    /// The record.
    pub memory: OwnedFd,
    /// What its inodes are of.
    pub descriptors: Vec<OwnedFd>,
}
