//! What a switch does when control tells it to.
use super::forward::{ForwardTrack, Receiver, SentStream};
use super::peer::{Peer, REPORT_INTERVAL, Sending};
use super::{Handoff, Owner, Registration, Sink, Switch};
use crate::ice::Credentials;
use crate::rtp::Ssrc;
use crate::sfu::Layer;
use crate::sfu::command::{Claim, Command, Event, Incoming, Open, Outgoing, TrackId, TransportId, WorkerSet};
use crate::sfu::rewrite::{Numbers, Rewriter};
use crate::transport::{Parameters, Transport};
use std::sync::Arc;
use std::time::Instant;

impl Switch {
    /// Does what control says.
    pub fn handle_command(&mut self, now: Instant, command: Command, sink: &mut impl Sink) {
        match command {
            Command::Open { open, claim } => self.register(open, claim),
            Command::RestartIce { transport, local, remote_ufrag } => self.restart_ice(transport, local, remote_ufrag),
            Command::Candidates { transport, remote, candidates, opens } => {
                if opens == self.config.worker {
                    self.open_way(now, transport, &remote, &candidates);
                }
            }
            Command::Close { transport } => self.close(transport, sink),
            Command::Send { transport, text, data } => self.send_data(now, transport, text, &data),
            Command::SetIncoming { transport, tracks } => self.set_incoming(transport, tracks),
            Command::SetGate { transport, track, open } => self.set_gate(transport, track, open),
            Command::Route { track, workers } => self.route(track, workers, sink),
            Command::AddOutgoing(outgoing) => self.add_outgoing(now, *outgoing, sink),
            Command::Renumber { transport, ssrc, numbers } => self.renumber(transport, ssrc, numbers),
            Command::RemoveOutgoing { transport, ssrc } => self.remove_outgoing(transport, ssrc),
            Command::RetainOutgoing { transport, ssrcs } => self.retain_outgoing(transport, &ssrcs),
        }
    }

    fn register(&mut self, open: Arc<Open>, claim: Arc<Claim>) {
        let ufrag = open.local.ufrag.as_str().into();
        let password = open.local.password.clone();
        self.registrations.insert(ufrag, Registration { open, password, generation: 0, claim });
    }

    /// Makes the peer of a transport that this worker has claimed.
    pub(super) fn adopt(&mut self, now: Instant, open: &Open) -> usize {
        let parameters = Parameters {
            local: open.local.clone(),
            remote_ufrag: open.remote_ufrag.clone(),
            fingerprint: open.fingerprint,
            role: open.role,
        };
        let transport = Transport::new(parameters, now);
        let key = self.peers.insert(Peer::new(open.transport, transport, now));
        self.peers_by_id.insert(open.transport, key);
        self.events.push_back(Event::Claimed { transport: open.transport, worker: self.config.worker });
        key
    }

    pub(super) fn peer_mut(&mut self, transport: TransportId) -> Option<(usize, &mut Peer)> {
        let key = *self.peers_by_id.get(&transport)?;
        Some((key, self.peers.get_mut(key)?))
    }

    fn restart_ice(&mut self, transport: TransportId, local: Credentials, remote_ufrag: String) {
        let of_transport = |known: &&Registration| known.open.transport == transport;
        let newest = self.registrations.values().filter(of_transport).max_by_key(|known| known.generation);
        let Some(newest) = newest else { return };
        let registration = Registration {
            open: newest.open.clone(),
            password: local.password.clone(),
            generation: newest.generation + 1,
            claim: newest.claim.clone(),
        };
        // The one before is honoured until the peer uses the new one; older ones are history.
        let kept = newest.generation;
        self.registrations.retain(|_, known| known.open.transport != transport || known.generation == kept);
        self.registrations.insert(local.ufrag.as_str().into(), registration);
        if let Some((_, peer)) = self.peer_mut(transport) {
            peer.restart_ice(local, remote_ufrag);
        }
    }

    fn close(&mut self, transport: TransportId, sink: &mut impl Sink) {
        if let Some((key, peer)) = self.peer_mut(transport) {
            peer.transport.close();
            // The goodbye goes out and the transport is removed when its end is drained.
            self.touch(key);
        } else {
            self.remove_transport(transport, sink);
        }
    }

    /// Forgets everything of a transport.
    pub(super) fn remove_transport(&mut self, transport: TransportId, sink: &mut impl Sink) {
        self.openings.remove(transport);
        self.registrations.retain(|_, known| known.open.transport != transport);
        let key = self.peers_by_id.remove(&transport);
        let is_owned = |owner: &Owner| match owner {
            Owner::Peer(peer) => Some(*peer) == key,
            Owner::Worker(id, _) => *id == transport,
        };
        for (path, owner) in self.paths.extract_if(|_, owner| is_owned(owner)) {
            self.has_foreign_news |= matches!(owner, Owner::Worker(..));
            sink.path_closed(path);
        }
        let Some((key, peer)) = key.and_then(|key| Some((key, self.peers.try_remove(key)?))) else { return };
        for track in peer.tracks {
            self.end_source(track.forward);
        }
        for (ssrc, forward) in peer.receives {
            self.drop_receiver(forward, key, ssrc);
        }
        if peer.kept.is_some() {
            self.keeping.forget(key);
        }
    }

