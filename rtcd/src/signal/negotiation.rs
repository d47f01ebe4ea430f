//! Offers and answers of one session: which sections there are, who sends in them, whose turn it is. Pure: descriptions
//! in, descriptions out; no clock, no socket.
//!
//! A section may carry a track of each side at once: a browser's `addTrack` takes over a section that we made.
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod numbering;
mod section;

pub use error::NegotiationError;
pub use section::Sending;

use numbering::{Abilities, Numbering, RtxSupport};
use serde::{Deserialize, Serialize};

use rtcd_media::dtls::{Fingerprint, Role};
use rtcd_media::footprint::{Footprint, flat};
use rtcd_media::ice::Credentials;
use rtcd_media::rtp::Ssrc;
use rtcd_media::sdp::write::{Candidate, LocalDescription, LocalMedia};
use rtcd_media::sdp::{Description, Media, MediaKind, Mid, Setup};
use rtcd_media::sfu::rewrite::{Numbers, Rtx};
use section::Section;

const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";
/// Whether RTX is negotiated. A sender that has it answers NACKs by RTX alone, so that the plane must read it; and as a peer
/// may send in any section, also in one that we made, it is both directions or none.
const ACCEPT_RTX: bool = true;

/// What has become of a stream of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// The peer has not been told, or has not answered.
    Waiting,
    /// The peer listens, by its latest description.
    Agreed,
    /// The peer does not want it, or stopped its section.
    Refused,
}

/// What the peer's description means for the transport.
#[derive(Debug, PartialEq, Eq)]
pub enum TransportChange {
    /// The first description: open the transport.
    Open {
        /// Our part in DTLS.
        role: Role,
    },
    /// The transport goes on as it is.
    None,
    /// The peer restarts ICE; our own credentials have been renewed.
    Restart,
}

/// The negotiation of one session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Negotiation {
    local: Credentials,
    remote: Option<(String, String)>,
    remote_fingerprint: Option<Fingerprint>,
    role: Role,
    session_id: u64,
    version: u64,
    sections: Vec<Section>,
    /// Streams of ours that the next offer will announce.
    waiting: Vec<(MediaKind, Sending)>,
    /// Our offer waits for its answer.
    pending: bool,
    next_mid: u32,
    rtx: RtxSupport,
    /// Sections, and mids of ours, that both sides know of.
    agreed: (usize, u32),
}

impl Default for Negotiation {
    fn default() -> Self {
        Self::new()
    }
}

impl Negotiation {
    /// A session before its first offer.
    pub fn new() -> Self {
        Self {
            local: Credentials::generate(),
            remote: None,
            remote_fingerprint: None,
            role: Role::Server,
            // RFC 8829, section 5.2.1: 63 random bits.
            session_id: rtcd_media::random_u64() >> 1,
            version: 0,
            sections: Vec::new(),
            waiting: Vec::new(),
            pending: false,
            next_mid: 0,
            rtx: RtxSupport::new(ACCEPT_RTX),
            agreed: (0, 0),
        }
    }

    /// Our ufrag and password; new after an ICE restart of the peer.
    pub fn local(&self) -> &Credentials {
        &self.local
    }

    /// The peer's ufrag, once known.
    pub fn remote_ufrag(&self) -> Option<&str> {
        self.remote.as_ref().map(|(ufrag, _)| ufrag.as_str())
    }

    /// The peer's ICE credentials, once known.
    pub fn remote_credentials(&self) -> Option<Credentials> {
        self.remote.as_ref().map(|(ufrag, password)| Credentials { ufrag: ufrag.clone(), password: password.clone() })
    }

    /// The peer's certificate, once known.
    pub fn remote_fingerprint(&self) -> Option<Fingerprint> {
        self.remote_fingerprint
    }

