//! Who receives what. What each participant should receive is computed anew after every change and compared with what
//! it does receive; only the difference is acted upon.
use super::Signalling;
use super::output::{Count, Output};
use super::session::{AV1_PATIENCE, IncomingTrack, OutgoingTrack, Sent, Session};
use super::tracks::track_type;
use crate::metrics::Direction;
use crate::signal::data_channel::TrackKind;
use crate::signal::message::{RtcType, ServerMessage};
use crate::signal::negotiation::{Agreement, Sending};
use rtcd_media::codec::Codec;
use rtcd_media::rtp::Ssrc;
use rtcd_media::sdp::MediaKind;
use rtcd_media::sfu::allocation::Kind;
use rtcd_media::sfu::command::{Command, Outgoing, TrackId, TransportId, WorkerId, WorkerSet};
use rtcd_media::sfu::rewrite::Numbers;
use std::time::Instant;

/// The tracks of `publisher` that `receiver` should get.
fn wanted(publisher: &Session, receiver: &Session) -> Vec<(TrackId, TrackKind, Codec)> {
    let running = |track: &IncomingTrack| track.running().map(|(kind, codec)| (track.id, kind, codec));
    let mut wanted: Vec<_> =
        publisher.incoming.iter().filter_map(running).filter(|(_, kind, _)| !kind.is_video()).collect();
    for kind in [TrackKind::Screen, TrackKind::Video] {
        let of_kind = || publisher.incoming.iter().filter(move |track| track.kind == Some(kind));
        let with = |codec| of_kind().rev().filter_map(running).find(|(_, _, known)| *known == codec);
        let av1 = publisher.join.av1_support && receiver.join.av1_support;
        let chosen = match with(Codec::Av1).filter(|_| av1) {
            Some(track) => Some(track),
            None if av1 && publisher.av1_deadline.is_some() && of_kind().any(awaits_av1) => None,
            None => with(Codec::Vp8),
        };
        wanted.extend(chosen);
    }
    wanted
}

fn awaits_av1(track: &IncomingTrack) -> bool {
    track.announces_av1() && track.started.is_none()
}

