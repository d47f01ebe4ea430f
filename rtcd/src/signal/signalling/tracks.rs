//! What a participant sends: which of its announced tracks are welcome, as what, and whether they pass.
use super::Signalling;
use super::output::Count;
use super::session::IncomingTrack;
use crate::metrics::{Direction, ErrorKind, TrackType};
use crate::signal::data_channel::TrackKind;
use crate::signal::reading::object;
use rtcd_media::codec::Codec;
use rtcd_media::sdp::{Media, Rid};
use rtcd_media::sfu::command::{Command, Incoming, TransportId};
use serde::Deserialize;
use std::time::Instant;

/// Tracks of one participant that may flow at once: voice, camera, screen twice, its sound, and as many being replaced. It
/// may announce any number: web clients call every picture that they receive `sendrecv`.
const MAX_FLOWING: usize = 8;

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
    parsed.filter(|stream| !stream.is_empty() && stream.len() <= crate::signal::message::MAX_ID_LEN)
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

impl Signalling {
    /// Looks at all announced tracks anew: takes, leaves, replaces. Tells the plane and the other participants.
    ///
    /// A track of an unknown stream is negotiated all the same, only that nothing of it passes: its ScreenOn or VideoOn
    /// takes another road than an offer on the data channel and may come a little later. What is announced and never sent
    /// costs nothing.
    pub(super) fn classify(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let screen = self.calls.screen(&session.group, &session.join.call, id).map(str::to_owned);
        let offered: Vec<Media> =
            session.negotiation.offered_tracks().filter(|media| !media.formats.is_empty()).cloned().collect();
        offered.iter().for_each(|media| session.negotiation.accept(&media.mid));
        let kinds = session.kinds_of(&offered, screen.as_deref());
        let mut old = std::mem::replace(&mut session.incoming, Vec::with_capacity(offered.len()));
        let mut changed = false;
        let workers = self.workers;
        for (media, kind) in offered.into_iter().zip(kinds) {
            // A section whose stream is announced late, or that is not shared any more, stays the track that it is.
            let same = |track: &IncomingTrack| {
                let becomes = track.kind == kind || track.kind.is_none() || kind.is_none();
                track.media.mid == media.mid && becomes
            };
            let track = match old.iter().position(same) {
                Some(at) => {
                    let mut track = old.swap_remove(at);
                    changed |= track.kind != kind;
                    (track.kind, track.media) = (kind, media);
                    track
                }
                None => {
                    let track = self.new_track();
                    changed |= kind.is_some();
                    let kind_name = kind.map_or("unknown", TrackKind::as_str);
                    tracing::debug!(mid = %media.mid, kind = kind_name, track = track.0, "track announced");
                    IncomingTrack::new(track, kind, media, workers)
                }
            };
            if let Some(session) = self.sessions.get_mut(&id) {
                session.incoming.push(track);
            }
        }
        changed |= old.iter().any(|track| track.kind.is_some());
        for mut track in old {
            tracing::debug!(mid = %track.media.mid, track = track.id.0, "track ended");
            track.kind = None;
            self.settle_track(id, &mut track);
        }
        self.settle_tracks(id);
        // The plane hears of every description: payload types and streams may have changed within a section.
        self.tell_incoming(id);
        if changed {
            self.publish(now, id);
        }
    }

    /// After tracks have begun, ended or become something else: what flows is counted, and who has fallen silent with them
    /// is said to have.
    pub(super) fn settle_tracks(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut flowing = 0;
        let mut tracks = std::mem::take(&mut session.incoming);
        let mut refused = 0;
        for track in &mut tracks {
            let flows = track.kind.is_some() && track.started.is_some();
            flowing += usize::from(flows);
            let surplus = flows && flowing > MAX_FLOWING;
            refused += usize::from(surplus && !track.surplus);
            track.surplus = surplus;
            self.settle_track(id, track);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.incoming = tracks;
        }
        (0..refused).for_each(|_| self.refuse(id, ErrorKind::Track, "more tracks at once than a participant may send"));
    }

    fn settle_track(&mut self, id: TransportId, track: &mut IncomingTrack) {
        let Some(session) = self.sessions.get(&id) else { return };
        let codec = track.running().map(|(_, codec)| codec);
        if codec != track.counted {
            if let Some(before) = track.counted {
                self.outputs.count(Count::TrackEnded(session.group.clone(), Direction::In, track_type(before)));
            }
            if let Some(after) = codec {
                self.outputs.count(Count::TrackStarted(session.group.clone(), Direction::In, track_type(after)));
            }
            track.counted = codec;
        }
        if track.speaking && track.kind != Some(TrackKind::Voice) {
            track.speaking = false;
            self.tell_voice(id, false);
        }
    }

    pub(super) fn tell_incoming(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let spec = |track: &IncomingTrack| Incoming {
            track: track.id,
            mid: track.media.mid.clone(),
            kind: track.media.kind,
            formats: track.media.formats.iter().map(|format| (format.payload_type, format.codec)).collect(),
            extensions: track.media.extensions,
            ssrcs: track.media.ssrcs.clone(),
            rtx: track.media.formats.iter().filter_map(|format| Some((format.rtx?, format.payload_type))).collect(),
            rtx_ssrcs: track.media.rtx_ssrcs.clone(),
            rids: lowest_first(track.media.send_rids.clone()),
            nack: track.media.formats.iter().any(|format| format.feedback.iter().any(|feedback| feedback == "nack")),
            detect_voice: track.kind == Some(TrackKind::Voice),
            open: track.kind.is_some_and(|kind| kind != TrackKind::Voice || !session.muted),
        };
        // What flows comes first: the plane looks for it with every packet.
        let (known, unknown): (Vec<_>, Vec<_>) = session.incoming.iter().partition(|track| track.kind.is_some());
        let tracks = known.into_iter().chain(unknown).map(spec).collect();
        self.send(id, Command::SetIncoming { transport: id, tracks });
    }

    pub(super) fn set_muted(&mut self, id: TransportId, muted: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.muted = muted;
        tracing::debug!(muted, "microphone");
        let voices: Vec<_> = session
            .incoming
            .iter()
            .filter(|track| track.kind == Some(TrackKind::Voice))
            .map(|track| track.id)
            .collect();
        for track in voices {
            self.send(id, Command::SetGate { transport: id, track, open: !muted });
        }
    }

    pub(super) fn screen_on(&mut self, now: Instant, id: TransportId, data: &[u8]) {
        let Some(stream) = stream_id(object::<ScreenOn>(data).map(|on| on.stream)) else {
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
        let Some(stream) = stream_id(object::<VideoOn>(data).map(|on| on.stream)) else {
            return self.refuse(id, ErrorKind::Signaling, "a VideoOn without a videoStreamID");
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.video_stream = Some(stream);
        tracing::info!("camera on");
        self.classify(now, id);
    }

    /// A paused camera keeps its section, and whatever it still sends passes: it is on again by VideoOn alone.
    pub(super) fn video_off(&mut self, _id: TransportId) {
        tracing::info!("camera off");
    }
}
