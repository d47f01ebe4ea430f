//! Session descriptions: offers and answers of peers are read with `rtc-sdp`, ours are written by [`mod@write`].
mod read;
pub mod write;

use crate::codec::Codec;
use crate::dtls::{Fingerprint, Role};
use crate::footprint::{Footprint, flat};
use crate::ice::candidate;
use crate::rtp::{ExtensionIds, Ssrc};
use rtc_sdp::description::session::SessionDescription;
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::net::SocketAddr;

/// The longest description that is looked at (contract, section 2). A section of Chromium's has 5 KiB, so that this is an
/// offer with 200 of them.
pub const MAX_LEN: usize = 1024 * 1024;
/// Media sections in one description.
pub const MAX_MEDIA: usize = 512;
/// RIDs of one section that are looked at: `l`, `h`, and one to spare.
pub const MAX_RIDS: usize = 3;

/// URIs of the header extensions that we speak (contract, section 5).
pub mod extension {
    #![allow(missing_docs, reason = "the URIs say it")]
    pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    pub const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
    pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    pub const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

    use crate::rtp::Extension;

    pub const fn uri(extension: Extension) -> &'static str {
        match extension {
            Extension::Mid => MID,
            Extension::Rid => RID,
            Extension::RepairedRid => REPAIRED_RID,
            Extension::AudioLevel => AUDIO_LEVEL,
            Extension::TransportCc => TRANSPORT_CC,
        }
    }

    pub(super) fn meaning(of: &str) -> Option<Extension> {
        Extension::ALL.into_iter().find(|extension| uri(*extension) == of)
    }
}

/// Identifies a media section within a session (`a=mid`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mid(pub Box<str>);

impl std::fmt::Display for Mid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a simulcast layer within a media section (`a=rid`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Rid(pub Box<str>);

/// What a media section carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum MediaKind {
    /// `m=audio`
    Audio,
    /// `m=video`
    Video,
    /// `m=application`: SCTP over DTLS (RFC 8841).
    Application,
}

/// Who sends in a media section, seen from whoever wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the attributes' names")]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    /// The name of the attribute, without `a=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
    /// Whether whoever wrote it sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

/// `a=setup` (RFC 8842): who of the two sends the ClientHello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the attributes' values")]
pub enum Setup {
    ActPass,
    Active,
    Passive,
}

impl Setup {
    /// Our role when the peer's description says this. Free to choose we are the server: then the order of SRTP profiles
    /// is ours, GCM first.
    pub fn our_role(self) -> Role {
        match self {
            Self::ActPass | Self::Active => Role::Server,
            Self::Passive => Role::Client,
        }
    }
}

/// A payload type of a codec that we forward.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Format {
    /// 0..=127.
    pub payload_type: u8,
    /// The codec by `a=rtpmap`, its clock rate checked.
    pub codec: Codec,
    /// `a=fmtp`, possibly empty.
    pub parameters: String,
    /// `a=rtcp-fb` values.
    pub feedback: Vec<String>,
    /// The payload type of its retransmissions (RFC 4588): the one whose `a=fmtp` has this one as `apt`.
    pub rtx: Option<u8>,
}

/// A media section of a peer's description.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Media {
    /// Sound, pictures or data.
    pub kind: MediaKind,
    /// `a=mid`, unique in the description.
    pub mid: Mid,
    /// Seen from the peer.
    pub direction: Direction,
    /// Port 0 outside of a bundle: refused or stopped.
    pub rejected: bool,
    /// `UDP/TLS/RTP/SAVPF` and the like, echoed in answers.
    pub protocol: String,
    /// What of it we forward, one format per codec, in the peer's order.
    pub formats: Vec<Format>,
    /// Payload types of everything else in the section: they cannot mean anything of ours.
    pub other_payload_types: Vec<u8>,
    /// Ids of the extensions that we speak.
    pub extensions: ExtensionIds,
    /// Ids of all other extensions.
    pub other_extensions: Vec<u8>,
    /// Declared streams, without those that repair others; at most [`MAX_RIDS`].
    pub ssrcs: Vec<Ssrc>,
    /// Declared streams of retransmissions, each with the one of `ssrcs` that it repairs (`a=ssrc-group:FID`, RFC 5576,
    /// section 4.3).
    pub rtx_ssrcs: Vec<(Ssrc, Ssrc)>,
    /// Stream id and track id of `a=msid`.
    pub msid: Option<(String, String)>,
    /// Layers that the peer sends, in its order.
    pub send_rids: Vec<Rid>,
}

impl Media {
    /// What the peer calls a codec in this section.
    pub fn format(&self, codec: Codec) -> Option<&Format> {
        self.formats.iter().find(|format| format.codec == codec)
    }
}

