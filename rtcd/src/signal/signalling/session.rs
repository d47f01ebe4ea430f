//! One participant in one call, as control sees it: plain state, no channel and no task.
use super::describe::Reported;
use super::lock::SignalingLock;
use crate::ids::{ClientId, ConnId};
use crate::signal::data_channel::TrackKind;
use crate::signal::message::{Join, RtcMessage, RtcType};
use crate::signal::negotiation::Negotiation;
use rtcd_media::codec::Codec;
use rtcd_media::handover::Age;
use rtcd_media::rtp::Ssrc;
use rtcd_media::sdp::{Media, MediaKind, Mid};
use rtcd_media::sfu::command::{Command, TrackId, TransportId, WorkerId};
use rtcd_media::sfu::rewrite::Numbers;
use rtcd_media::transport::CONNECT_TIMEOUT;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a participant may take to make its first offer.
pub const FIRST_OFFER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long receivers of a sharer that announced AV1 and VP8 wait for the first AV1 packet when VP8 came first.
pub const AV1_PATIENCE: Duration = Duration::from_secs(2);
/// Streams of ended shares that are remembered, so that their sound does not become a voice.
const ENDED_STREAMS: usize = 8;

/// How far the transport has come.
#[derive(Debug, Serialize, Deserialize)]
pub enum Link {
    /// Waits for the first offer, [`FIRST_OFFER_TIMEOUT`] at most.
    AwaitingOffer,
    /// Every worker waits for the first check; what is for the owner waits here.
    AwaitingClaim {
        /// Commands for the owner, oldest first.
        waiting: Vec<Command>,
    },
    /// It lives on a worker.
    Claimed(WorkerId),
}

/// A track that the participant sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct IncomingTrack {
    /// The plane's name for it.
    pub id: TrackId,
    /// What it is to participants; `None` while nobody has announced its stream: then nothing of it passes.
    pub kind: Option<TrackKind>,
    /// The participant's latest word on its section.
    pub media: Media,
    /// What it carries, once its first packet has come.
    pub started: Option<Codec>,
    /// It flows beside more tracks than a participant may send.
    pub surplus: bool,
    /// It is counted as a track of the group.
    pub counted: Option<Codec>,
    /// VoiceOn was told, VoiceOff was not.
    pub speaking: bool,
    /// Receivers on each worker.
    pub receivers: Vec<u32>,
}

impl IncomingTrack {
    /// A track that has just been announced.
    pub fn new(id: TrackId, kind: Option<TrackKind>, media: Media, workers: usize) -> Self {
        let receivers = vec![0; workers];
        Self { id, kind, media, started: None, surplus: false, counted: None, speaking: false, receivers }
    }
    /// What others may receive of it, once it flows.
    pub fn running(&self) -> Option<(TrackKind, Codec)> {
        self.kind.zip(self.started).filter(|_| !self.surplus)
    }
    /// Whether it was announced with AV1 as its first choice.
    pub fn announces_av1(&self) -> bool {
        self.media.formats.first().is_some_and(|format| format.codec == Codec::Av1)
    }
}

/// How far a track to a participant has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Sent {
    /// The participant has not agreed to it yet.
    Announcing,
    /// The plane forwards packets.
    Flowing,
    /// The participant does not want it; it is not offered again.
    Refused,
}

/// A track that is sent to the participant.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutgoingTrack {
    /// The incoming track that it is fed from.
    pub track: TrackId,
    /// The transport that sends the track to us.
    pub publisher: TransportId,
    /// As the MediaMap calls it.
    pub kind: TrackKind,
    /// The codec; another one is another outgoing track.
    pub codec: Codec,
    /// The stream to the participant.
    pub ssrc: Ssrc,
    /// How far it has come.
    pub sent: Sent,
    /// The numbers that the plane was told.
    pub numbers: Numbers,
}

/// One participant in one call.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    /// The client id that it joined under.
    pub group: ClientId,
    /// What it said when it joined.
    pub join: Join,
    /// Where its messages go.
    pub conn: ConnId,
    /// The span that log lines about it are written in.
    #[serde(skip, default = "tracing::Span::none")]
    pub span: tracing::Span,
    /// When its `join` was handled; connection times count from it.
    #[serde_as(as = "Age")]
    pub joined_at: Instant,
    /// When its first offer came.
    #[serde_as(as = "Option<Age>")]
    pub offered_at: Option<Instant>,
    /// The state of offers and answers with this participant.
    pub negotiation: Negotiation,
    /// Where it says that its checks will come from.
    pub candidates: Vec<SocketAddr>,
    /// How often workers were told of them since ICE began.
    pub candidates_told: u32,
    /// How far its transport has come.
    pub link: Link,
    /// The data channel is open: it receives.
    pub channel_open: bool,
    /// Held by whichever side is offering.
    pub lock: SignalingLock,
    /// There is something to offer.
    pub needs_offer: bool,
    /// Its microphone is off.
    pub muted: bool,
    /// `videoStreamID`.
    pub video_stream: Option<String>,
    /// The section that carries the camera: it stays the camera's when another stream is put into its sender.
    pub camera: Option<Mid>,
    ended_streams: Vec<String>,
    /// Tracks that it has announced.
    pub incoming: Vec<IncomingTrack>,
    /// Tracks of others that it has been offered or will be.
    pub outgoing: Vec<OutgoingTrack>,
    /// When receivers stop waiting for its AV1.
    #[serde_as(as = "Option<Age>")]
    pub av1_deadline: Option<Instant>,
    /// What it has said last of its own way.
    #[serde(skip)]
    pub reported: Reported,
    /// Messages of it that were refused.
    pub refusals: u32,
    /// The entry of the actor's deadlines that counts.
    #[serde(skip)]
    pub scheduled: Option<Instant>,
}

