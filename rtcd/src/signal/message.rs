//! The msgpack messages of the WebSocket (contract, section 2).
use crate::ids::{CallId, ClientId, ConnId, SessionId, UserId};

/// `join`: the wish to take part in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The call.
    pub call: CallId,
    /// The user.
    pub user: UserId,
    /// The new session.
    pub session: SessionId,
    /// The Mattermost channel.
    pub channel_id: String,
    /// Whether the participant can receive AV1.
    pub av1_support: bool,
    /// Whether offers and answers travel over the data channel.
    pub dc_signaling: bool,
}

/// `type` of an rtc message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the contract's")]
pub enum RtcType {
    Ice = 1,
    Sdp = 2,
    Mute = 3,
    Unmute = 4,
    ScreenOn = 5,
    ScreenOff = 6,
    VoiceOn = 7,
    VoiceOff = 8,
    VideoOn = 9,
    VideoOff = 10,
}

/// `rtc` (both ways) and `vad` (out).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcMessage {
    /// `group_id`; empty when the sender left it out.
    pub group: ClientId,
    /// `call_id`.
    pub call: CallId,
    /// `user_id`.
    pub user: UserId,
    /// `session_id`.
    pub session: SessionId,
    /// What it is.
    pub kind: RtcType,
    /// `data`: JSON for most types, empty when absent.
    pub data: Vec<u8>,
}

/// What a client may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// A participant joins.
    Join(Join),
    /// A participant leaves.
    Leave {
        /// Which.
        session: SessionId,
    },
    /// Route this session's messages to this connection from now on.
    Reconnect {
        /// Which.
        session: SessionId,
    },
    /// Signalling for a session.
    Rtc(RtcMessage),
}

/// What we say to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// First message of a connection.
    Hello {
        /// The authenticated client.
        client: ClientId,
        /// The connection.
        conn: ConnId,
    },
    /// Signalling for a session.
    Rtc(RtcMessage),
    /// `VoiceOn` or `VoiceOff` of a session.
    Vad(RtcMessage),
    /// A session's peer connection has ended.
    Close {
        /// Which.
        session: SessionId,
    },
}

/// Why a frame could not be read: the peer's fault, counted and dropped; the connection stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not two msgpack values, or a length that the frame does not hold.
    #[error("the frame is not two msgpack values")]
    Malformed,
}
