//! What has become of a participant, as a test sees it.
use std::collections::HashMap;

/// A track that the participant hears of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// By MediaMap: voice, screen, ..
    pub kind: String,
    /// By MediaMap: the sender's session.
    pub sender: String,
    pub frames: u64,
    /// Frames behind which something was missing.
    pub gaps: u64,
    /// Key frames among them.
    pub keyframes: u64,
    pub last: Vec<u8>,
    pub codec: String,
    /// The section is one that we receive in.
    pub live: bool,
}

/// What has become of a participant so far.
#[derive(Default, Debug)]
pub struct State {
    /// ICE and DTLS are through.
    pub connected: bool,
    /// `calls-dc` is open.
    pub channel_open: bool,
    pub tracks: HashMap<String, Track>,
    /// Offers of the daemon that were answered.
    pub offers_answered: u64,
    pub media_maps: u64,
    /// An offer with a sending section that no MediaMap had announced.
    pub unannounced: u64,
    /// ICE candidates that were trickled to us.
    pub candidates: u64,
    /// VoiceOn (true) and VoiceOff as they came.
    pub vad: Vec<bool>,
    /// `close` came.
    pub closed: u64,
    /// Answers to lock requests of a participant with `manual_lock`.
    pub locks: Vec<bool>,
    /// Text messages on the channel.
    pub texts: Vec<String>,
    /// Why the engine stopped.
    pub error: Option<String>,
    /// The last offer of ours and the last answer to it.
    pub last_exchange: (String, String),
    pub pongs: u64,
    /// Packets of media that came, by the way they came.
    pub media_over_udp: u64,
    pub media_over_tcp: u64,
}