    /// Whether our offer waits for its answer.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Applies the peer's offer; answer it with [`answer`](Self::answer).
    pub fn apply_offer(&mut self, offer: Description) -> Result<TransportChange, NegotiationError> {
        if self.pending {
            return Err(NegotiationError::Collision);
        }
        self.check_sections(&offer)?;
        let change = self.transport_change(&offer)?;
        // Most participants add one at a time, or none ever.
        self.sections.reserve_exact(offer.media.len().saturating_sub(self.sections.len()));
        for media in offer.media.iter().skip(self.sections.len()) {
            self.sections.push(Section {
                mid: media.mid.clone(),
                kind: media.kind,
                ours: false,
                protocol: media.protocol.clone(),
                remote: None,
                accepted: false,
                sending: None,
                told_sending: false,
                told_rtx: false,
                offered: None,
                invited: false,
            });
        }
        self.take_media(offer.media);
        self.agreed = (self.sections.len(), self.next_mid);
        Ok(change)
    }

    /// Applies the peer's answer to our offer.
    pub fn apply_answer(&mut self, answer: Description) -> Result<TransportChange, NegotiationError> {
        if !self.pending {
            return Err(NegotiationError::UnexpectedAnswer);
        }
        if answer.media.len() < self.sections.len() {
            return Err(NegotiationError::SectionsMissing { missing: self.sections.len() - answer.media.len() });
        }
        self.check_sections(&answer)?;
        let change = self.transport_change(&answer)?;
        self.pending = false;
        let mut media = answer.media;
        media.truncate(self.sections.len());
        self.take_media(media);
        for section in &mut self.sections {
            section.settle_offered();
        }
        self.agreed = (self.sections.len(), self.next_mid);
        Ok(change)
    }

    /// Our offer has got no answer in time: what it announced waits for the next one.
    pub fn give_up_offer(&mut self) {
        self.pending = false;
        let (sections, next_mid) = self.agreed;
        self.next_mid = next_mid;
        let dropped = self.sections.drain(sections..).filter_map(|s| s.sending.map(|sending| (s.kind, sending)));
        self.waiting.extend(dropped);
        for section in &mut self.sections {
            if let Some(ssrc) = section.offered.take()
                && !section.told_sending
                && let Some(sending) = section.sending.take_if(|sending| sending.ssrc == ssrc)
            {
                self.waiting.push((section.kind, sending));
            }
        }
    }

    fn check_sections(&self, description: &Description) -> Result<(), NegotiationError> {
        if description.media.len() < self.sections.len() {
            let missing = self.sections.len() - description.media.len();
            return Err(NegotiationError::SectionsMissing { missing });
        }
        for (index, (section, media)) in self.sections.iter().zip(&description.media).enumerate() {
            // A stopped section may be taken over by another one (RFC 8829, section 5.2.2).
            if section.mid != media.mid && !section.is_rejected() && !media.rejected {
                let (expected, found) = (section.mid.clone(), media.mid.clone());
                return Err(NegotiationError::SectionMismatch { index, expected, found });
            }
            if section.mid == media.mid && section.kind != media.kind {
                return Err(NegotiationError::KindChanged(media.mid.clone()));
            }
        }
        Ok(())
    }

    fn transport_change(&mut self, description: &Description) -> Result<TransportChange, NegotiationError> {
        let remote = (description.ufrag.clone(), description.password.clone());
        match &self.remote {
            None => {
                self.remote = Some(remote);
                self.remote_fingerprint = Some(description.fingerprint);
                self.role = description.setup.our_role();
                Ok(TransportChange::Open { role: self.role })
            }
            Some(_) if self.remote_fingerprint != Some(description.fingerprint) => {
                Err(NegotiationError::FingerprintChanged)
            }
            Some(known) if *known != remote => {
                self.remote = Some(remote);
                self.local = Credentials::generate();
                Ok(TransportChange::Restart)
            }
            Some(_) => Ok(TransportChange::None),
        }
    }

