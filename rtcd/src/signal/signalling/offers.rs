//! Descriptions and the signalling lock: what is around [`Negotiation`](crate::signal::negotiation::Negotiation).
use super::Signalling;
use super::life::EndReason;
use super::lock::{LockTimeout, Unlock};
use super::output::Sample;
use super::session::{Link, Session};
use crate::metrics::ErrorKind;
use crate::signal::data_channel;
use crate::signal::message::{RtcType, ServerMessage};
use crate::signal::negotiation::{NegotiationError, TransportChange};
use crate::signal::reading::{DescriptionJson, SignalingChannel};
use rtcd_media::sdp::Description;
use rtcd_media::sfu::command::{Claim, Command, Home, Open, TransportId};
use std::sync::Arc;
use std::time::Instant;

impl Signalling {
    pub(super) fn handle_offer(
        &mut self,
        now: Instant,
        id: TransportId,
        mut offer: Description,
        channel: SignalingChannel,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let first = session.offered_at.is_none();
        let candidates = std::mem::take(&mut offer.candidates);
        let change = match session.negotiation.apply_offer(offer) {
            Ok(change) => change,
            Err(error) => return self.description_refused(now, id, &error),
        };
        session.offered_at.get_or_insert(now);
        tracing::debug!(first, over = ?channel, "offer received");
        self.apply_change(now, id, change);
        self.learn_candidates(id, candidates.into_iter());
        self.classify(now, id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let answer = session.negotiation.answer(self.settings.fingerprint, &self.settings.candidates);
        self.send_description(id, "answer", &answer, channel);
        if first {
            self.trickle(id);
        }
        self.activate(id);
    }

    pub(super) fn handle_answer(&mut self, now: Instant, id: TransportId, answer: Description) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.negotiation.apply_answer(answer) {
            Ok(change) => {
                session.needs_offer |= session.negotiation.is_held_back();
                if let Some(held) = session.lock.release(now) {
                    self.outputs.sample(&session.group, Sample::LockHeld(held));
                }
                self.apply_change(now, id, change);
                self.classify(now, id);
                self.activate(id);
                self.offer_if_needed(now, id);
            }
            Err(error) => self.description_refused(now, id, &error),
        }
    }

    fn description_refused(&mut self, now: Instant, id: TransportId, error: &NegotiationError) {
        // Offers that cross are nobody's fault: clients offer behind an unlock. The participant is the polite side, takes
        // its own back when ours arrives, and makes it again.
        if *error == NegotiationError::Collision {
            return tracing::debug!("offer ignored: it crosses ours");
        }
        self.refuse(id, ErrorKind::Signaling, &error.to_string());
        self.give_lock_back(now, id);
        if *error == NegotiationError::FingerprintChanged {
            self.end(now, id, EndReason::Protocol("fingerprint_changed"));
        }
    }

