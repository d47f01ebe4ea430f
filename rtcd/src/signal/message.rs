//! The msgpack messages of the WebSocket (contract, section 2): what they are. How they travel is in [`codec`].
pub mod codec;
pub mod reader;

use crate::ids::{CallId, ClientId, ConnId, SessionId, UserId};
use serde::{Deserialize, Serialize};

/// `join`: the wish to take part in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// `callID`, unique within the client.
    pub call: CallId,
    /// `userID`; may have several sessions.
    pub user: UserId,
    /// `sessionID`, unique within the client.
    pub session: SessionId,
    /// `props.channelID`; empty when it was not said.
    pub channel_id: String,
    /// Whether the participant can receive AV1.
    pub av1_support: bool,
    /// Whether offers and answers travel over the data channel.
    pub dc_signaling: bool,
}

/// `type` of an rtc message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcMessage {
    /// `group_id`; empty when the sender left it out.
    pub group: ClientId,
    /// `call_id`.
    pub call: CallId,
    /// `user_id`.
    pub user: UserId,
    /// `session_id`.
    pub session: SessionId,
    /// The type, which says what `data` holds.
    pub kind: RtcType,
    /// `data`: JSON for most types, empty when absent.
    pub data: Vec<u8>,
}

/// What a client may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Makes a session, and its call if it is the first.
    Join(Join),
    /// Ends a session; its tracks leave every receiver.
    Leave {
        /// `sessionID` of a live session.
        session: SessionId,
    },
    /// Route this session's messages to this connection from now on.
    Reconnect {
        /// `sessionID` of a live session.
        session: SessionId,
    },
    /// Signalling for a session.
    Rtc(RtcMessage),
}

/// What we say to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// First message of a connection.
    Hello {
        /// `clientID`, as it has logged in.
        client: ClientId,
        /// `connID` of this WebSocket.
        conn: ConnId,
    },
    /// Signalling for a session.
    Rtc(RtcMessage),
    /// `VoiceOn` or `VoiceOff` of a session.
    Vad(RtcMessage),
    /// A session's peer connection has ended.
    Close {
        /// `sessionID` of the session that has ended.
        session: SessionId,
    },
}

/// Why a frame could not be read: the peer's fault, counted and dropped; the connection stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A length says more than the frame holds, or the frame ends within a value.
    #[error("the frame ends within {0}")]
    Truncated(&'static str),
    /// A byte that starts no msgpack value, or a map key that is no string.
    #[error("the frame is not msgpack: {0}")]
    Malformed(&'static str),
    /// Values nest deeper than any message of the contract.
    #[error("values nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Something follows the second value.
    #[error("{0} bytes follow the message")]
    TrailingBytes(usize),
    /// The first value names no message that this side takes.
    #[error("unknown message type {0:?}")]
    UnknownType(String),
    /// A field has another type than the contract gives it.
    #[error("{field} is not {expected}")]
    WrongType {
        /// Its name on the wire.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field must be there and is not, or is empty.
    #[error("{0} is missing")]
    MissingField(&'static str),
    /// An identifier is longer than [`MAX_ID_LEN`].
    #[error("{0} is longer than {MAX_ID_LEN} bytes")]
    TooLong(&'static str),
    /// `type` of an rtc message is none of the contract's.
    #[error("unknown rtc type {0}")]
    UnknownRtcType(i64),
    /// The WebSocket frame was text: the contract knows binary frames only.
    #[error("a text frame")]
    TextFrame,
}

/// Longest identifier taken from a peer. Mattermost's ids have 26 characters.
pub const MAX_ID_LEN: usize = 256;

/// Deepest nesting that is walked in fields we do not know.
pub const MAX_DEPTH: usize = 16;

impl RtcType {
    /// The type with this number.
    pub fn from_wire(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Ice,
            2 => Self::Sdp,
            3 => Self::Mute,
            4 => Self::Unmute,
            5 => Self::ScreenOn,
            6 => Self::ScreenOff,
            7 => Self::VoiceOn,
            8 => Self::VoiceOff,
            9 => Self::VideoOn,
            10 => Self::VideoOff,
            _ => return None,
        })
    }
}

impl ClientMessage {
    /// The name of the message on the wire: a metric's label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Join(_) => "join",
            Self::Leave { .. } => "leave",
            Self::Reconnect { .. } => "reconnect",
            Self::Rtc(_) => "rtc",
        }
    }
}

impl ServerMessage {
    /// The name of the message on the wire: a metric's label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Rtc(_) => "rtc",
            Self::Vad(_) => "vad",
            Self::Close { .. } => "close",
        }
    }
}