impl Signalling {
    /// The first packet of a track has come, or the first one of another codec: others may have it.
    pub(super) fn track_started(&mut self, now: Instant, id: TransportId, track: TrackId, codec: Codec) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(started) = session.incoming.iter_mut().find(|known| known.id == track) else { return };
        if started.started.replace(codec) == Some(codec) {
            return;
        }
        let kind = started.kind;
        session.span.in_scope(|| {
            let kind = kind.map_or("unknown: held back until its stream is announced", TrackKind::as_str);
            tracing::info!(track = track.0, kind, codec = codec.mime_type(), "track started");
        });
        let awaiting = |track: &IncomingTrack| kind.is_some() && track.kind == kind && awaits_av1(track);
        session.av1_deadline = session.incoming.iter().any(awaiting).then(|| now + AV1_PATIENCE);
        self.settle_tracks(id);
        self.schedule(now, id);
        self.publish(now, id);
    }

    /// Voice has begun or ended: told to the client.
    pub(super) fn voice(&mut self, id: TransportId, track: TrackId, active: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let voice = |known: &&mut IncomingTrack| known.id == track && known.kind == Some(TrackKind::Voice);
        let Some(track) = session.incoming.iter_mut().find(voice) else { return };
        if std::mem::replace(&mut track.speaking, active) != active {
            self.tell_voice(id, active);
        }
    }

    pub(super) fn tell_voice(&mut self, id: TransportId, active: bool) {
        let Some(session) = self.sessions.get(&id) else { return };
        let kind = if active { RtcType::VoiceOn } else { RtcType::VoiceOff };
        let message = ServerMessage::Vad(session.rtc(kind, Vec::new()));
        self.deliver(id, message);
    }

    /// What a participant sends has changed: all others are looked at.
    pub(super) fn publish(&mut self, now: Instant, publisher: TransportId) {
        let Some(session) = self.sessions.get(&publisher) else { return };
        for receiver in self.calls.others(&session.group, &session.join.call, publisher) {
            self.reconcile(receiver, publisher);
            self.offer_if_needed(now, receiver);
        }
    }

    /// A participant can receive now: all that runs in its call is offered to it.
    pub(super) fn subscribe(&mut self, now: Instant, receiver: TransportId) {
        let Some(session) = self.sessions.get(&receiver) else { return };
        for publisher in self.calls.others(&session.group, &session.join.call, receiver) {
            self.reconcile(receiver, publisher);
        }
        self.offer_if_needed(now, receiver);
    }

    /// A participant is about to go: nobody receives from it any more, and it receives nothing.
    pub(super) fn withdraw(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let group = session.group.clone();
        let others = self.calls.others(&group, &session.join.call, id);
        session.incoming.iter_mut().for_each(|track| track.kind = None);
        self.settle_tracks(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.incoming.clear();
        }
        while let Some(ssrc) = self.sessions.get(&id).and_then(|session| session.outgoing.first()).map(|t| t.ssrc) {
            self.remove_outgoing(id, ssrc);
        }
        for receiver in others {
            self.reconcile(receiver, id);
            self.offer_if_needed(now, receiver);
        }
    }

    /// Brings what `receiver` gets from `publisher` to what it should get.
    fn reconcile(&mut self, receiver: TransportId, publisher: TransportId) {
        let (Some(to), Some(from)) = (self.sessions.get(&receiver), self.sessions.get(&publisher)) else { return };
        let wanted = if to.channel_open { wanted(from, to) } else { Vec::new() };
        let sender = from.join.session.clone();
        let of_publisher = to.outgoing.iter().filter(|track| track.publisher == publisher);
        let superfluous: Vec<Ssrc> = of_publisher
            .filter(|track| !wanted.iter().any(|(id, _, codec)| track.track == *id && track.codec == *codec))
            .map(|track| track.ssrc)
            .collect();
        for ssrc in superfluous {
            self.remove_outgoing(receiver, ssrc);
        }
        let Some(to) = self.sessions.get_mut(&receiver) else { return };
        for (track, kind, codec) in wanted {
            if to.outgoing.iter().any(|known| known.track == track) {
                continue;
            }
            let ssrc = to.unused_ssrc(None);
            let sending = Sending {
                ssrc,
                rtx_ssrc: kind.is_video().then(|| to.unused_ssrc(Some(ssrc))),
                codec,
                stream_id: sender.as_str().into(),
                track_id: format!("{}_{sender}_{}", kind.as_str(), rtcd_media::alphanumeric(8)),
            };
            to.negotiation.add_sending(if kind.is_video() { MediaKind::Video } else { MediaKind::Audio }, sending);
            let numbers = Numbers::default();
            to.outgoing.push(OutgoingTrack { track, publisher, kind, codec, ssrc, sent: Sent::Announcing, numbers });
            to.needs_offer = true;
        }
    }

    pub(super) fn remove_outgoing(&mut self, receiver: TransportId, ssrc: Ssrc) {
        let Some(session) = self.sessions.get_mut(&receiver) else { return };
        let Some(at) = session.outgoing.iter().position(|track| track.ssrc == ssrc) else { return };
        let track = session.outgoing.swap_remove(at);
        session.negotiation.remove_sending(ssrc);
        // The end of sound needs no offer: its section is told so when there is something else to say.
        session.needs_offer |= track.kind.is_video() && track.sent != Sent::Refused;
        if track.sent == Sent::Flowing {
            let (group, worker) = (session.group.clone(), session.worker());
            self.outputs.count(Count::TrackEnded(group, Direction::Out, track_type(track.codec)));
            self.send(receiver, Command::RemoveOutgoing { transport: receiver, ssrc });
            if let Some(worker) = worker {
                self.route(track.publisher, track.track, worker, false);
            }
        }
    }

    /// After a description: what the participant has agreed to flows.
    pub(super) fn activate(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(worker) = session.worker() else { return };
        let mut begin = Vec::new();
        let mut stopped = Vec::new();
        let mut renumbered = Vec::new();
        for (at, track) in session.outgoing.iter_mut().enumerate() {
            match (session.negotiation.agreement(track.ssrc), track.sent) {
                (Agreement::Agreed, Sent::Announcing) => begin.push(at),
                (Agreement::Agreed, Sent::Flowing) => {
                    let numbers = session.negotiation.numbers(track.ssrc).filter(|numbers| *numbers != track.numbers);
                    if let Some(numbers) = numbers {
                        track.numbers = numbers;
                        renumbered.push((track.ssrc, numbers));
                    }
                }
                (Agreement::Refused, Sent::Flowing) => stopped.push(track.ssrc),
                (Agreement::Refused, Sent::Announcing) => track.sent = Sent::Refused,
                _ => {}
            }
        }
        for (ssrc, numbers) in renumbered {
            self.send(id, Command::Renumber { transport: id, ssrc, numbers });
        }
        for at in begin {
            self.begin(id, worker, at);
        }
        for ssrc in stopped {
            tracing::info!("track stopped by its receiver");
            self.stop_flow(id, ssrc);
        }
    }

    /// What a worker is told of a track that goes to a participant; `None` while there is nothing to say.
    pub(super) fn outgoing(&self, id: TransportId, at: usize) -> Option<Outgoing> {
        let session = self.sessions.get(&id)?;
        let track = session.outgoing.get(at)?;
        let publisher = self.sessions.get(&track.publisher)?;
        Some(Outgoing {
            transport: id,
            track: track.track,
            publisher: (track.publisher, publisher.worker()?),
            ssrc: track.ssrc,
            codec: track.codec,
            kind: match track.kind {
                TrackKind::Screen => Some(Kind::Screen),
                TrackKind::Video => Some(Kind::Camera),
                TrackKind::Voice | TrackKind::ScreenAudio => None,
            },
            numbers: session.negotiation.numbers(track.ssrc)?,
            cname: publisher.join.session.as_str().into(),
        })
    }

    fn begin(&mut self, id: TransportId, worker: WorkerId, at: usize) {
        let Some(outgoing) = self.outgoing(id, at) else { return };
        let (publisher, track, numbers) = (outgoing.publisher.0, outgoing.track, outgoing.numbers);
        let session = &self.sessions[&id];
        let (group, kind) = (session.group.clone(), session.outgoing[at].kind.media_type());
        self.outputs.count(Count::TrackStarted(group.clone(), Direction::Out, track_type(outgoing.codec)));
        self.outputs.push(Output::Measure { worker, track, group, kind });
        // First the receiver, then the road to it: the first packet finds it there.
        self.send(id, Command::AddOutgoing(Box::new(outgoing)));
        self.route(publisher, track, worker, true);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.outgoing[at].sent = Sent::Flowing;
            session.outgoing[at].numbers = numbers;
        }
    }

    fn stop_flow(&mut self, id: TransportId, ssrc: Ssrc) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let worker = session.worker();
        let group = session.group.clone();
        let Some(track) = session.outgoing.iter_mut().find(|track| track.ssrc == ssrc) else { return };
        track.sent = Sent::Refused;
        let (publisher, track, codec) = (track.publisher, track.track, track.codec);
        self.outputs.count(Count::TrackEnded(group, Direction::Out, track_type(codec)));
        self.send(id, Command::RemoveOutgoing { transport: id, ssrc });
        if let Some(worker) = worker {
            self.route(publisher, track, worker, false);
        }
    }

    /// One receiver more or less on a worker; the publisher's worker hears of the first and of the last.
    pub(super) fn route(&mut self, publisher: TransportId, track: TrackId, worker: WorkerId, more: bool) {
        let Some(session) = self.sessions.get_mut(&publisher) else { return };
        let Some(source) = session.incoming.iter_mut().find(|known| known.id == track) else { return };
        let Some(count) = source.receivers.get_mut(usize::from(worker.0)) else { return };
        let before = *count;
        *count = if more { before + 1 } else { before.saturating_sub(1) };
        if (before == 0) != (*count == 0) {
            let route = source.route();
            self.send(publisher, route);
        }
    }

    /// Says again which workers have receivers of what a participant sends.
    pub(super) fn tell_routes(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let routes: Vec<Command> = session.incoming.iter().map(IncomingTrack::route).collect();
        routes.into_iter().for_each(|route| self.send(id, route));
    }
}

impl IncomingTrack {
    fn route(&self) -> Command {
        let mut workers = WorkerSet::default();
        let with = self.receivers.iter().enumerate().filter(|(_, count)| **count > 0);
        with.for_each(|(at, _)| workers.insert(WorkerId(at as u8)));
        Command::Route { track: self.id, workers }
    }
}

impl Session {
    /// An SSRC that no stream of the session has, nor a stream that is being made (RFC 3550, section 8).
    fn unused_ssrc(&self, other: Option<Ssrc>) -> Ssrc {
        loop {
            let ssrc = rtcd_media::random_u32();
            // A stream that was refused is in no section any more.
            let known = self.outgoing.iter().any(|track| track.ssrc == ssrc) || self.negotiation.is_ssrc_used(ssrc);
            if ssrc != 0 && Some(ssrc) != other && !known {
                return ssrc;
            }
        }
    }
}