    fn apply_change(&mut self, now: Instant, id: TransportId, change: TransportChange) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let negotiation = &session.negotiation;
        let local = negotiation.local().clone();
        let remote_ufrag = negotiation.remote_ufrag().unwrap_or_default().to_owned();
        match change {
            TransportChange::None => {}
            TransportChange::Open { role } => {
                let Some(fingerprint) = negotiation.remote_fingerprint() else { return };
                let open = Arc::new(Open { transport: id, local, remote_ufrag, fingerprint, role });
                session.link = Link::AwaitingClaim { waiting: Vec::new() };
                let claim = Arc::new(self.home_of(id).map_or_else(Claim::default, Claim::at_home));
                self.schedule(now, id);
                self.send_to_all(|| Command::Open { open: open.clone(), claim: claim.clone() });
                self.tell_candidates(id);
            }
            TransportChange::Restart => {
                tracing::info!("ICE restart");
                self.send_to_all(|| Command::RestartIce {
                    transport: id,
                    local: local.clone(),
                    remote_ufrag: remote_ufrag.clone(),
                });
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.candidates_told = 0;
                }
                self.tell_candidates(id);
                // The peer waits for candidates of the new generation.
                self.trickle(id);
            }
        }
    }

    /// The worker of the others in its call, if that is small.
    fn home_of(&self, id: TransportId) -> Option<Arc<Home>> {
        let Session { group, join, .. } = &**self.sessions.get(&id)?;
        let home = self.calls.home(group, &join.call)?;
        // A call that has come from another process has its members, and no home.
        let members = self.calls.sessions(group, &join.call).unwrap_or_default();
        if let Some(worker) = members.iter().find_map(|id| self.sessions.get(id)?.worker()) {
            home.settle(worker);
        }
        Some(home)
    }

    fn send_description(&mut self, id: TransportId, kind: &str, sdp: &str, channel: SignalingChannel) {
        // Two strings always make JSON.
        let json = serde_json::to_vec(&DescriptionJson { kind: kind.into(), sdp: sdp.into() }).unwrap_or_default();
        let Some(session) = self.sessions.get(&id) else { return };
        // As a rule it is somebody else's doing that there is something to offer.
        session.span.in_scope(|| tracing::debug!(kind, over = ?channel, bytes = json.len(), "description sent"));
        match channel {
            SignalingChannel::DataChannel => self.send_channel(id, data_channel::sdp(&json)),
            SignalingChannel::WebSocket => {
                let Some(session) = self.sessions.get(&id) else { return };
                let message = ServerMessage::Rtc(session.rtc(RtcType::Sdp, json));
                self.deliver(id, message);
            }
        }
    }

    /// Makes an offer when there is something to say and it is our turn; else waits for that.
    pub(super) fn offer_if_needed(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.needs_offer || !session.channel_open || session.negotiation.is_pending() {
            return;
        }
        let Some(waited) = session.lock.grab(now) else {
            self.schedule(now, id);
            return;
        };
        session.needs_offer = false;
        self.outputs.sample(&session.group, Sample::LockGrabbed(waited));
        let av1 = session.join.av1_support;
        let offer = session.negotiation.offer(av1, self.settings.fingerprint, &self.settings.candidates);
        let channel =
            if session.join.dc_signaling { SignalingChannel::DataChannel } else { SignalingChannel::WebSocket };
        let map = self.media_map(id);
        self.send_channel(id, map);
        self.send_description(id, "offer", &offer, channel);
        self.schedule(now, id);
    }

    fn media_map(&self, id: TransportId) -> Vec<u8> {
        let Some(session) = self.sessions.get(&id) else { return data_channel::media_map(std::iter::empty()) };
        let entry = |(mid, sending): (&rtcd_media::sdp::Mid, &crate::signal::negotiation::Sending)| {
            let track = session.outgoing.iter().find(|track| track.ssrc == sending.ssrc)?;
            let publisher = self.sessions.get(&track.publisher)?;
            Some((mid.to_string(), track.kind, publisher.join.session.as_str().to_owned()))
        };
        let entries: Vec<_> = session.negotiation.sendings().filter_map(entry).collect();
        data_channel::media_map(entries.iter().map(|(mid, kind, sender)| (mid.as_str(), *kind, sender.as_str())))
    }

    pub(super) fn lock_requested(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let granted = session.lock.request(now);
        tracing::debug!(granted, "lock requested");
        self.send_channel(id, data_channel::lock_reply(granted));
        self.schedule(now, id);
    }

    pub(super) fn unlocked(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.lock.unlock(now) {
            Unlock::Free { held } => self.outputs.sample(&session.group, Sample::LockHeld(held)),
            Unlock::TakenBack => {}
            Unlock::NotHeld => {
                return self.refuse(id, ErrorKind::Signaling, "an unlock of a lock that it does not hold");
            }
        }
        self.offer_if_needed(now, id);
    }

    pub(super) fn handle_lock_timeouts(&mut self, now: Instant, id: TransportId) {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            let Some(timeout) = session.lock.handle_timeout(now) else { return };
            let group = session.group.clone();
            let span = session.span.clone();
            let _in = span.enter();
            match timeout {
                LockTimeout::Grab => {
                    self.outputs.error(&group, ErrorKind::SignalingLockTimeout);
                    tracing::warn!("signalling lock not free in time: our offer waits on");
                }
                LockTimeout::Peer { held } => {
                    self.outputs.sample(&group, Sample::LockHeld(held));
                    tracing::warn!("signalling lock taken back: the participant held it too long");
                    self.offer_if_needed(now, id);
                }
                LockTimeout::Answer { held } => {
                    self.outputs.error(&group, ErrorKind::SignalingAnswerTimeout);
                    self.outputs.sample(&group, Sample::LockHeld(held));
                    tracing::warn!("no answer to our offer in time: it is made again");
                    session.negotiation.give_up_offer();
                    session.needs_offer = true;
                    self.offer_if_needed(now, id);
                }
            }
        }
    }
}

impl Session {
    /// What the API says of it.
    pub(super) fn info(&self) -> crate::signal::SessionInfo {
        crate::signal::SessionInfo {
            group: self.group.clone(),
            call: self.join.call.clone(),
            user: self.join.user.clone(),
            session: self.join.session.clone(),
            channel_id: self.join.channel_id.clone(),
            av1_support: self.join.av1_support,
            dc_signaling: self.join.dc_signaling,
        }
    }
}
