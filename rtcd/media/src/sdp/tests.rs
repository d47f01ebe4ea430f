use super::read::read_ssrcs;
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
    assert_eq!((screen.formats[0].rtx, screen.formats[1].rtx), (Some(97), Some(46)));
    assert_eq!(screen.other_payload_types, [103, 104, 98], "H264, its RTX, and the other AV1 profile");
    assert_eq!(screen.send_rids, [Rid("l".into()), Rid("h".into())]);
    assert_eq!((screen.extensions.rid, screen.extensions.transport_cc), (10, 3));
    assert!(screen.formats[0].feedback.iter().any(|feedback| feedback == "nack pli"));
}

#[test]
fn retransmission_streams_are_not_media() {
    let read =
        |ssrcs: &[&'static str], groups: &[&'static str]| read_ssrcs(ssrcs.iter().copied(), groups.iter().copied());
    assert_eq!(read(&["1 cname:x", "2 cname:x", "1 msid:a b"], &["FID 1 2"]), (vec![1], vec![(2, 1)]));
    let layers = ["1 cname:x", "2 cname:x", "3 cname:x", "4 cname:x"];
    assert_eq!(read(&layers, &["SIM 1 2", "FID 1 3", "FID 2 4"]), (vec![1, 2], vec![(3, 1), (4, 2)]));
    assert_eq!(
        read(&["1 cname:x"], &["FID 1 2", "FID 1 3", "FID 9 4", "FID 1 1", "FID 1", "FID x 5"]),
        (vec![1], vec![(2, 1)])
    );
}

/// The video section of an offer of Firefox: its own numbers, RTX of everything, feedback for all formats by `*` in part.
const FIREFOX: &str = "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127 97 98\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendrecv\r\n\
    a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n\
    a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1\r\na=fmtp:120 max-fs=12288;max-fr=60\r\n\
    a=fmtp:124 apt=120\r\na=fmtp:127 apt=126\r\na=fmtp:98 apt=97\r\na=msid:{camera} {track}\r\n\
    a=rtcp-fb:120 nack\r\na=rtcp-fb:120 nack pli\r\na=rtcp-fb:120 ccm fir\r\na=rtcp-fb:120 goog-remb\r\n\
    a=rtcp-fb:* transport-cc\r\na=rtpmap:120 VP8/90000\r\na=rtpmap:124 rtx/90000\r\na=rtpmap:126 H264/90000\r\n\
    a=rtpmap:127 rtx/90000\r\na=rtpmap:97 H264/90000\r\na=rtpmap:98 rtx/90000\r\na=ssrc:11 cname:{x}\r\n\
    a=ssrc:12 cname:{x}\r\na=ssrc-group:FID 11 12\r\n";

#[test]
fn an_offer_of_firefox_is_read() {
    let session: Vec<&str> = CHROMIUM.lines().take_while(|line| !line.starts_with("m=audio")).collect();
    let offer = Description::parse(&format!("{}\r\n{FIREFOX}", session.join("\r\n"))).expect("readable");
    let camera = &offer.media[1];
    let vp8 = camera.format(Codec::Vp8).expect("offered");
    assert_eq!((camera.formats.len(), vp8.payload_type, vp8.rtx), (1, 120, Some(124)));
    assert!(vp8.feedback.iter().any(|feedback| feedback == "transport-cc"), "{:?}", vp8.feedback);
    assert_eq!(camera.other_payload_types, [126, 127, 97, 98]);
    assert_eq!((camera.ssrcs.as_slice(), camera.rtx_ssrcs.as_slice()), (&[11][..], &[(12, 11)][..]));
}

#[test]
fn retransmissions_of_nothing_that_we_forward_are_not_ours() {
    let apt = |apt: &str| {
        let offer = Description::parse(&CHROMIUM.replace("a=fmtp:97 apt=96", apt)).expect("readable");
        (offer.media[2].formats[0].rtx, offer.media[2].other_payload_types.contains(&97))
    };
    assert_eq!(apt("a=fmtp:97 apt=96;rtx-time=3000"), (Some(97), false));
    assert_eq!(apt("a=fmtp:97 apt=103"), (None, true));
    assert_eq!(apt("a=fmtp:97 apt=x"), (None, true));
    assert_eq!(apt("a=x"), (None, true));
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
        Candidate { protocol: Protocol::Udp, address: ([192, 0, 2, 1], 8443).into(), rank: 0, base: None },
        Candidate { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 8443).into(), rank: 0, base: None },
    ];
    let stream =
        LocalStream { ssrc: 7, rtx_ssrc: None, stream_id: "session".into(), track_id: "voice_session_abcdefgh".into() };
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
            rtx: None,
        }],
        extensions: vec![(1, extension::AUDIO_LEVEL)],
        stream: Some(stream),
        receive_rids: Vec::new(),
    };
    let refused = LocalMedia { mid: Mid("4".into()), rejected: true, formats: Vec::new(), ..voice.clone() };
    let camera = LocalMedia {
        kind: MediaKind::Video,
        mid: Mid("5".into()),
        formats: vec![LocalFormat {
            payload_type: 96,
            rtpmap: "VP8/90000",
            parameters: String::new(),
            feedback: vec!["nack".into()],
            rtx: Some(97),
        }],
        stream: voice.stream.clone().map(|stream| LocalStream { ssrc: 8, rtx_ssrc: Some(9), ..stream }),
        ..voice.clone()
    };
    let media = [voice, refused, camera];
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
    assert!(text.contains("a=group:BUNDLE 3 5\r\n"), "{text}");
    assert!(text.contains("a=candidate:1 1 udp 2130706431 192.0.2.1 8443 typ host\r\n"), "{text}");
    assert!(text.contains("192.0.2.1 8443 typ host tcptype passive\r\n"), "{text}");
    assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"), "{text}");
    let id = "session voice_session_abcdefgh";
    let lines = ["ssrc-group:FID 8 9", "ssrc:8 cname:session", &format!("ssrc:8 msid:{id}"), "ssrc:9 cname:session"];
    let rtx = lines.map(|line| format!("a={line}\r\n")).concat();
    assert!(text.contains(&format!("{rtx}a=ssrc:9 msid:{id}\r\n")), "{text}");
    let read = Description::parse(&text).expect("readable");
    assert_eq!((&read.media[2].ssrcs[..], &read.media[2].rtx_ssrcs[..]), (&[8][..], &[(9, 8)][..]));
    assert_eq!(read.media[2].formats[0].rtx, Some(97));
    assert_eq!((read.ufrag, read.setup, read.fingerprint), (ice.ufrag.clone(), Setup::Passive, fingerprint));
    assert_eq!(read.media[0].ssrcs, [7]);
    assert_eq!(read.media[0].msid, Some(("session".into(), "voice_session_abcdefgh".into())));
    assert_eq!((read.media[0].extensions.audio_level, read.media[1].rejected), (1, true));
}
