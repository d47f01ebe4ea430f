//! What a participant sends: which of its announced tracks are welcome, as what, and whether they pass.
use super::actor::Actor;
use super::data_channel::TrackKind;
use super::session::IncomingTrack;
use crate::metrics::{Direction, ErrorKind, TrackType};
use crate::plane::command::{Command, Incoming, TransportId};
use rtcd_media::sdp::{Media, Rid};
use rtcd_media::sfu::codec::Codec;
use serde::Deserialize;
use std::time::Instant;

/// Tracks that one participant may send at once: voice, camera, screen twice, its sound, and as many being replaced.
const MAX_INCOMING: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScreenOn {
    #[serde(rename = "screenStreamID")]
    stream: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VideoOn {
    #[serde(rename = "videoStreamID")]
    stream: String,
}

/// A stream id that a message names; neither empty nor endless.
fn stream_id(parsed: Option<String>) -> Option<String> {
    parsed.filter(|stream| !stream.is_empty() && stream.len() <= super::message::MAX_ID_LEN)
}

pub(super) fn track_type(codec: Codec) -> TrackType {
    match codec {
        Codec::Opus => TrackType::Opus,
        Codec::Vp8 => TrackType::Vp8,
        Codec::Av1 => TrackType::Av1,
    }
}

/// The order of layers: `l` before `m` before `h`; unknown names keep the order of the offer.
fn lowest_first(mut rids: Vec<Rid>) -> Vec<Rid> {
    let rank = |rid: &Rid| ["l", "q", "m", "h", "f"].iter().position(|known| *known == &*rid.0).unwrap_or(usize::MAX);
    rids.sort_by_key(rank);
    rids
}

impl Actor {
    /// Looks at all announced tracks anew: takes, leaves, replaces. Tells the plane and the other participants.
    ///
    /// A track of an unknown stream is negotiated all the same, only that nothing of it passes: its ScreenOn or VideoOn
    /// takes another road than an offer on the data channel and may come a little later.
    pub(super) fn classify(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let screen = self.calls.screen(&session.group, &session.join.call, id).map(str::to_owned);
        let mut welcome: Vec<(TrackKind, Media)> = Vec::new();
        let mut refused = Vec::new();
        let offered: Vec<Media> = session.negotiation.offered_tracks().cloned().collect();
        for (at, media) in offered.into_iter().enumerate() {
            if at >= MAX_INCOMING || media.formats.is_empty() {
                refused.push("a track without a codec of ours, or one too many");
                continue;
            }
            session.negotiation.accept(&media.mid);
            match session.kind_of(&media, screen.as_deref()) {
                Some(kind) => welcome.push((kind, media)),
                None if session.has_ended(&media) => {}
                None => refused.push("a track whose stream nobody announced: it is held back"),
            }
        }
        refused.into_iter().for_each(|why| self.refuse(id, ErrorKind::Track, why));
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut old = std::mem::take(&mut session.incoming);
        let before = old.len();
        let mut kept = 0;
        let mut fresh = Vec::new();
        for (kind, media) in welcome {
            // Other streams number their packets anew: that is another track to its receivers.
            let same_streams = |track: &IncomingTrack| track.media.ssrcs.is_empty() || track.media.ssrcs == media.ssrcs;
            let same = |track: &IncomingTrack| {
                let described = track.kind == kind && track.media.mid == media.mid && track.media.msid == media.msid;
                described && same_streams(track)
            };
            match old.iter().position(same) {
                Some(at) => {
                    kept += 1;
                    let mut track = old.swap_remove(at);
                    track.media = media;
                    session.incoming.push(track);
                }
                None => fresh.push((kind, media)),
            }
        }
        let changed = !fresh.is_empty() || kept != before;
        let workers = self.plane.workers().count();
        for (kind, media) in fresh {
            let track = self.new_track();
            tracing::info!(mid = %media.mid, kind = kind.as_str(), track = track.0, "track announced");
            let receivers = vec![0; workers];
            let Some(session) = self.sessions.get_mut(&id) else { return };
            session.incoming.push(IncomingTrack { id: track, kind, media, started: None, receivers });
        }
        let group = self.sessions[&id].group.clone();
        for track in &old {
            tracing::info!(mid = %track.media.mid, kind = track.kind.as_str(), track = track.id.0, "track ended");
            if let Some(codec) = track.codec() {
                self.metrics.track_ended(&group, Direction::In, track_type(codec));
            }
        }
        // The plane hears of every description: payload types and streams may have changed within a section.
        self.tell_incoming(id);
        if changed {
            self.publish(now, id);
        }
    }

    fn tell_incoming(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let spec = |track: &IncomingTrack| Incoming {
            track: track.id,
            mid: track.media.mid.clone(),
            kind: track.media.kind,
            formats: track.media.formats.iter().map(|format| (format.payload_type, format.codec)).collect(),
            extensions: track.media.extensions,
            ssrcs: track.media.ssrcs.clone(),
            rids: lowest_first(track.media.send_rids.clone()),
            detect_voice: track.kind == TrackKind::Voice,
            open: track.kind != TrackKind::Voice || !session.muted,
        };
        let tracks = session.incoming.iter().map(spec).collect();
        self.send(id, Command::SetIncoming { transport: id, tracks });
    }

    pub(super) fn set_muted(&mut self, id: TransportId, muted: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.muted = muted;
        tracing::debug!(muted, "microphone");
        let voices: Vec<_> =
            session.incoming.iter().filter(|track| track.kind == TrackKind::Voice).map(|track| track.id).collect();
        for track in voices {
            self.send(id, Command::SetGate { transport: id, track, open: !muted });
        }
    }

    pub(super) fn screen_on(&mut self, now: Instant, id: TransportId, data: &[u8]) {
        let Some(stream) = stream_id(super::offers::object::<ScreenOn>(data).map(|on| on.stream)) else {
            return self.refuse(id, ErrorKind::Signaling, "a ScreenOn without a screenStreamID");
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match self.calls.share(&session.group, &session.join.call, id, &stream) {
            Ok(old) => {
                old.filter(|old| *old != stream).into_iter().for_each(|old| session.stream_ended(old));
                session.stream_begun(&stream);
                tracing::info!("screen sharing begun");
                self.classify(now, id);
            }
            Err(error) => self.refuse(id, ErrorKind::Signaling, &error.to_string()),
        }
    }

    pub(super) fn screen_off(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(stream) = self.calls.unshare(&session.group, &session.join.call, id) else { return };
        session.stream_ended(stream);
        tracing::info!("screen sharing ended");
        self.classify(now, id);
    }

    pub(super) fn video_on(&mut self, now: Instant, id: TransportId, data: &[u8]) {
        let Some(stream) = stream_id(super::offers::object::<VideoOn>(data).map(|on| on.stream)) else {
            return self.refuse(id, ErrorKind::Signaling, "a VideoOn without a videoStreamID");
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.stream_begun(&stream);
        session.video_stream = Some(stream);
        tracing::info!("camera on");
        self.classify(now, id);
    }

    pub(super) fn video_off(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(stream) = session.video_stream.take() else { return };
        session.stream_ended(stream);
        tracing::info!("camera off");
        self.classify(now, id);
    }
}