    fn send_data(&mut self, now: Instant, transport: TransportId, text: bool, data: &[u8]) {
        if let Some((key, peer)) = self.peer_mut(transport) {
            // Whatever hinders the message ends the channel, and with it the session, by an event of its own.
            let _ = peer.transport.send(now, text, data);
            self.touch(key);
        }
    }

    fn set_incoming(&mut self, transport: TransportId, specs: Vec<Incoming>) {
        let Some(key) = self.peers_by_id.get(&transport).copied() else { return };
        let (tracks, tracks_by_id, cache) = (&mut self.tracks, &mut self.tracks_by_id, self.config.nack_buffer);
        let me = self.config.worker;
        let ended = self.peers[key].set_tracks(specs, |id| {
            let place = *tracks_by_id.entry(id).or_insert_with(|| tracks.insert(ForwardTrack::new(id, cache)));
            tracks[place].source = Some(key);
            tracks[place].publisher = Some((transport, me));
            place
        });
        for track in ended {
            self.end_source(track.forward);
        }
    }

    fn end_source(&mut self, forward: usize) {
        if let Some(track) = self.tracks.get_mut(forward) {
            track.source = None;
            self.collect_track(forward);
        }
    }

    fn collect_track(&mut self, forward: usize) {
        if self.tracks.get(forward).is_some_and(ForwardTrack::is_unused) {
            let track = self.tracks.remove(forward);
            self.tracks_by_id.remove(&track.id);
        }
    }

    fn set_gate(&mut self, transport: TransportId, track: TrackId, open: bool) {
        if let Some((_, peer)) = self.peer_mut(transport)
            && peer.set_gate(track, open)
        {
            self.events.push_back(Event::Voice { transport, track, active: false });
        }
    }

    fn route(&mut self, track: TrackId, mut workers: WorkerSet, sink: &mut impl Sink) {
        workers.remove(self.config.worker);
        let Some(place) = self.tracks_by_id.get(&track).copied() else { return };
        self.tracks[place].remote = workers;
        // Newcomers on other workers need the clocks that have been heard so far.
        for (layer, clock) in self.tracks[place].clocks.into_iter().enumerate() {
            let Some(clock) = clock else { continue };
            for worker in workers.iter() {
                sink.hand_over(worker, Handoff::Clock { track, layer: Layer(layer as u8), clock });
            }
        }
    }

    fn add_outgoing(&mut self, now: Instant, outgoing: Outgoing, sink: &mut impl Sink) {
        let Some(key) = self.peers_by_id.get(&outgoing.transport).copied() else { return };
        let place = self.place_of(outgoing.track);
        let Outgoing { ssrc, codec, kind, numbers, .. } = outgoing;
        let (track, peer) = (&mut self.tracks[place], &mut self.peers[key]);
        track.publisher = Some(outgoing.publisher);
        // Control says all again to a worker that goes on after a crash.
        if peer.receives.contains(&(ssrc, place)) {
            return self.renumber(outgoing.transport, ssrc, numbers);
        }
        let mut rewriter = Rewriter::new(ssrc, codec, numbers);
        if peer.kept.is_some() || !peer.used.is_empty() {
            peer.leap_stream(&mut rewriter);
            self.keeping.hold();
        }
        track.add_receiver(Receiver::new(key, rewriter, outgoing.cname, kind));
        peer.receives.push((ssrc, place));
        peer.report_due.get_or_insert(now + REPORT_INTERVAL);
        if kind.is_some() {
            peer.sending.get_or_insert_with(|| Box::new(Sending::new(now)));
            self.decide(now, key, sink);
            self.receiver_lost_picture(now, key, ssrc, sink);
        }
        self.touch(key);
    }

    fn renumber(&mut self, transport: TransportId, ssrc: Ssrc, numbers: Numbers) {
        let Some((key, _)) = self.peer_mut(transport) else { return };
        if let Some(SentStream { receiver, .. }) = self.sent_stream(key, ssrc) {
            receiver.rewriter.renumber(numbers);
        }
    }

    fn remove_outgoing(&mut self, transport: TransportId, ssrc: Ssrc) {
        let Some((key, peer)) = self.peer_mut(transport) else { return };
        let Some(at) = peer.receives.iter().position(|(known, _)| *known == ssrc) else { return };
        let (_, forward) = peer.receives.swap_remove(at);
        self.drop_receiver(forward, key, ssrc);
    }

    fn retain_outgoing(&mut self, transport: TransportId, ssrcs: &[Ssrc]) {
        let Some((_, peer)) = self.peer_mut(transport) else { return };
        let known = peer.receives.iter().map(|(ssrc, _)| *ssrc);
        let ended: Vec<Ssrc> = known.filter(|ssrc| !ssrcs.contains(ssrc)).collect();
        ended.into_iter().for_each(|ssrc| self.remove_outgoing(transport, ssrc));
    }

    fn drop_receiver(&mut self, forward: usize, peer: usize, ssrc: Ssrc) {
        if let Some(track) = self.tracks.get_mut(forward) {
            track.receivers.retain(|receiver| receiver.peer != peer || receiver.rewriter.ssrc() != ssrc);
            self.collect_track(forward);
        }
    }
}
