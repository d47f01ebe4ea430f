use super::write::{Candidate, LocalDescription, LocalFormat, LocalMedia, LocalStream};
use super::*;
use crate::demux::Protocol;
use crate::dtls::Identity;
use crate::ice::Credentials;

/// The parts of a Chromium offer with voice and a screen in two layers.
const CHROMIUM: &str = include_str!("fixtures/chromium-screen-simulcast.sdp");

#[test]
fn an_offer_of_chromium_is_read() {
    let offer = Description::parse(CHROMIUM).expect("readable");
    assert_eq!((offer.ufrag.as_str(), offer.setup), ("8hhY", Setup::ActPass));
    let kinds: Vec<_> = offer.media.iter().map(|media| (media.kind, &*media.mid.0, media.direction)).collect();
    assert_eq!(
        kinds,
        [
            (MediaKind::Application, "0", Direction::SendRecv),
            (MediaKind::Audio, "1", Direction::SendOnly),
            (MediaKind::Video, "2", Direction::SendOnly)
        ]
    );
    let voice = &offer.media[1];
    assert_eq!(voice.formats.len(), 1);
    assert_eq!((voice.formats[0].payload_type, voice.formats[0].codec), (111, Codec::Opus));
    assert_eq!((voice.extensions.audio_level, voice.extensions.mid), (1, 4));
    assert_eq!(voice.ssrcs, [1001]);
    assert_eq!(voice.msid, Some(("voice-stream".into(), "voice-track".into())));
    let screen = &offer.media[2];
    let formats: Vec<_> = screen.formats.iter().map(|format| (format.payload_type, format.codec)).collect();
    assert_eq!(formats, [(96, Codec::Vp8), (45, Codec::Av1)], "neither RTX nor H264 nor another AV1 profile");
    assert!(!screen.other_payload_types.is_empty() && !screen.other_payload_types.contains(&96));
    assert_eq!(screen.send_rids, [Rid("l".into()), Rid("h".into())]);
    assert_eq!((screen.extensions.rid, screen.extensions.transport_cc), (10, 3));
    assert!(screen.formats[0].feedback.iter().any(|feedback| feedback == "nack pli"));
}

#[test]
fn retransmission_streams_are_not_media() {
    let ssrcs = ["1 cname:x", "2 cname:x", "1 msid:a b"].into_iter();
    assert_eq!(read_ssrcs(ssrcs, ["FID 1 2"].into_iter()), [1]);
}

#[test]
fn what_is_missing_is_named() {
    let without = |line: &str| {
        let text: String = CHROMIUM.lines().filter(|l| !l.starts_with(line)).map(|l| format!("{l}\r\n")).collect();
        Description::parse(&text)
    };
    assert_eq!(without("a=ice-ufrag"), Err(SdpError::Missing("ice-ufrag")));
    assert_eq!(without("a=fingerprint"), Err(SdpError::Missing("sha-256 fingerprint")));
    assert_eq!(without("a=mid"), Err(SdpError::Missing("mid")));
    assert_eq!(Description::parse(&"x".repeat(MAX_LEN + 1)), Err(SdpError::TooLong));
    assert!(matches!(Description::parse("rubbish"), Err(SdpError::Malformed(_))));
    let twice = CHROMIUM.replace("a=mid:2", "a=mid:1");
    assert_eq!(Description::parse(&twice), Err(SdpError::DuplicateMid(Mid("1".into()))));
}

#[test]
fn our_description_is_read_by_the_parser_of_others() {
    let ice = Credentials::generate();
    let fingerprint = Identity::generate().expect("certificate").fingerprint();
    let candidates = [
        Candidate { protocol: Protocol::Udp, address: ([192, 0, 2, 1], 8443).into(), rank: 0, behind: None },
        Candidate { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 8443).into(), rank: 0, behind: None },
    ];
    let stream = LocalStream { ssrc: 7, stream_id: "session".into(), track_id: "voice_session_abcdefgh".into() };
    let voice = LocalMedia {
        kind: MediaKind::Audio,
        mid: Mid("3".into()),
        direction: Direction::SendOnly,
        rejected: false,
        protocol: "UDP/TLS/RTP/SAVPF".into(),
        formats: vec![LocalFormat {
            payload_type: 111,
            rtpmap: "opus/48000/2",
            parameters: "minptime=10;useinbandfec=1".into(),
            feedback: vec!["transport-cc".into()],
        }],
        extensions: vec![(1, extension::AUDIO_LEVEL)],
        stream: Some(stream),
        receive_rids: Vec::new(),
    };
    let refused = LocalMedia { mid: Mid("4".into()), rejected: true, formats: Vec::new(), ..voice.clone() };
    let media = [voice, refused];
    let local = LocalDescription {
        session_id: 1,
        version: 2,
        ice: &ice,
        fingerprint,
        setup: Setup::Passive,
        candidates: &candidates,
        media: &media,
    };
    let text = local.to_string();
    assert!(text.contains("a=group:BUNDLE 3\r\n"), "{text}");
    assert!(text.contains("a=candidate:1 1 udp 2130706431 192.0.2.1 8443 typ host\r\n"), "{text}");
    assert!(text.contains("192.0.2.1 8443 typ host tcptype passive\r\n"), "{text}");
    let read = Description::parse(&text).expect("readable");
    assert_eq!((read.ufrag, read.setup, read.fingerprint), (ice.ufrag.clone(), Setup::Passive, fingerprint));
    assert_eq!(read.media[0].ssrcs, [7]);
    assert_eq!(read.media[0].msid, Some(("session".into(), "voice_session_abcdefgh".into())));
    assert_eq!((read.media[0].extensions.audio_level, read.media[1].rejected), (1, true));
}
