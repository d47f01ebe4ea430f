//! One media section of a peer's description: bounded, and only what we speak of it.
use super::{Direction, Format, MAX_RIDS, Media, MediaKind, Mid, Rid, SdpError, extension};
use crate::codec::Codec;
use crate::rtp::{Extension, ExtensionIds, Ssrc};
use rtc_sdp::description::media::MediaDescription;

/// `a=rtcp-fb` values of one format that are looked at; Chromium has five.
const MAX_FEEDBACK: usize = 16;
/// `a=ssrc-group` lines that are looked at.
const MAX_GROUPS: usize = 32;
const MAX_ID: usize = 64;

pub(super) fn media(index: usize, section: &MediaDescription) -> Result<Media, SdpError> {
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
pub(super) fn read_ssrcs<'a>(
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