impl Session {
    /// A participant that has just joined.
    pub fn new(group: ClientId, join: Join, conn: ConnId, now: Instant) -> Self {
        let mut session = Self {
            group,
            join,
            conn,
            span: tracing::Span::none(),
            joined_at: now,
            offered_at: None,
            negotiation: Negotiation::new(),
            candidates: Vec::new(),
            candidates_told: 0,
            link: Link::AwaitingOffer,
            channel_open: false,
            lock: SignalingLock::default(),
            needs_offer: false,
            muted: false,
            video_stream: None,
            camera: None,
            ended_streams: Vec::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            av1_deadline: None,
            reported: Reported::default(),
            refusals: 0,
            scheduled: None,
        };
        session.begin_span();
        session
    }

    /// What is logged of it is logged under its names.
    pub fn begin_span(&mut self) {
        // At every level, and of nobody else's span: whatever is said of it carries its ids, and no others.
        self.span = tracing::error_span!(
            parent: None,
            "session",
            group_id = self.group.as_str(),
            call_id = self.join.call.as_str(),
            session_id = self.join.session.as_str()
        );
    }

    /// An rtc message about this session.
    pub fn rtc(&self, kind: RtcType, data: Vec<u8>) -> RtcMessage {
        RtcMessage {
            group: self.group.clone(),
            call: self.join.call.clone(),
            user: self.join.user.clone(),
            session: self.join.session.clone(),
            kind,
            data,
        }
    }

    /// The kinds of the announced tracks, in their order; `screen` is the stream that this participant shares, if it does.
    /// `None`: nobody said what it is.
    ///
    /// A camera that was paused comes back as a new stream in its old section, which goes on under the old stream's name
    /// (contract, section 2): the section is the camera's as long as no other one has the announced stream.
    pub fn kinds_of(&mut self, offered: &[Media], screen: Option<&str>) -> Vec<Option<TrackKind>> {
        let is_camera = |media: &Media| {
            let announced = self.video_stream.as_deref().is_some_and(|stream| stream_of(media) == stream);
            media.kind == MediaKind::Video && announced && screen != Some(stream_of(media))
        };
        let known = |media: &Media| self.camera.as_ref() == Some(&media.mid) && screen != Some(stream_of(media));
        let camera = offered.iter().rfind(|media| is_camera(media)).or(offered.iter().find(|media| known(media)));
        self.camera = camera.map(|media| media.mid.clone());
        offered.iter().map(|media| self.kind_of(media, screen)).collect()
    }

    fn kind_of(&self, media: &Media, screen: Option<&str>) -> Option<TrackKind> {
        let is_screen = screen == Some(stream_of(media));
        match media.kind {
            MediaKind::Audio if is_screen => Some(TrackKind::ScreenAudio),
            MediaKind::Audio if self.has_ended(media) => None,
            MediaKind::Audio => Some(TrackKind::Voice),
            MediaKind::Video if is_screen => Some(TrackKind::Screen),
            MediaKind::Video if self.camera.as_ref() == Some(&media.mid) => Some(TrackKind::Video),
            _ => None,
        }
    }

    /// Whether a track belongs to a share that has ended: its own end is on the way.
    pub fn has_ended(&self, media: &Media) -> bool {
        self.ended_streams.iter().any(|ended| ended == stream_of(media))
    }

    /// Streams of shares that have ended.
    pub(super) fn ended_streams(&self) -> &Vec<String> {
        &self.ended_streams
    }

    /// A share with this stream has begun.
    pub fn stream_begun(&mut self, stream: &str) {
        self.ended_streams.retain(|ended| ended != stream);
    }

    /// A share with this stream has ended.
    pub fn stream_ended(&mut self, stream: String) {
        if self.ended_streams.len() == ENDED_STREAMS {
            self.ended_streams.remove(0);
        }
        self.ended_streams.push(stream);
    }

    /// The worker, once claimed.
    pub fn worker(&self) -> Option<WorkerId> {
        if let Link::Claimed(worker) = self.link { Some(worker) } else { None }
    }

    /// When something of this session runs out.
    pub fn next_timeout(&self) -> Option<Instant> {
        let first_offer = self.offered_at.is_none().then(|| self.joined_at + FIRST_OFFER_TIMEOUT);
        [first_offer, self.first_check_due(), self.lock.next_timeout(), self.av1_deadline].into_iter().flatten().min()
    }

    /// When the first connectivity check must have come: until then nobody but us has a clock for this session.
    pub fn first_check_due(&self) -> Option<Instant> {
        matches!(self.link, Link::AwaitingClaim { .. }).then_some(self.offered_at? + CONNECT_TIMEOUT)
    }
}

/// The stream id of an announced track.
fn stream_of(media: &Media) -> &str {
    media.msid.as_ref().map_or("", |(stream, _)| stream.as_str())
}

#[cfg(test)]
mod tests;
