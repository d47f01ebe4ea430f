//! The sans-IO media core of rtcd: every protocol of a call, and no machine.
//!
//! Bytes and `now` go in through `handle_*`, bytes and events come out through `poll_*`, and `next_timeout` says when
//! to call again. Nothing here reads a clock, opens a socket, spawns a thread or takes a lock.
//!
//! A packet's way: [`demux`] -> [`stun`]/[`ice`] | [`dtls`] -> [`sctp`] | [`srtp`] -> [`rtp`] -> [`sfu`] -> [`srtp`].
#![deny(clippy::disallowed_methods)]

pub mod codec;
pub mod demux;
pub mod dtls;
pub mod footprint;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod handover;
pub mod ice;
mod random;
mod reserve;
pub mod rtcp;
pub mod rtp;
pub mod sctp;
pub mod sdp;
pub mod sfu;
pub mod source;
pub mod srtp;
pub mod stun;
pub mod timers;
pub mod token_bucket;
pub mod transport;
pub mod turn;

pub use random::{alphanumeric, random_u32, random_u64, warm_up};
