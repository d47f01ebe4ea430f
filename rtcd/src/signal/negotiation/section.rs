//! One section of the description: what each side sends in it.
use rtcd_media::codec::Codec;
use rtcd_media::footprint::Footprint;
use rtcd_media::rtp::Ssrc;
use rtcd_media::sdp::{Direction, Media, MediaKind, Mid};
use serde::{Deserialize, Serialize};

/// A stream of ours in a section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sending {
    /// Of its media; its name to us.
    pub ssrc: Ssrc,
    /// For its retransmissions, in case that the peer knows RTX.
    pub rtx_ssrc: Option<Ssrc>,
    /// The codec that it is encoded with; never changes.
    pub codec: Codec,
    /// The sender's session id.
    pub stream_id: String,
    /// `<type>_<sender session id>_<8 random characters>`.
    pub track_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) mid: Mid,
    pub(super) kind: MediaKind,
    /// We made it. A peer does not receive in a section that it made to send.
    pub(super) ours: bool,
    pub(super) protocol: String,
    /// The peer's latest word on it.
    pub(super) remote: Option<Media>,
    /// The peer's track in it is welcome.
    pub(super) accepted: bool,
    pub(super) sending: Option<Sending>,
    /// The peer has been told of a stream of ours here, by a description that it has answered or offered.
    pub(super) told_sending: bool,
    /// That description had RTX for the stream. A receiver does not learn of it later: Chromium goes by the first SSRC.
    pub(super) told_rtx: bool,
    /// The stream of ours in the offer that waits for its answer.
    pub(super) offered: Option<Ssrc>,
    /// Our latest offer let the peer send here.
    #[serde(default)]
    pub(super) invited: bool,
}

impl Section {
    /// The peer has answered: what it refused, or can hear with none of our codecs, is not sent.
    pub(super) fn settle_offered(&mut self) {
        let Some(ssrc) = self.offered.take() else {
            self.told_sending = false;
            return;
        };
        let heard = self.is_heard();
        if !heard {
            self.sending.take_if(|sending| sending.ssrc == ssrc);
        }
        self.told_sending = heard;
    }
    /// Whether the peer listens to what we send here, by its latest word.
    pub(super) fn is_heard(&self) -> bool {
        let (Some(remote), Some(sending)) = (&self.remote, &self.sending) else { return false };
        may_hear(remote) && remote.format(sending.codec).is_some()
    }
    pub(super) fn is_rejected(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.rejected)
    }
    pub(super) fn receives(&self) -> bool {
        self.accepted && self.remote.as_ref().is_some_and(|remote| remote.direction.sends() && !remote.rejected)
    }
    /// The peer has a track here that our offer did not let it send. A browser whose `addTrack` takes over a section of ours
    /// between our offer and its answer thinks that all has been said, and never offers the track.
    pub(super) fn holds_back(&self) -> bool {
        let held = |media: &Media| {
            let named = media.msid.as_ref().is_some_and(|(stream, _)| stream != "-");
            named && !media.rejected && !media.direction.sends() && media.kind != MediaKind::Application
        };
        self.ours && self.remote.as_ref().is_some_and(held)
    }
    /// As we describe it. An offer invites what is held back.
    pub(super) fn direction(&self, may_send: bool, offering: bool) -> Direction {
        let receives = self.receives() || (offering && self.holds_back());
        match (self.sending.is_some() && may_send, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }
}

/// Whether the peer's direction lets it hear us.
pub(super) fn may_hear(remote: &Media) -> bool {
    !remote.rejected && matches!(remote.direction, Direction::SendRecv | Direction::RecvOnly)
}

impl Footprint for Sending {
    fn heap_bytes(&self) -> usize {
        self.stream_id.heap_bytes() + self.track_id.heap_bytes()
    }
}

impl Footprint for Section {
    fn heap_bytes(&self) -> usize {
        self.mid.heap_bytes() + self.protocol.heap_bytes() + self.remote.heap_bytes() + self.sending.heap_bytes()
    }
}
