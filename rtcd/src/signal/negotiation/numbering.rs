//! Payload types and ids of header extensions: a number has one meaning in a session (RFC 8843, section 9), a meaning may
//! have a number in each section. A section keeps what it was agreed with; new ones take numbers that are free.
use super::section::{Section, may_hear};
use rtcd_media::codec::Codec;
use rtcd_media::rtp::Extension;
use rtcd_media::sdp::write::{LocalFormat, LocalMedia, LocalStream};
use rtcd_media::sdp::{Format, Media, MediaKind, extension};
use serde::{Deserialize, Serialize};

/// Feedback that we understand (contract, section 5).
const VIDEO_FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];
const AUDIO_FEEDBACK: [&str; 2] = ["transport-cc", "nack"];
const VIDEO_EXTENSIONS: [Extension; 4] =
    [Extension::TransportCc, Extension::Mid, Extension::Rid, Extension::RepairedRid];
const AUDIO_EXTENSIONS: [Extension; 3] = [Extension::AudioLevel, Extension::TransportCc, Extension::Mid];
/// Ids of the one-byte form (RFC 8285, section 4.2).
const EXTENSION_IDS: std::ops::RangeInclusive<u8> = 1..=14;

/// What the peer can do beyond what every peer can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// It receives AV1.
    pub(super) av1: bool,
    pub(super) rtx: RtxSupport,
}

/// Whether packets are sent again in a stream of their own (RFC 4588).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct RtxSupport {
    /// We do, in both directions: a peer may send in a section that we made.
    pub(super) accepted: bool,
    /// What the peer's descriptions have shown for each codec; nothing until it has described one.
    vp8: Option<bool>,
    av1: Option<bool>,
}

impl RtxSupport {
    pub(super) const fn new(accepted: bool) -> Self {
        Self { accepted, vp8: None, av1: None }
    }
    /// The peer has described a section. It may leave RTX out of one and have it in another.
    pub(super) fn learn(&mut self, media: &Media) {
        for (codec, known) in [(Codec::Vp8, &mut self.vp8), (Codec::Av1, &mut self.av1)] {
            if let Some(format) = media.format(codec) {
                *known = Some(format.rtx.is_some() || *known == Some(true));
            }
        }
    }
    /// A peer that has described pictures without RTX.
    #[cfg(test)]
    pub(super) const fn shown_none() -> Self {
        Self { accepted: true, vp8: Some(false), av1: Some(false) }
    }
    /// Whether it is offered for this codec: whoever has shown nothing of it yet, as those who only watch, is asked.
    pub(super) fn knows(self, codec: Codec) -> bool {
        // Whoever has it for neither does not know it.
        let shown = match codec {
            Codec::Opus => Some(false),
            Codec::Vp8 => self.vp8.or(self.av1),
            Codec::Av1 => self.av1.or(self.vp8),
        };
        self.accepted && shown.unwrap_or(true)
    }
}

/// What a payload type means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Ours(Codec),
    /// Retransmissions of packets of this payload type. By its number and not by its codec: the parameters of a payload
    /// type are part of its meaning.
    Rtx(u8),
    Other,
}

/// What the numbers of a session mean.
#[derive(Debug)]
pub(super) struct Numbering {
    payload_types: [Option<Meaning>; 128],
    /// `Some(None)`: an extension that we do not speak.
    extensions: [Option<Option<Extension>>; 256],
}

impl Numbering {
    /// The numbers that the sections have by the peer's latest words.
    pub(super) fn of(sections: &[Section]) -> Self {
        let mut numbering = Self { payload_types: [None; 128], extensions: [None; 256] };
        let remotes = sections.iter().filter_map(|section| section.remote.as_ref());
        for media in remotes.filter(|media| !media.rejected) {
            for format in &media.formats {
                numbering.claim(format.payload_type, Meaning::Ours(format.codec));
                format.rtx.map(|rtx| numbering.claim(rtx, Meaning::Rtx(format.payload_type)));
            }
            for extension in Extension::ALL {
                numbering.claim_extension(media.extensions.get(extension), Some(extension));
            }
            media.other_payload_types.iter().for_each(|number| _ = numbering.claim(*number, Meaning::Other));
            media.other_extensions.iter().for_each(|id| _ = numbering.claim_extension(*id, None));
        }
        numbering
    }

    /// Whether the number has this meaning, now if not before.
    fn claim(&mut self, number: u8, meaning: Meaning) -> bool {
        let known = self.payload_types.get_mut(usize::from(number)).map(|known| *known.get_or_insert(meaning));
        known == Some(meaning)
    }

    fn claim_extension(&mut self, id: u8, extension: Option<Extension>) -> bool {
        id != 0 && *self.extensions[usize::from(id)].get_or_insert(extension) == extension
    }

    /// The payload type of a codec in a new section: the peer's, the usual one, or any that is free.
    fn payload_type(&mut self, codec: Codec) -> Option<u8> {
        let usual = match codec {
            Codec::Opus => 111,
            Codec::Vp8 => 96,
            Codec::Av1 => 45,
        };
        self.number_for(Meaning::Ours(codec), usual)
    }

    /// The payload type of retransmissions of `repaired`, which means `codec`, in a new section.
    fn rtx_payload_type(&mut self, codec: Codec, repaired: u8) -> Option<u8> {
        let usual = match codec {
            Codec::Opus => return None,
            Codec::Vp8 => 97,
            Codec::Av1 => 46,
        };
        self.number_for(Meaning::Rtx(repaired), usual)
    }

