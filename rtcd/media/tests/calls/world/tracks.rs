//! Who sends what to whom: the part of signalling, done at once.
use super::{IDS, World};
use crate::encoder::Layer;
use crate::participant::{OPUS, VP8, VP8_RTX};
use rtcd_media::codec::Codec;
use rtcd_media::sdp::{MediaKind, Mid, Rid};
use rtcd_media::sfu::allocation::Kind;
use rtcd_media::sfu::command::{Command, Incoming, Outgoing, TrackId, TransportId, WorkerSet};
use rtcd_media::sfu::rewrite::{Numbers, Rtx};

/// A track that somebody sends, as signalling knows it.
pub(super) struct Published {
    pub(super) publisher: TransportId,
    /// Nothing: it is sound.
    shows: Option<Kind>,
    spec: Incoming,
    pub(super) started: bool,
    pub(super) receivers: Vec<TransportId>,
}

impl World {
    /// Somebody shares a screen in these layers, to be received by `to`.
    pub fn share(&mut self, from: usize, layers: &[Layer], to: &[usize]) -> TrackId {
        self.send_pictures(from, layers, to, Kind::Screen)
    }

    /// Somebody turns on a camera.
    pub fn share_camera(&mut self, from: usize, layers: &[Layer], to: &[usize]) -> TrackId {
        self.send_pictures(from, layers, to, Kind::Camera)
    }

    fn send_pictures(&mut self, from: usize, layers: &[Layer], to: &[usize], shows: Kind) -> TrackId {
        let track = TrackId(100 + self.tracks.len() as u64);
        let mid = format!("v{}", track.0);
        self.people[from].add_video(track, &mid, layers, self.now);
        let rids = layers.iter().filter_map(|layer| layer.rid).map(|rid| Rid(rid.into())).collect();
        let spec = Incoming {
            track,
            mid: Mid(mid.into()),
            kind: MediaKind::Video,
            formats: vec![(VP8, Codec::Vp8)],
            extensions: IDS,
            ssrcs: Vec::new(),
            rtx: vec![(VP8_RTX, VP8)],
            rtx_ssrcs: Vec::new(),
            rids,
            nack: true,
            detect_voice: false,
            open: true,
        };
        self.publish(from, Some(shows), spec, to)
    }

    /// Somebody speaks.
    pub fn speak(&mut self, from: usize, to: &[usize]) -> TrackId {
        let track = TrackId(100 + self.tracks.len() as u64);
        let mid = format!("a{}", track.0);
        self.people[from].add_voice(track, &mid, self.now);
        let spec = Incoming {
            track,
            mid: Mid(mid.into()),
            kind: MediaKind::Audio,
            formats: vec![(OPUS, Codec::Opus)],
            extensions: IDS,
            ssrcs: Vec::new(),
            rtx: Vec::new(),
            rtx_ssrcs: Vec::new(),
            rids: Vec::new(),
            nack: false,
            detect_voice: true,
            open: true,
        };
        self.publish(from, None, spec, to)
    }

    fn publish(&mut self, from: usize, shows: Option<Kind>, spec: Incoming, to: &[usize]) -> TrackId {
        let (publisher, track) = (self.people[from].id, spec.track);
        let receivers = to.iter().map(|at| self.people[*at].id).collect();
        self.tracks.insert(track, Published { publisher, shows, spec, started: false, receivers });
        self.announce(publisher);
        track
    }

    pub(super) fn announce(&mut self, publisher: TransportId) {
        let mut tracks: Vec<Incoming> =
            self.tracks.values().filter(|track| track.publisher == publisher).map(|track| track.spec.clone()).collect();
        tracks.sort_by_key(|spec| spec.track);
        self.waiting.retain(|(id, command)| *id != publisher || !matches!(command, Command::SetIncoming { .. }));
        self.command(publisher, Command::SetIncoming { transport: publisher, tracks });
    }

    /// Another receiver of a track.
    pub fn receive(&mut self, at: usize, track: TrackId) {
        let id = self.people[at].id;
        let Some(published) = self.tracks.get_mut(&track) else { return };
        published.receivers.push(id);
        if published.started {
            self.forward(track, id);
        }
    }

    /// One receiver less.
    pub fn stop(&mut self, at: usize, track: TrackId) {
        let transport = self.people[at].id;
        if let Some(published) = self.tracks.get_mut(&track) {
            published.receivers.retain(|id| *id != transport);
        }
        if let Some(ssrc) = self.people[at].forget(track) {
            self.sent.retain(|outgoing| (outgoing.transport, outgoing.ssrc) != (transport, ssrc));
            self.command(transport, Command::RemoveOutgoing { transport, ssrc });
            self.route(track);
        }
    }

    pub(super) fn forward(&mut self, track: TrackId, to: TransportId) {
        if !self.ready.contains(&to) {
            return;
        }
        let published = &self.tracks[&track];
        let (publisher, shows) = (published.publisher, published.shows);
        let Some(from) = self.owners.get(&publisher).copied().filter(|_| self.owners.contains_key(&to)) else { return };
        self.next_ssrc += 2;
        let ssrc = self.next_ssrc;
        let Some(person) = self.people.iter_mut().find(|person| person.id == to) else { return };
        let is_video = shows.is_some();
        let rtx = (is_video && !person.manner.is_simple).then_some(Rtx { payload_type: VP8_RTX, ssrc: ssrc + 1 });
        let numbers = Numbers {
            payload_type: if is_video { VP8 } else { OPUS },
            audio_level_id: if is_video { 0 } else { IDS.audio_level },
            transport_cc_id: if person.manner.is_simple { 0 } else { IDS.transport_cc },
            rtx,
        };
        let str0m_kind = if is_video { str0m::media::MediaKind::Video } else { str0m::media::MediaKind::Audio };
        person.expect(track, str0m_kind, &format!("r{ssrc}"), ssrc, rtx.map(|rtx| rtx.ssrc));
        let outgoing = Outgoing {
            transport: to,
            track,
            publisher: (publisher, from),
            ssrc,
            codec: if is_video { Codec::Vp8 } else { Codec::Opus },
            kind: shows,
            numbers,
            cname: format!("{publisher:?}"),
        };
        self.sent.push(outgoing.clone());
        self.command(to, Command::AddOutgoing(Box::new(outgoing)));
        self.route(track);
    }

    /// Tells the sender's worker which workers have receivers.
    pub(super) fn route(&mut self, track: TrackId) {
        let Published { publisher, receivers, .. } = &self.tracks[&track];
        let (publisher, mut workers) = (*publisher, WorkerSet::default());
        receivers.iter().filter_map(|id| self.owners.get(id)).for_each(|worker| workers.insert(*worker));
        self.command(publisher, Command::Route { track, workers });
    }
}
