//! What a worker does when control tells it to.
use super::command::{Command, Event, Incoming, Open, Outgoing, TrackId, TransportId, WorkerSet};
use super::counters::count;
use super::forward::{ForwardTrack, Receiver};
use super::handoff::Handoff;
use super::peer::{Peer, REPORT_INTERVAL};
use super::worker::{Registration, Worker};
use rtcd_media::ice::Credentials;
use rtcd_media::rtp::Ssrc;
use rtcd_media::sfu::Layer;
use rtcd_media::sfu::rewrite::{Numbers, Rewriter};
use rtcd_media::transport::{Parameters, Transport};
use std::sync::Arc;
use std::time::Instant;

impl Worker {
    pub(super) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Open { open, claim } => self.register(open, claim),
            Command::RestartIce { transport, local, remote_ufrag } => self.restart_ice(transport, local, remote_ufrag),
            Command::Close { transport } => self.close(transport),
            Command::Send { transport, text, data } => self.send_data(now, transport, text, &data),
            Command::SetIncoming { transport, tracks } => self.set_incoming(transport, tracks),
            Command::SetGate { transport, track, open } => self.set_gate(transport, track, open),
            Command::Route { track, workers } => self.route(track, workers),
            Command::AddOutgoing(outgoing) => self.add_outgoing(now, *outgoing),
            Command::Renumber { transport, ssrc, numbers } => self.renumber(transport, ssrc, numbers),
            Command::RemoveOutgoing { transport, ssrc } => self.remove_outgoing(transport, ssrc),
            Command::Stop => self.stop(),
        }
    }

    fn register(&mut self, open: Arc<Open>, claim: Arc<super::worker::Claim>) {
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
        let transport = Transport::new(&self.shared.identity, parameters, now);
        let key = self.peers.insert(Peer::new(open.transport, transport, now));
        self.peers_by_id.insert(open.transport, key);
        self.events.push(Event::Claimed { transport: open.transport, worker: self.id });
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

    fn close(&mut self, transport: TransportId) {
        if let Some((key, peer)) = self.peer_mut(transport) {
            peer.transport.close();
            // The goodbye goes out and the transport is removed when its end is drained.
            self.touch(key);
        } else {
            self.remove_transport(transport);
        }
    }

    /// Forgets everything of a transport.
    pub(super) fn remove_transport(&mut self, transport: TransportId) {
        self.registrations.retain(|_, known| known.open.transport != transport);
        let key = self.peers_by_id.remove(&transport);
        let connections: Vec<u32> = self
            .paths
            .iter()
            .filter(|(path, owner)| {
                path.protocol == rtcd_media::demux::Protocol::Tcp && self.owns(owner, transport, key)
            })
            .map(|(path, _)| path.local)
            .collect();
        let mut paths = std::mem::take(&mut self.paths);
        paths.retain(|_, owner| !self.owns(owner, transport, key));
        self.paths = paths;
        connections.into_iter().for_each(|connection| self.drop_connection(connection));
        let Some((key, peer)) = key.and_then(|key| Some((key, self.peers.try_remove(key)?))) else { return };
        for track in peer.tracks {
            self.end_source(track.forward);
        }
        for (ssrc, forward) in peer.receives {
            self.drop_receiver(forward, key, ssrc);
        }
    }

    fn owns(&self, owner: &super::worker::Owner, transport: TransportId, key: Option<usize>) -> bool {
        match owner {
            super::worker::Owner::Peer(peer) => Some(*peer) == key,
            super::worker::Owner::Worker(id, _) => *id == transport,
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
        let (tracks, tracks_by_id, cache) = (&mut self.tracks, &mut self.tracks_by_id, self.shared.nack_buffer);
        let me = self.id;
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
            self.events.push(Event::Voice { transport, track, active: false });
        }
    }

    fn route(&mut self, track: TrackId, mut workers: WorkerSet) {
        workers.remove(self.id);
        let Some(place) = self.tracks_by_id.get(&track).copied() else { return };
        self.tracks[place].remote = workers;
        // Newcomers on other workers need the clocks that have been heard so far.
        for (layer, clock) in self.tracks[place].clocks.into_iter().enumerate() {
            let Some(clock) = clock else { continue };
            for worker in workers.iter() {
                self.hand_over(worker, Handoff::Clock { track, layer: Layer(layer as u8), clock });
            }
        }
    }

    fn add_outgoing(&mut self, now: Instant, outgoing: Outgoing) {
        let Some(key) = self.peers_by_id.get(&outgoing.transport).copied() else { return };
        let (tracks, cache) = (&mut self.tracks, self.shared.nack_buffer);
        let fresh = || tracks.insert(ForwardTrack::new(outgoing.track, cache));
        let place = *self.tracks_by_id.entry(outgoing.track).or_insert_with(fresh);
        let Outgoing { ssrc, codec, numbers, .. } = outgoing;
        let rewriter = Rewriter::new(ssrc, codec, numbers);
        let track = &mut self.tracks[place];
        track.publisher = Some(outgoing.publisher);
        track.writes.get_or_insert(outgoing.writes);
        let needed = track.add_receiver(Receiver { peer: key, rewriter, cname: outgoing.cname }, codec);
        let peer = &mut self.peers[key];
        peer.receives.push((ssrc, place));
        peer.report_due.get_or_insert(now + REPORT_INTERVAL);
        self.touch(key);
        if let Some(layer) = needed {
            self.ask_for_keyframe(now, place, layer);
        }
    }

    fn renumber(&mut self, transport: TransportId, ssrc: Ssrc, numbers: Numbers) {
        let Some((key, peer)) = self.peer_mut(transport) else { return };
        let Some((_, place)) = peer.receives.iter().find(|(known, _)| *known == ssrc).copied() else { return };
        let Some(track) = self.tracks.get_mut(place) else { return };
        let mine = |receiver: &&mut Receiver| receiver.peer == key && receiver.rewriter.ssrc() == ssrc;
        if let Some(receiver) = track.receivers.iter_mut().find(mine) {
            receiver.rewriter.renumber(numbers);
        }
    }

    fn remove_outgoing(&mut self, transport: TransportId, ssrc: Ssrc) {
        let Some((key, peer)) = self.peer_mut(transport) else { return };
        let Some(at) = peer.receives.iter().position(|(known, _)| *known == ssrc) else { return };
        let (_, forward) = peer.receives.swap_remove(at);
        self.drop_receiver(forward, key, ssrc);
    }

    fn drop_receiver(&mut self, forward: usize, peer: usize, ssrc: Ssrc) {
        if let Some(track) = self.tracks.get_mut(forward) {
            track.receivers.retain(|receiver| receiver.peer != peer || receiver.rewriter.ssrc() != ssrc);
            self.collect_track(forward);
        }
    }

    /// Gives another worker something; it is woken at the end of the turn.
    pub(super) fn hand_over(&mut self, worker: super::command::WorkerId, handoff: Handoff) {
        self.ring |= 1 << worker.0;
        let given = self.shared.hand_over(worker, handoff);
        let counters = &self.shared.inbox(self.id).counters;
        count(if given { &counters.handed_over } else { &counters.handover_dropped });
    }
}