    fn number_for(&mut self, meaning: Meaning, usual: u8) -> Option<u8> {
        let known = (0..128).find(|number| self.payload_types[usize::from(*number)] == Some(meaning));
        // RFC 3551, section 3: 96 to 127 are dynamic, those from 35 on are free where RTP and RTCP share a port.
        let mut any = known.into_iter().chain([usual]).chain(96..=127).chain(35..=63);
        any.find(|number| self.claim(*number, meaning))
    }

    /// The id of an extension in a new section; 0 when none is free.
    fn extension(&mut self, extension: Extension) -> u8 {
        let usual = match extension {
            Extension::AudioLevel => 1,
            Extension::TransportCc => 3,
            Extension::Mid => 4,
            Extension::Rid => 10,
            Extension::RepairedRid => 11,
        };
        let known = EXTENSION_IDS.into_iter().find(|id| self.extensions[usize::from(*id)] == Some(Some(extension)));
        let mut any = known.into_iter().chain([usual]).chain(EXTENSION_IDS);
        any.find(|id| self.claim_extension(*id, Some(extension))).unwrap_or(0)
    }

    /// A section as we describe it.
    pub(super) fn section(&mut self, section: &Section, offering: bool, peer: Abilities) -> LocalMedia {
        let may_send = offering || section.remote.as_ref().is_some_and(may_hear);
        let direction = section.direction(may_send, offering);
        let remote = section.remote.as_ref();
        let formats = match remote {
            // In an offer the codec that we send comes first, and must be there.
            Some(remote) if !offering || section.sending.is_none() => {
                remote.formats.iter().map(|format| accept_format(format, peer.rtx.accepted)).collect()
            }
            _ => self.own_formats(section, peer),
        };
        let unusable = section.kind != MediaKind::Application && formats.is_empty();
        let receive_rids = match remote {
            Some(remote) if section.receives() => remote.send_rids.clone(),
            _ => Vec::new(),
        };
        let stream = section.sending.as_ref().filter(|_| direction.sends()).map(|sending| LocalStream {
            ssrc: sending.ssrc,
            rtx_ssrc: sending.rtx_ssrc.filter(|_| section.told_rtx),
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
            extensions: self.extensions_of(section),
            stream,
            receive_rids,
        }
    }

    fn own_formats(&mut self, section: &Section, peer: Abilities) -> Vec<LocalFormat> {
        let sent = section.sending.as_ref().map(|sending| sending.codec);
        let mut codecs: Vec<Codec> = match section.kind {
            MediaKind::Audio => vec![Codec::Opus],
            MediaKind::Video if peer.av1 || sent == Some(Codec::Av1) => vec![Codec::Vp8, Codec::Av1],
            MediaKind::Video => vec![Codec::Vp8],
            MediaKind::Application => Vec::new(),
        };
        codecs.sort_by_key(|codec| Some(*codec) != sent);
        let mut formats = Vec::new();
        for codec in codecs {
            let feedback = if codec.is_video() { &VIDEO_FEEDBACK[..] } else { &AUDIO_FEEDBACK[..] };
            let agreed = section.remote.as_ref().and_then(|remote| remote.format(codec));
            let agreed_rtx = agreed.and_then(|format| format.rtx);
            // All 61 dynamic numbers taken: the codec cannot be named.
            let Some(payload_type) = agreed.map(|format| format.payload_type).or_else(|| self.payload_type(codec))
            else {
                continue;
            };
            let with_rtx = if sent == Some(codec) { section.told_rtx } else { peer.rtx.knows(codec) };
            let rtx = if with_rtx { agreed_rtx.or_else(|| self.rtx_payload_type(codec, payload_type)) } else { None };
            formats.push(LocalFormat {
                payload_type,
                rtpmap: rtpmap(codec),
                parameters: parameters(codec).into(),
                feedback: feedback.iter().map(|feedback| (*feedback).into()).collect(),
                rtx,
            });
        }
        formats
    }

    fn extensions_of(&mut self, section: &Section) -> Vec<(u8, &'static str)> {
        let all = match section.kind {
            MediaKind::Audio => &AUDIO_EXTENSIONS[..],
            MediaKind::Video => &VIDEO_EXTENSIONS[..],
            MediaKind::Application => &[],
        };
        let remote = section.remote.as_ref().map(|remote| remote.extensions);
        let id = |extension: &Extension| match remote {
            Some(ids) => ids.get(*extension),
            None => self.extension(*extension),
        };
        let ids: Vec<u8> = all.iter().map(id).collect();
        ids.into_iter().zip(all).filter(|(id, _)| *id != 0).map(|(id, ext)| (id, extension::uri(*ext))).collect()
    }
}

/// Takes out of a peer's description what gives a number a second meaning: we would have to repeat it.
pub(super) fn unambiguous(media: &mut [Media]) {
    let mut numbering = Numbering::of(&[]);
    for media in media.iter_mut().filter(|media| !media.rejected) {
        media.formats.retain(|format| numbering.claim(format.payload_type, Meaning::Ours(format.codec)));
        for format in &mut media.formats {
            let repaired = format.payload_type;
            format.rtx.take_if(|rtx| !numbering.claim(*rtx, Meaning::Rtx(repaired)));
        }
        for extension in Extension::ALL {
            if !numbering.claim_extension(media.extensions.get(extension), Some(extension)) {
                media.extensions.set(extension, 0);
            }
        }
    }
}

fn accept_format(format: &Format, accept_rtx: bool) -> LocalFormat {
    let ours = if format.codec.is_video() { &VIDEO_FEEDBACK[..] } else { &AUDIO_FEEDBACK[..] };
    LocalFormat {
        payload_type: format.payload_type,
        rtpmap: rtpmap(format.codec),
        parameters: format.parameters.clone(),
        feedback: format.feedback.iter().filter(|feedback| ours.contains(&feedback.as_str())).cloned().collect(),
        rtx: format.rtx.filter(|_| accept_rtx),
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