/// A peer's description, as far as an SFU needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// `a=ice-ufrag`, at most 256 bytes.
    pub ufrag: String,
    /// ICE password: of checks that open the way to the peer, and to notice a restart.
    pub password: String,
    /// The certificate that DTLS must show.
    pub fingerprint: Fingerprint,
    /// Addresses of UDP candidates, at most [`MAX_CANDIDATES`](crate::ice::candidate::MAX_CANDIDATES).
    pub candidates: Vec<SocketAddr>,
    /// `a=setup`: which side begins DTLS.
    pub setup: Setup,
    /// In the order of the description, which all later ones must keep.
    pub media: Vec<Media>,
}

/// Why a description cannot be used: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_LEN`] or with more than [`MAX_MEDIA`] sections.
    #[error("the description is too long")]
    TooLong,
    /// What the parser says; or a section of an unknown kind.
    #[error("the description cannot be read: {0}")]
    Malformed(String),
    /// Something is missing without which there is no transport.
    #[error("the description has no {0}")]
    Missing(&'static str),
    /// Two sections with the same name.
    #[error("mid {0} is used twice")]
    DuplicateMid(Mid),
}

impl Description {
    /// Reads an offer or an answer.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_LEN {
            return Err(SdpError::TooLong);
        }
        let parsed = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|error| SdpError::Malformed(error.to_string()))?;
        let sections = &parsed.media_descriptions;
        if sections.len() > MAX_MEDIA {
            return Err(SdpError::TooLong);
        }
        // Transport attributes may stand at the top or, bundled, in the first section.
        let find = |key: &str| {
            let in_media = sections.iter().find_map(|section| section.attribute(key).flatten());
            in_media.or_else(|| parsed.attribute(key).map(String::as_str)).filter(|value| !value.is_empty())
        };
        let bounded = |key: &'static str| {
            find(key).filter(|value| value.len() <= 256).map(str::to_owned).ok_or(SdpError::Missing(key))
        };
        let fingerprint = fingerprints(&parsed).find_map(Fingerprint::parse);
        let setup = match find("setup") {
            Some("active") => Setup::Active,
            Some("passive") => Setup::Passive,
            _ => Setup::ActPass,
        };
        let mut media: Vec<Media> = Vec::with_capacity(sections.len());
        for (index, section) in sections.iter().enumerate() {
            let section = read::media(index, section)?;
            if media.iter().any(|other| other.mid == section.mid) {
                return Err(SdpError::DuplicateMid(section.mid));
            }
            media.push(section);
        }
        if media.is_empty() {
            return Err(SdpError::Missing("media"));
        }
        Ok(Self {
            ufrag: bounded("ice-ufrag")?,
            password: bounded("ice-pwd")?,
            candidates: candidates(&parsed),
            fingerprint: fingerprint.ok_or(SdpError::Missing("sha-256 fingerprint"))?,
            setup,
            media,
        })
    }

    /// The section of that name.
    pub fn section(&self, mid: &Mid) -> Option<&Media> {
        self.media.iter().find(|media| media.mid == *mid)
    }
}

fn candidates(parsed: &SessionDescription) -> Vec<SocketAddr> {
    let all = parsed.media_descriptions.iter().flat_map(|section| &section.attributes);
    let all = all.filter(|attribute| attribute.key == "candidate").filter_map(|attribute| attribute.value.as_deref());
    let mut known = Vec::new();
    // Sections of a bundle repeat them.
    for address in all.filter_map(|value| candidate::udp_address(&format!("candidate:{value}"))) {
        if known.len() < candidate::MAX_CANDIDATES && !known.contains(&address) {
            known.push(address);
        }
    }
    known
}

fn fingerprints(parsed: &SessionDescription) -> impl Iterator<Item = &str> {
    let in_media = parsed.media_descriptions.iter().flat_map(|section| &section.attributes);
    let all = parsed.attributes.iter().chain(in_media);
    all.filter(|attribute| attribute.key == "fingerprint").filter_map(|attribute| attribute.value.as_deref())
}

impl Footprint for Mid {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl Footprint for Rid {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl Footprint for Format {
    fn heap_bytes(&self) -> usize {
        self.parameters.heap_bytes() + self.feedback.heap_bytes()
    }
}

impl Footprint for Media {
    fn heap_bytes(&self) -> usize {
        let texts = self.mid.heap_bytes() + self.protocol.heap_bytes() + self.send_rids.heap_bytes();
        let names = self.msid.as_ref().map_or(0, |(stream, track)| stream.heap_bytes() + track.heap_bytes());
        let numbers = flat(&self.other_payload_types) + flat(&self.other_extensions);
        texts + names + numbers + self.formats.heap_bytes() + flat(&self.ssrcs) + flat(&self.rtx_ssrcs)
    }
}

#[cfg(test)]
mod tests;
