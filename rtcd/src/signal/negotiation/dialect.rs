//! How a peer numbers codecs and header extensions, and our sections in those numbers.
use super::section::{Section, may_hear};
use rtcd_media::rtp::ExtensionIds;
use rtcd_media::sdp::write::{LocalFormat, LocalMedia, LocalStream};
use rtcd_media::sdp::{Format, Media, MediaKind, extension};
use rtcd_media::sfu::codec::Codec;

/// Feedback that we understand (contract, section 5).
const VIDEO_FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];
const AUDIO_FEEDBACK: [&str; 1] = ["transport-cc"];
/// Payload types and extension ids of browsers, used until the peer has named its own.
const DEFAULT_FORMATS: [(Codec, u8); 3] = [(Codec::Opus, 111), (Codec::Vp8, 96), (Codec::Av1, 45)];
const DEFAULT_EXTENSIONS: ExtensionIds =
    ExtensionIds { mid: 4, rid: 10, repaired_rid: 11, audio_level: 1, transport_cc: 3 };

/// Payload types and extension ids as the peer gives them.
#[derive(Debug)]
pub struct Dialect {
    formats: Vec<(Codec, u8)>,
    extensions: ExtensionIds,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { formats: DEFAULT_FORMATS.to_vec(), extensions: DEFAULT_EXTENSIONS }
    }
}

impl Dialect {
    /// Takes over the numbers of a section.
    pub(super) fn learn(&mut self, media: &Media) {
        for format in &media.formats {
            if let Some(known) = self.formats.iter_mut().find(|(codec, _)| *codec == format.codec) {
                known.1 = format.payload_type;
            }
        }
        learn(&mut self.extensions, media.extensions);
    }

    /// The peer's payload type of a codec.
    pub fn payload_type(&self, codec: Codec) -> u8 {
        self.formats.iter().find(|(known, _)| *known == codec).map_or(0, |(_, payload_type)| *payload_type)
    }

    /// The peer's id of the audio level extension.
    pub fn audio_level_id(&self) -> u8 {
        self.extensions.audio_level
    }

    /// A section as we describe it; `av1`: the peer can receive AV1.
    pub(super) fn section(&self, section: &Section, offering: bool, av1: bool) -> LocalMedia {
        let may_send = offering || section.remote.as_ref().is_some_and(may_hear);
        let direction = section.direction(may_send);
        let remote = section.remote.as_ref();
        let from_remote = |remote: &Media| -> Vec<LocalFormat> { remote.formats.iter().map(accept_format).collect() };
        let formats = match (remote, offering) {
            // In an offer the codec that we send comes first, and must be there.
            (_, true) if section.sending.is_some() || remote.is_none() => self.own_formats(section, av1),
            (Some(remote), _) => from_remote(remote),
            (None, _) => self.own_formats(section, av1),
        };
        let unusable = section.kind != MediaKind::Application && formats.is_empty();
        let ids = remote.filter(|_| !offering || section.sending.is_none()).map_or(self.extensions, |r| r.extensions);
        let receive_rids = match remote {
            Some(remote) if section.receives() => remote.send_rids.clone(),
            _ => Vec::new(),
        };
        let stream = section.sending.as_ref().filter(|_| direction.sends()).map(|sending| LocalStream {
            ssrc: sending.ssrc,
            stream_id: sending.stream_id.clone(),
            track_id: sending.track_id.clone(),
        });
        LocalMedia {
            kind: section.kind,
            mid: section.mid.clone(),
            direction,
            rejected: section.is_rejected() || unusable,
            protocol: section.protocol.clone(),
            formats,
            extensions: extensions(section.kind, ids),
            stream,
            receive_rids,
        }
    }

    fn own_formats(&self, section: &Section, av1: bool) -> Vec<LocalFormat> {
        let sent = section.sending.as_ref().map(|sending| sending.codec);
        let mut codecs: Vec<Codec> = match section.kind {
            MediaKind::Audio => vec![Codec::Opus],
            MediaKind::Video if av1 || sent == Some(Codec::Av1) => vec![Codec::Vp8, Codec::Av1],
            MediaKind::Video => vec![Codec::Vp8],
            MediaKind::Application => Vec::new(),
        };
        codecs.sort_by_key(|codec| Some(*codec) != sent);
        let format = |codec: Codec| {
            let feedback = if codec.is_video() { &VIDEO_FEEDBACK[..] } else { &AUDIO_FEEDBACK[..] };
            LocalFormat {
                payload_type: self.payload_type(codec),
                rtpmap: rtpmap(codec),
                parameters: parameters(codec).into(),
                feedback: feedback.iter().map(|feedback| (*feedback).into()).collect(),
            }
        };
        codecs.into_iter().map(format).collect()
    }
}

fn learn(known: &mut ExtensionIds, new: ExtensionIds) {
    for (known, new) in [
        (&mut known.mid, new.mid),
        (&mut known.rid, new.rid),
        (&mut known.repaired_rid, new.repaired_rid),
        (&mut known.audio_level, new.audio_level),
        (&mut known.transport_cc, new.transport_cc),
    ] {
        if new != 0 {
            *known = new;
        }
    }
}

fn extensions(kind: MediaKind, ids: ExtensionIds) -> Vec<(u8, &'static str)> {
    let all = match kind {
        MediaKind::Audio => vec![
            (ids.audio_level, extension::AUDIO_LEVEL),
            (ids.transport_cc, extension::TRANSPORT_CC),
            (ids.mid, extension::MID),
        ],
        MediaKind::Video => vec![
            (ids.transport_cc, extension::TRANSPORT_CC),
            (ids.mid, extension::MID),
            (ids.rid, extension::RID),
            (ids.repaired_rid, extension::REPAIRED_RID),
        ],
        MediaKind::Application => Vec::new(),
    };
    all.into_iter().filter(|(id, _)| *id != 0).collect()
}

fn accept_format(format: &Format) -> LocalFormat {
    let ours = if format.codec.is_video() { &VIDEO_FEEDBACK[..] } else { &AUDIO_FEEDBACK[..] };
    LocalFormat {
        payload_type: format.payload_type,
        rtpmap: rtpmap(format.codec),
        parameters: format.parameters.clone(),
        feedback: format.feedback.iter().filter(|feedback| ours.contains(&feedback.as_str())).cloned().collect(),
    }
}

const fn rtpmap(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus/48000/2",
        Codec::Vp8 => "VP8/90000",
        Codec::Av1 => "AV1/90000",
    }
}

const fn parameters(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "minptime=10;useinbandfec=1",
        Codec::Vp8 => "",
        Codec::Av1 => "level-idx=5;profile=0;tier=0",
    }
}