    fn take_media(&mut self, mut media: Vec<Media>) {
        numbering::unambiguous(&mut media);
        for (section, media) in self.sections.iter_mut().zip(media) {
            if section.mid != media.mid {
                // Taken over: nothing of the old section lives on.
                section.mid = media.mid.clone();
                section.kind = media.kind;
                section.ours = false;
                section.sending = None;
                section.told_sending = false;
            }
            if media.rejected {
                section.sending = None;
            }
            self.rtx.learn(&media);
            section.protocol = media.protocol.clone();
            section.remote = Some(media);
            // Until somebody welcomes the track.
            section.accepted = false;
        }
    }

    /// The first section: where candidates of the bundle belong.
    pub fn first_mid(&self) -> Option<&Mid> {
        self.sections.first().map(|section| &section.mid)
    }

    /// Whether the peer has answered with a track that it may send once we have offered anew. Each is invited once.
    pub fn is_held_back(&self) -> bool {
        self.sections.iter().any(|section| section.holds_back() && !section.invited)
    }

    /// The sections in which the peer announces a track, welcome or not.
    pub fn offered_tracks(&self) -> impl Iterator<Item = &Media> {
        let remote = self.sections.iter().filter_map(|section| section.remote.as_ref());
        remote.filter(|media| media.kind != MediaKind::Application && media.direction.sends() && !media.rejected)
    }

    /// Welcomes the peer's track in a section.
    pub fn accept(&mut self, mid: &Mid) {
        if let Some(section) = self.sections.iter_mut().find(|section| section.mid == *mid) {
            section.accepted = true;
        }
    }

    /// The answer to the offer that was applied last.
    pub fn answer(&mut self, fingerprint: Fingerprint, candidates: &[Candidate]) -> String {
        let setup = if self.role == Role::Server { Setup::Passive } else { Setup::Active };
        for section in &mut self.sections {
            section.told_sending = section.is_heard();
        }
        self.describe(setup, fingerprint, candidates, false)
    }

    /// A stream of ours for the next [`offer`](Self::offer).
    pub fn add_sending(&mut self, kind: MediaKind, sending: Sending) {
        self.waiting.push((kind, sending));
    }

    /// Puts a stream of ours into a section: a free one of ours or a new one.
    fn place(&mut self, kind: MediaKind, sending: Sending) {
        // A section that fell silent without the peer's knowledge must be told so first: else no new track is announced.
        // What the peer sends in it is another matter: web clients call all that they receive `sendrecv`.
        let free = |section: &&mut Section| {
            let quiet = section.sending.is_none() && !section.told_sending;
            section.ours && section.kind == kind && quiet && !section.is_rejected()
        };
        if let Some(section) = self.sections.iter_mut().find(free) {
            section.sending = Some(sending);
            return;
        }
        let mid = loop {
            let mid = Mid(format!("s{}", self.next_mid).into());
            self.next_mid += 1;
            if self.sections.iter().all(|section| section.mid != mid) {
                break mid;
            }
        };
        // Few at a time: room for as many again would mostly stay empty.
        self.sections.reserve_exact(1);
        self.sections.push(Section {
            mid,
            kind,
            ours: true,
            protocol: PROTOCOL.into(),
            remote: None,
            accepted: false,
            sending: Some(sending),
            told_sending: false,
            told_rtx: false,
            offered: None,
            invited: false,
        });
    }

    /// Takes a stream of ours out of its section.
    pub fn remove_sending(&mut self, ssrc: Ssrc) {
        self.waiting.retain(|(_, sending)| sending.ssrc != ssrc);
        for section in &mut self.sections {
            section.sending.take_if(|sending| sending.ssrc == ssrc);
        }
    }

    /// The streams of ours that are in sections, for MediaMap.
    pub fn sendings(&self) -> impl Iterator<Item = (&Mid, &Sending)> {
        self.sections.iter().filter_map(|section| section.sending.as_ref().map(|sending| (&section.mid, sending)))
    }

