//! Selective forwarding: what happens to a plain packet between its sender and its receivers.
//!
//! Incoming, in this order: [`receive`] (statistics, what to NACK), [`keyframe`], [`voice_activity`], then the packet
//! stands as a [`Meta`] and its payload in the [`cache`]. Outgoing, per receiver: how much it can be sent ([`bandwidth`]),
//! which layers that is ([`allocation`], by what [`meter`]s say of them), [`rewrite`], and at what pace ([`pacer`]). The
//! [`switch`] holds it all together, told by [`command`]s.
pub mod allocation;
pub mod balance;
pub mod bandwidth;
pub mod cache;
pub mod command;
pub mod keyframe;
pub mod meter;
pub mod overload;
pub mod pacer;
pub mod receive;
pub mod rewrite;
pub mod switch;
pub mod voice_activity;

use crate::codec::Codec;
use crate::rtp::SeqNo;
use serde::{Deserialize, Serialize};

/// A simulcast layer, lowest first; 0 is also the only one of a track without RIDs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Layer(pub u8);

/// Layers that a track may have.
pub const MAX_LAYERS: usize = crate::sdp::MAX_RIDS;

/// Which stream of a layer a packet belongs to: a sender that begins a layer anew under another SSRC numbers its packets
/// anew, too. Each stream of a peer has its own, later ones higher ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u32);

/// What an SFU knows of a packet besides its payload. Plain values, so that it crosses threads with the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Meta {
    /// The layer it belongs to.
    pub layer: Layer,
    /// The stream of that layer.
    pub epoch: Epoch,
    /// What its payload is.
    pub codec: Codec,
    /// Its extended sequence number in the sender's stream.
    pub seq: SeqNo,
    /// Its timestamp in the sender's stream.
    pub timestamp: u32,
    /// Last packet of a frame, first of a talk spurt.
    pub marker: bool,
    /// The payload ends in padding.
    pub padding: bool,
    /// A decoder can start here.
    pub keyframe: bool,
    /// The byte of the audio level extension.
    pub audio_level: Option<u8>,
}
