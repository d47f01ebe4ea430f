//! A track that a peer sends, and which of its packets belong to which stream of it.
use super::gate::Gate;
use crate::codec::Codec;
use crate::footprint::Footprint;
use crate::handover::Age;
use crate::rtp::Header;
use crate::sdp::MediaKind;
use crate::sfu::command::{Incoming, TrackId};
use crate::sfu::keyframe::KeyframeRequests;
use crate::sfu::receive::Reception;
use crate::sfu::voice_activity::VoiceActivity;
use crate::sfu::{Layer, MAX_LAYERS};
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// A sender that changes its codec again and again is followed once in this time: each change is negotiated anew.
const CODEC_KEPT_FOR: Duration = Duration::from_secs(1);

/// A track that the peer sends.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(in crate::sfu::switch) struct IncomingTrack {
    /// As announced.
    pub spec: Incoming,
    /// Its place in the worker's forward table.
    #[serde(skip)]
    pub forward: usize,
    pub(super) voice: Option<VoiceActivity>,
    /// What it carries, once its first packet has come, and since when.
    #[serde_as(as = "Option<(_, Age)>")]
    codec: Option<(Codec, Instant)>,
    /// Layers whose key frame is wanted and whose stream has not been heard yet.
    wishes: [bool; MAX_LAYERS],
}

impl IncomingTrack {
    pub(super) fn new(spec: Incoming, forward: usize) -> Self {
        let voice = spec.detect_voice.then(VoiceActivity::default);
        Self { spec, forward, voice, codec: None, wishes: [false; MAX_LAYERS] }
    }

    /// The description has been renewed; the track goes on.
    pub(super) fn renew(&mut self, spec: Incoming) {
        if !spec.detect_voice {
            self.voice = None;
        } else if self.voice.is_none() {
            self.voice = Some(VoiceActivity::default());
        }
        self.spec = spec;
    }

    /// What it carries, once its first packet has come.
    pub fn codec(&self) -> Option<Codec> {
        self.codec.map(|(codec, _)| codec)
    }

    /// Nobody has listened for a while: whoever speaks begins to.
    pub(super) fn fall_silent(&mut self) {
        if let Some(voice) = &mut self.voice {
            *voice = VoiceActivity::default();
        }
    }

    /// A packet with this codec has come; whether that is news.
    pub(super) fn carries(&mut self, now: Instant, codec: Codec) -> bool {
        let news = self.codec.is_none_or(|(known, since)| known != codec && now >= since + CODEC_KEPT_FOR);
        if news {
            self.codec = Some((codec, now));
        }
        news
    }

    /// A key frame of a layer is wanted before its stream has been heard.
    pub(super) fn wish(&mut self, layer: Layer) {
        if let Some(wish) = self.wishes.get_mut(usize::from(layer.0)) {
            *wish = true;
        }
    }

    /// The layer's stream has been heard: whether its key frame has been wanted.
    pub(super) fn grant(&mut self, layer: Layer) -> bool {
        self.wishes.get_mut(usize::from(layer.0)).is_some_and(std::mem::take)
    }

    /// What a payload type means in this section.
    pub(super) fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        self.spec.formats.iter().find(|(known, _)| *known == payload_type).map(|(_, codec)| *codec)
    }

    /// Whether the packet says itself, by MID or an announced SSRC, that it belongs to the track.
    pub(super) fn announces(&self, header: &Header<'_>) -> bool {
        match header.mid {
            Some(mid) => mid == self.spec.mid.0.as_bytes(),
            None => self.spec.ssrcs.contains(&header.ssrc),
        }
    }

    /// The layer of a packet of the track; `None` when it has not said its RID yet.
    pub(super) fn layer_of(&self, header: &Header<'_>) -> Option<Layer> {
        let spec = &self.spec;
        if spec.kind == MediaKind::Audio || (spec.rids.is_empty() && spec.ssrcs.len() <= 1) {
            return Some(Layer(0));
        }
        let at = match header.rid {
            Some(rid) => spec.rids.iter().position(|known| known.0.as_bytes() == rid),
            None if spec.rids.is_empty() => {
                // A stream that took the place of one of those that were announced is told by MID alone.
                let announced = spec.ssrcs.iter().position(|known| *known == header.ssrc);
                announced.or(header.mid.map(|_| 0))
            }
            None => None,
        };
        at.filter(|at| *at < MAX_LAYERS).map(|at| Layer(at as u8))
    }
}

/// One stream of a track: a layer.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(in crate::sfu::switch) struct Stream {
    /// Statistics and what is missing.
    pub reception: Reception,
    /// Requests towards the peer.
    pub keyframes: KeyframeRequests,
    /// Whose layer.
    pub track: TrackId,
    /// Which layer.
    pub layer: Layer,
    /// It carries pictures: what cannot be repaired needs a key frame.
    pub is_video: bool,
    /// When its last packet came.
    #[serde_as(as = "Age")]
    pub heard: Instant,
    pub(super) gate: Gate,
}

impl Footprint for IncomingTrack {
    fn heap_bytes(&self) -> usize {
        self.spec.heap_bytes()
    }
}

impl Footprint for Stream {
    fn heap_bytes(&self) -> usize {
        self.reception.heap_bytes()
    }
}
