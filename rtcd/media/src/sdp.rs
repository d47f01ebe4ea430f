//! Session descriptions: offers and answers of peers are read with `rtc-sdp`, ours are written by [`mod@write`].
pub mod write;

use crate::codec::Codec;
use crate::dtls::{Fingerprint, Role};
use crate::rtp::{Extension, ExtensionIds, Ssrc};
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;
use std::io::Cursor;

/// The longest description that is looked at (contract, section 2). A section of Chromium's has 5 KiB, so that this is an
/// offer with 200 of them.
pub const MAX_LEN: usize = 1024 * 1024;
/// Media sections in one description.
pub const MAX_MEDIA: usize = 512;
/// RIDs of one section that are looked at: `l`, `h`, and one to spare.
pub const MAX_RIDS: usize = 3;
const MAX_ID: usize = 64;
/// `a=ssrc-group` lines that are looked at.
const MAX_GROUPS: usize = 32;
/// `a=rtcp-fb` values of one format that are looked at; Chromium has five.
const MAX_FEEDBACK: usize = 16;

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
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Mid(pub Box<str>);

impl std::fmt::Display for Mid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a simulcast layer within a media section (`a=rid`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rid(pub Box<str>);

/// What a media section carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// `m=audio`
    Audio,
    /// `m=video`
    Video,
    /// `m=application`: SCTP over DTLS (RFC 8841).
    Application,
}

/// Who sends in a media section, seen from whoever wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// ICE password. An ICE-lite agent sends no checks, so it only serves to notice a restart.
    pub password: String,
    /// The certificate that DTLS must show.
    pub fingerprint: Fingerprint,
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
            let section = read_media(index, section)?;
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

fn fingerprints(parsed: &SessionDescription) -> impl Iterator<Item = &str> {
    let in_media = parsed.media_descriptions.iter().flat_map(|section| &section.attributes);
    let all = parsed.attributes.iter().chain(in_media);
    all.filter(|attribute| attribute.key == "fingerprint").filter_map(|attribute| attribute.value.as_deref())
}

fn read_media(index: usize, section: &MediaDescription) -> Result<Media, SdpError> {
    let kind = match section.media_name.media.as_str() {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        "application" => MediaKind::Application,
        _ => return Err(SdpError::Malformed(format!("section {index} is neither audio, video nor application"))),
    };
    let mid = section.attribute("mid").flatten().filter(|mid| !mid.is_empty() && mid.len() <= MAX_ID);
    let mid = Mid(mid.ok_or(SdpError::Missing("mid"))?.into());
    let direction = [Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
        .into_iter()
        .find(|direction| section.has_attribute(direction.as_str()))
        .unwrap_or(Direction::SendRecv);
    let values = |key: &'static str| {
        let attributes = section.attributes.iter().filter(move |attribute| attribute.key == key);
        attributes.filter_map(|attribute| attribute.value.as_deref())
    };
    let mut formats = if kind == MediaKind::Application { Vec::new() } else { read_formats(kind, section) };
    for feedback in values("rtcp-fb").filter_map(|value| value.strip_prefix("* ")).take(MAX_FEEDBACK) {
        formats.iter_mut().for_each(|format| format.feedback.push(feedback.to_owned()));
    }
    let (extensions, other_extensions) = read_extensions(values("extmap"));
    let (ssrcs, rtx_ssrcs) = read_ssrcs(values("ssrc"), values("ssrc-group"));
    Ok(Media {
        kind,
        mid,
        direction,
        rejected: section.media_name.port.value == 0 && !section.has_attribute("bundle-only"),
        protocol: section.media_name.protos.join("/"),
        other_payload_types: other_payload_types(section, &formats),
        formats,
        extensions,
        other_extensions,
        ssrcs,
        rtx_ssrcs,
        msid: values("msid").next().and_then(read_msid).or_else(|| values("ssrc").find_map(read_ssrc_msid)),
        send_rids: values("rid").filter_map(read_send_rid).take(MAX_RIDS).collect(),
    })
}

fn read_formats(kind: MediaKind, section: &MediaDescription) -> Vec<Format> {
    let codecs = section.codecs();
    let mut formats: Vec<Format> = Vec::new();
    for format in &section.media_name.formats {
        let Some((payload_type, parsed)) =
            format.parse().ok().filter(|pt| *pt < 128).and_then(|pt| Some((pt, codecs.get(&pt)?)))
        else {
            continue;
        };
        let Some(codec) = Codec::from_encoding_name(&parsed.name) else { continue };
        let fits = codec.is_video() == (kind == MediaKind::Video)
            && parsed.clock_rate == codec.clock_rate()
            && !formats.iter().any(|other| other.codec == codec);
        // AV1 beyond the main profile is something that our receivers have not offered.
        let main_profile =
            codec != Codec::Av1 || !parsed.fmtp.contains("profile=") || parsed.fmtp.contains("profile=0");
        if fits && main_profile && parsed.fmtp.len() <= 512 {
            let feedback = parsed.rtcp_feedback.iter().take(MAX_FEEDBACK).cloned().collect();
            formats.push(Format { payload_type, codec, parameters: parsed.fmtp.clone(), feedback, rtx: None });
        }
    }
    for payload_type in
        section.media_name.formats.iter().filter_map(|format| format.parse().ok().filter(|pt| *pt < 128))
    {
        let rtx = codecs.get(&payload_type).filter(|parsed| parsed.name.eq_ignore_ascii_case("rtx"));
        let Some(repaired) = rtx.and_then(|rtx| associated_payload_type(&rtx.fmtp)) else { continue };
        if let Some(format) =
            formats.iter_mut().find(|format| format.payload_type == repaired && format.codec.is_video())
        {
            format.rtx.get_or_insert(payload_type);
        }
    }
    formats
}

