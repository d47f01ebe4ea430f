//! Candidates: ours, which participants are told, and theirs, from which their checks will come.
use super::Signalling;
use super::session::{Link, Session};
use crate::metrics::ErrorKind;
use crate::signal::message::{RtcType, ServerMessage};
use crate::signal::reading::object;
use rtcd_media::ice::candidate::{PeerPolicy, remember, udp_address};
use rtcd_media::sdp::write::Candidate;
use rtcd_media::sfu::command::{Command, TransportId, WorkerId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

/// So often workers are told of a participant's candidates between two restarts of ICE. Browsers have gathered all in some ten
/// messages.
const MAX_TOLD: u32 = 64;

/// `RTCIceCandidateInit`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CandidateInit<'a> {
    #[serde(default)]
    candidate: Cow<'a, str>,
    #[serde(default)]
    sdp_mid: Option<Cow<'a, str>>,
    #[serde(default, rename = "sdpMLineIndex")]
    sdp_m_line_index: Option<u16>,
    #[serde(default)]
    username_fragment: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct CandidateMessage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    candidate: CandidateInit<'a>,
}

impl Signalling {
    /// Whoever joins, or restarts ICE, is told these host candidates from now on.
    pub(in crate::signal) fn set_candidates(&mut self, candidates: Arc<[Candidate]>) {
        self.host = candidates;
        self.renew_candidates();
    }

    /// And these relayed ones.
    pub(in crate::signal) fn set_relays(&mut self, relays: Arc<[Candidate]>) {
        self.relays = relays;
        self.renew_candidates();
    }

    /// Participants may be at these addresses from now on.
    pub(in crate::signal) fn set_peers(&mut self, peers: PeerPolicy) {
        self.settings.peers = peers;
    }

    /// Who is connected is told what is new, as the path that it has may end; who still looks for a way to us is told all.
    pub(super) fn renew_candidates(&mut self) {
        let all: Arc<[Candidate]> = self.host.iter().chain(self.relays.iter()).copied().collect();
        let before = std::mem::replace(&mut self.settings.candidates, all.clone());
        let is_known =
            |new: &Candidate| before.iter().any(|old| old.protocol == new.protocol && old.address == new.address);
        let new: Arc<[Candidate]> = all.iter().filter(|candidate| !is_known(candidate)).copied().collect();
        let began = |(id, session): (&TransportId, &Session)| match session.link {
            Link::AwaitingOffer => None,
            Link::AwaitingClaim { .. } => Some((*id, all.clone())),
            Link::Claimed(_) => Some((*id, new.clone())),
        };
        let began: Vec<_> = self.sessions.iter().filter_map(|(id, session)| began((id, session))).collect();
        began.into_iter().for_each(|(id, candidates)| self.trickle_these(id, &candidates));
    }

    /// Our candidates are in our descriptions; clients that wait for trickled ones get them, too.
    pub(super) fn trickle(&mut self, id: TransportId) {
        let all = self.settings.candidates.clone();
        self.trickle_these(id, &all);
    }

    fn trickle_these(&mut self, id: TransportId, candidates: &[Candidate]) {
        let Some(session) = self.sessions.get(&id) else { return };
        let ufrag = session.negotiation.local().ufrag.clone();
        let mid = session.negotiation.first_mid().map(ToString::to_string);
        for candidate in candidates {
            let candidate = CandidateInit {
                candidate: candidate.to_string().into(),
                sdp_mid: mid.as_deref().map(Into::into),
                sdp_m_line_index: Some(0),
                username_fragment: Some(ufrag.as_str().into()),
            };
            let json = serde_json::to_vec(&CandidateMessage { kind: "candidate", candidate }).unwrap_or_default();
            let Some(session) = self.sessions.get(&id) else { return };
            let message = ServerMessage::Rtc(session.rtc(RtcType::Ice, json));
            self.deliver(id, message);
        }
    }

    /// A candidate of the participant. We are lite: its checks come to us, and we answer where they come from. But what is
    /// between us may have to be told first: a TURN server, a NAT.
    pub(super) fn handle_candidate(&mut self, id: TransportId, json: &[u8]) {
        match object::<CandidateInit<'_>>(json) {
            Some(init) if init.candidate.is_empty() => {}
            Some(init) if init.candidate.starts_with("candidate:") => {
                let address = udp_address(&init.candidate);
                self.learn_candidates(id, address.into_iter());
            }
            Some(_) => self.refuse(id, ErrorKind::Ice, "an ICE candidate that is none"),
            None => self.refuse(id, ErrorKind::Ice, "an ICE candidate that is not the JSON of one"),
        }
    }

    /// The participant says that it is here. What comes before its first offer waits for that.
    pub(super) fn learn_candidates(&mut self, id: TransportId, candidates: impl Iterator<Item = SocketAddr>) {
        let policy = &self.settings.peers;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let allowed = candidates.filter(|candidate| policy.allows(candidate.ip()));
        let new = allowed.filter(|candidate| remember(&mut session.candidates, *candidate)).count();
        if new > 0 {
            self.tell_candidates(id);
        }
    }

    /// Tells all workers where the participant may be.
    pub(super) fn tell_candidates(&mut self, id: TransportId) {
        let workers = self.workers;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let waits = matches!(session.link, Link::AwaitingOffer) || session.candidates.is_empty();
        let Some(remote) = session.negotiation.remote_credentials().filter(|_| !waits) else { return };
        if session.candidates_told >= MAX_TOLD {
            return;
        }
        session.candidates_told += 1;
        let candidates = session.candidates.clone();
        let opens = WorkerId((id.0 % workers as u64) as u8);
        self.send_to_all(|| Command::Candidates {
            transport: id,
            remote: remote.clone(),
            candidates: candidates.clone(),
            opens,
        });
    }
}
