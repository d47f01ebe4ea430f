//! Session descriptions: what we make of a peer's must be readable, whatever the peer wrote into its own.
use crate::demux::Protocol;
use crate::dtls::Fingerprint;
use crate::ice::Credentials;
use crate::sdp::write::{Candidate, LocalDescription, LocalFormat, LocalMedia, LocalStream};
use crate::sdp::{Description, Media, extension};

/// One description, read, answered, and the answer read again.
pub fn sdp(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(offer) = Description::parse(&text) else { return };
    let ice = Credentials { ufrag: "ours".into(), password: "a password of the harness".into() };
    let address = ([192, 0, 2, 1], 8443).into();
    let candidates = [Candidate { protocol: Protocol::Udp, address, rank: 0, base: None }];
    let media: Vec<LocalMedia> = offer.media.iter().map(echo).collect();
    let answer = LocalDescription {
        session_id: 1,
        version: 1,
        ice: &ice,
        fingerprint: fingerprint(),
        setup: offer.setup,
        candidates: &candidates,
        media: &media,
    };
    let text = answer.to_string();
    let read = match Description::parse(&text) {
        Ok(read) => read,
        Err(error) => panic!("our answer cannot be read: {error}\n{text}"),
    };
    assert_eq!((&*read.ufrag, &*read.password, read.fingerprint), (&*ice.ufrag, &*ice.password, fingerprint()));
    assert_eq!(read.media.len(), offer.media.len(), "\n{text}");
    for (asked, answered) in offer.media.iter().zip(&read.media) {
        assert_eq!((&asked.mid, asked.kind), (&answered.mid, answered.kind), "\n{text}");
        let rtx = |media: &Media| media.formats.iter().map(|format| (format.codec, format.rtx)).collect::<Vec<_>>();
        assert_eq!(rtx(answered), rtx(asked), "\n{text}");
    }
}

fn fingerprint() -> Fingerprint {
    let value = format!("sha-256 {}", ["AB"; 32].join(":"));
    Fingerprint::parse(&value).unwrap_or_else(|| unreachable!("written by hand"))
}

/// All that may be echoed of a section.
fn echo(media: &Media) -> LocalMedia {
    let formats = media.formats.iter().map(|format| LocalFormat {
        payload_type: format.payload_type,
        rtpmap: match format.codec {
            crate::codec::Codec::Opus => "opus/48000/2",
            crate::codec::Codec::Vp8 => "VP8/90000",
            crate::codec::Codec::Av1 => "AV1/90000",
        },
        parameters: format.parameters.clone(),
        feedback: format.feedback.clone(),
        rtx: format.rtx,
    });
    let stream = media.msid.as_ref().map(|(stream_id, track_id)| LocalStream {
        ssrc: 7,
        rtx_ssrc: Some(8),
        stream_id: stream_id.clone(),
        track_id: track_id.clone(),
    });
    LocalMedia {
        kind: media.kind,
        mid: media.mid.clone(),
        direction: media.direction,
        rejected: false,
        protocol: media.protocol.clone(),
        formats: formats.collect(),
        extensions: vec![(media.extensions.mid, extension::MID)],
        stream,
        receive_rids: media.send_rids.clone(),
    }
}