/// `apt` of `a=fmtp` (RFC 4588, section 8.6): the payload type that is repaired.
fn associated_payload_type(parameters: &str) -> Option<u8> {
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    parameters.find(|(name, _)| name.eq_ignore_ascii_case("apt"))?.1.parse().ok()
}

fn other_payload_types(section: &MediaDescription, formats: &[Format]) -> Vec<u8> {
    let numbers = section.media_name.formats.iter().filter_map(|format| format.parse().ok().filter(|pt| *pt < 128));
    let mut others: Vec<u8> = Vec::new();
    for number in numbers {
        let ours = |format: &Format| format.payload_type == number || format.rtx == Some(number);
        if !formats.iter().any(ours) && !others.contains(&number) {
            others.push(number);
        }
    }
    others
}

/// Ids of the extensions that we speak, and those of all others; the first meaning of an id counts.
fn read_extensions<'a>(values: impl Iterator<Item = &'a str>) -> (ExtensionIds, Vec<u8>) {
    let mut ids = ExtensionIds::default();
    let mut others: Vec<u8> = Vec::new();
    for value in values {
        let mut words = value.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { continue };
        // The id may carry a direction: "3/recvonly".
        let Some(id) = id.split('/').next().and_then(|id| id.parse().ok()).filter(|id| (1..=255).contains(id)) else {
            continue;
        };
        let id: u16 = id;
        let id = id as u8;
        if others.contains(&id) || Extension::ALL.iter().any(|known| ids.get(*known) == id) {
            continue;
        }
        match extension::meaning(uri) {
            Some(extension) => ids.set(extension, id),
            None => others.push(id),
        }
    }
    (ids, others)
}

/// The declared streams, and those that repair one of them, each with the one that it repairs.
fn read_ssrcs<'a>(
    ssrcs: impl Iterator<Item = &'a str>,
    groups: impl Iterator<Item = &'a str>,
) -> (Vec<Ssrc>, Vec<(Ssrc, Ssrc)>) {
    // "FID primary retransmission": what follows the first is not media.
    let pair = |group: &'a str| {
        let mut members = group.strip_prefix("FID ")?.split_whitespace().map_while(|ssrc| ssrc.parse().ok());
        let primary: Ssrc = members.next()?;
        members.next().filter(|repair| *repair != primary).map(|repair: Ssrc| (repair, primary))
    };
    let pairs: Vec<(Ssrc, Ssrc)> = groups.filter_map(pair).take(MAX_GROUPS).collect();
    let mut declared = Vec::new();
    for ssrc in ssrcs.filter_map(|value| value.split_whitespace().next()?.parse().ok()) {
        let repairs = pairs.iter().any(|(repair, _)| *repair == ssrc);
        if !repairs && !declared.contains(&ssrc) && declared.len() < MAX_RIDS {
            declared.push(ssrc);
        }
    }
    let mut repairs: Vec<(Ssrc, Ssrc)> = Vec::new();
    for (repair, primary) in pairs {
        let known = repairs.iter().any(|(other, repaired)| *other == repair || *repaired == primary);
        if declared.contains(&primary) && !known {
            repairs.push((repair, primary));
        }
    }
    (declared, repairs)
}

fn read_msid(value: &str) -> Option<(String, String)> {
    let mut words = value.split_whitespace();
    let stream = words.next().filter(|stream| stream.len() <= 256)?;
    let track = words.next().filter(|track| track.len() <= 256).unwrap_or_default();
    Some((stream.to_owned(), track.to_owned()))
}

/// `a=ssrc:1 msid:stream track`, as older stacks write it.
fn read_ssrc_msid(value: &str) -> Option<(String, String)> {
    read_msid(value.split_once(" msid:")?.1)
}

fn read_send_rid(value: &str) -> Option<Rid> {
    let mut words = value.split_whitespace();
    let rid = words.next().filter(|rid| rid.len() <= 16 && rid.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    (words.next() == Some("send")).then(|| Rid(rid.into()))
}

#[cfg(test)]
mod tests;