    /// What has become of a stream of ours.
    pub fn agreement(&self, ssrc: Ssrc) -> Agreement {
        if self.waiting.iter().any(|(_, sending)| sending.ssrc == ssrc) {
            return Agreement::Waiting;
        }
        let of = |section: &&Section| section.sending.as_ref().is_some_and(|sending| sending.ssrc == ssrc);
        match self.sections.iter().find(of) {
            Some(section) if section.told_sending => Agreement::Agreed,
            Some(_) => Agreement::Waiting,
            None => Agreement::Refused,
        }
    }

    /// How the peer wants a stream of ours numbered, in the section that it is in; `None` unless it has agreed to it.
    pub fn numbers(&self, ssrc: Ssrc) -> Option<Numbers> {
        let of = |section: &&Section| section.sending.as_ref().is_some_and(|sending| sending.ssrc == ssrc);
        let section = self.sections.iter().find(of)?;
        let (remote, sending) = (section.remote.as_ref()?, section.sending.as_ref()?);
        let format = remote.format(sending.codec)?;
        let rtx = format.rtx.filter(|_| section.told_rtx).zip(sending.rtx_ssrc);
        let transport_cc = format.feedback.iter().any(|feedback| feedback == "transport-cc");
        Some(Numbers {
            payload_type: format.payload_type,
            audio_level_id: remote.extensions.audio_level,
            transport_cc_id: if transport_cc { remote.extensions.transport_cc } else { 0 },
            rtx: rtx.map(|(payload_type, ssrc)| Rtx { payload_type, ssrc }),
        })
    }

    /// Whether a stream of either side has this SSRC in the latest descriptions, or will have it in the next one.
    pub fn is_ssrc_used(&self, ssrc: Ssrc) -> bool {
        let of_ours = |sending: &Sending| sending.ssrc == ssrc || sending.rtx_ssrc == Some(ssrc);
        let of_theirs =
            |media: &Media| media.ssrcs.contains(&ssrc) || media.rtx_ssrcs.iter().any(|(repair, _)| *repair == ssrc);
        let in_section = |section: &Section| {
            section.sending.as_ref().is_some_and(of_ours) || section.remote.as_ref().is_some_and(of_theirs)
        };
        self.waiting.iter().any(|(_, sending)| of_ours(sending)) || self.sections.iter().any(in_section)
    }

    /// An offer of all that we send and receive; waits for its answer from now on.
    pub fn offer(&mut self, av1: bool, fingerprint: Fingerprint, candidates: &[Candidate]) -> String {
        self.pending = true;
        for (kind, sending) in std::mem::take(&mut self.waiting) {
            self.place(kind, sending);
        }
        for section in &mut self.sections {
            section.offered = section.sending.as_ref().map(|sending| sending.ssrc);
            section.invited = section.receives() || section.holds_back();
            if let Some(sending) = section.sending.as_ref().filter(|_| !section.told_sending) {
                section.told_rtx = self.rtx.knows(sending.codec);
            }
        }
        self.describe(Setup::ActPass, fingerprint, candidates, av1)
    }

    fn describe(&mut self, setup: Setup, fingerprint: Fingerprint, candidates: &[Candidate], av1: bool) -> String {
        self.version += 1;
        let offering = setup == Setup::ActPass;
        let peer = Abilities { av1, rtx: self.rtx };
        let mut numbering = Numbering::of(&self.sections);
        let media: Vec<LocalMedia> =
            self.sections.iter().map(|section| numbering.section(section, offering, peer)).collect();
        LocalDescription {
            session_id: self.session_id,
            version: self.version,
            ice: &self.local,
            fingerprint,
            setup,
            candidates,
            media: &media,
        }
        .to_string()
    }
}

impl Footprint for Negotiation {
    fn heap_bytes(&self) -> usize {
        let remote = self.remote.as_ref().map_or(0, |(ufrag, password)| ufrag.heap_bytes() + password.heap_bytes());
        let waiting = self.waiting.iter().map(|(_, sending)| sending.heap_bytes()).sum::<usize>() + flat(&self.waiting);
        self.local.heap_bytes() + remote + waiting + self.sections.heap_bytes()
    }
}

#[cfg(test)]
mod tests;
