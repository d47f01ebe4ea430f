//! Values of labels: each list is closed.

macro_rules! labels {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant),+ }
        impl $name {
            /// Every value of the label.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The value as Prometheus shows it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

labels! {
    /// Which way a message or a track goes, seen from here.
    Direction {
        /// From the peer to us.
        In = "in",
        /// From us to the peer.
        Out = "out",
    }
}
labels! {
    /// `type` of `rtcd_rtc_conn_states_total`.
    ConnState {
        /// The DTLS handshake is complete: media can flow.
        Connected = "connected",
        /// No packet for a while.
        Disconnected = "disconnected",
        /// No connection in time, or lost for good.
        Failed = "failed",
        /// Ended by either side.
        Closed = "closed",
    }
}
labels! {
    /// `type` of `rtcd_rtc_errors_total`.
    ErrorKind {
        /// Media that cannot be taken.
        Rtp = "rtp",
        /// A track that nobody announced, or that cannot be forwarded.
        Track = "track",
        /// A candidate that cannot be read.
        Ice = "ice",
        /// A message or description that cannot be read, or is out of turn.
        Signaling = "signaling",
        /// The signalling lock was not free within 5 s.
        SignalingLockTimeout = "signaling_lock_timeout",
        /// Our offer got no answer.
        SignalingAnswerTimeout = "signaling_answer_timeout",
        /// A join that is refused.
        Join = "join",
        /// A data channel message that cannot be read.
        DataChannel = "data_channel",
        /// A message that could not be handed on: nobody to take it, or a full queue.
        Undelivered = "undelivered",
    }
}
labels! {
    /// `type` of `rtcd_rtc_rtp_tracks_writes_time`: what participants call a track.
    MediaType {
        /// A microphone.
        Voice = "voice",
        /// The picture of a shared screen.
        Screen = "screen",
        /// The sound of a shared screen.
        ScreenAudio = "screen-audio",
        /// A camera.
        Video = "video",
    }
}
labels! {
    /// `reason` of `rtcd_auth_refused_total`.
    AuthRefusal {
        /// No `Authorization` header, or one that cannot be read.
        NoCredentials = "no_credentials",
        /// No client of that id.
        UnknownClient = "unknown_client",
        /// A client's id with another key.
        WrongKey = "wrong_key",
        /// A bearer token that is none, was replaced or has run out.
        UnknownToken = "unknown_token",
        /// Too many checks were waiting.
        Busy = "busy",
    }
}
labels! {
    /// `type` of `rtcd_rtc_rtp_tracks_total`: MIME types.
    TrackType {
        /// Voice, and the sound of a screen.
        Opus = "audio/opus",
        /// RFC 7741.
        Vp8 = "video/VP8",
        /// Screens, for those who can.
        Av1 = "video/AV1",
    }
}
labels! {
    /// Names of WebSocket messages; what a client invents counts as one of them.
    MessageName {
        /// Out, the first message: the connection id.
        Hello = "hello",
        /// From the plugin only.
        Join = "join",
        /// From the plugin only.
        Leave = "leave",
        /// From the plugin only.
        Reconnect = "reconnect",
        /// In and out: what concerns one session.
        Rtc = "rtc",
        /// Out: a voice began or ended.
        Vad = "vad",
        /// Out, the last message about a session.
        Close = "close",
        /// In: what cannot be read.
        Invalid = "invalid",
    }
}

impl MessageName {
    /// Which ways it goes.
    pub const fn directions(self) -> &'static [Direction] {
        match self {
            Self::Hello | Self::Vad | Self::Close => &[Direction::Out],
            Self::Join | Self::Leave | Self::Reconnect | Self::Invalid => &[Direction::In],
            Self::Rtc => Direction::ALL,
        }
    }
}
