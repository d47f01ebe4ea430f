//! Real inputs to begin with: what Chromium and str0m say, and packets as honest peers make them.
use rtcd_media::fuzzing::forge::{self, Data, FIRST_TSN, SctpClient};
use rtcd_media::fuzzing::{client_flights, join};
use rtcd_media::rtcp;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use str0m::RtcConfig;
use str0m::media::{Direction, MediaKind, Rid, Simulcast, SimulcastLayer};

/// An offer of Chromium with voice and a screen in two layers.
pub const CHROMIUM: &str = include_str!("../../../rtcd/media/src/sdp/fixtures/chromium-screen-simulcast.sdp");

/// Offers of Chromium and of str0m.
pub fn offers() -> Vec<Vec<u8>> {
    vec![CHROMIUM.into(), str0m_offer(false).into(), str0m_offer(true).into()]
}

/// An offer as str0m makes it now: a channel only, or with voice and a camera in two layers.
fn str0m_offer(media: bool) -> String {
    let mut rtc = RtcConfig::new().build(Instant::now());
    let mut api = rtc.sdp_api();
    api.add_channel("calls-dc".into());
    if media {
        let layer = |rid: &str| SimulcastLayer { rid: Rid::from(rid), attributes: None };
        let layers = Simulcast { send: vec![layer("l"), layer("h")], recv: Vec::new() };
        api.add_media(MediaKind::Audio, Direction::SendOnly, Some("stream".into()), Some("voice".into()), None);
        api.add_media(MediaKind::Video, Direction::SendRecv, Some("stream".into()), Some("video".into()), Some(layers));
    }
    api.apply().map(|(offer, _)| offer.to_sdp_string()).unwrap_or_default()
}

/// Sequences of offers, answers and offers of ours.
pub fn negotiations() -> Vec<Vec<u8>> {
    let offers = offers();
    let answer = CHROMIUM.replace("a=setup:actpass", "a=setup:active").replace("a=sendonly", "a=recvonly");
    let answer = |more: &str| (2, format!("{answer}{more}").into_bytes());
    let section =
        |mid: &str, line: &str| format!("m={line}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=recvonly\r\na=rtcp-mux\r\n");
    let audio = section("s0", "audio 9 UDP/TLS/RTP/SAVPF 111") + "a=rtpmap:111 opus/48000/2\r\n";
    let video = section("s0", "video 9 UDP/TLS/RTP/SAVPF 96") + "a=rtpmap:96 VP8/90000\r\n";
    let nothing = || Vec::new();
    let sequences = [
        vec![(0, offers[0].clone()), (5, nothing()), (3, nothing()), answer(&video), (0, offers[0].clone())],
        vec![(0, offers[0].clone()), (3, nothing()), answer(&audio), (3, nothing()), (4, nothing()), (3, nothing())],
        vec![(0, offers[1].clone()), (3, nothing()), (4, nothing()), (0, offers[2].clone()), (5, nothing())],
    ];
    sequences.iter().map(|steps| join(steps.iter().map(|(what, bytes)| (*what, bytes.as_slice())))).collect()
}

/// Checks under the harness' credentials, with a right and a wrong password, with each attribute.
pub fn stun() -> Vec<Vec<u8>> {
    let username = (0x0006, &b"ours:peer"[..]);
    let full = [username, forge::PRIORITY, forge::ICE_CONTROLLING, forge::USE_CANDIDATE];
    let password = Some("a password of the harness");
    let good = forge::stun_request([7; 12], &full, password);
    let bad = forge::stun_request([8; 12], &full, Some("another"));
    let conflict = forge::stun_request([9; 12], &[username, forge::PRIORITY, forge::ICE_CONTROLLED], password);
    let unknown = forge::stun_request([9; 12], &[username, (0x0077, b"what")], password);
    let plain = forge::stun_request([1; 12], &[], None);
    let all =
        [(1, &good[..]), (2, &bad), (3, &conflict), (4, &unknown), (5, &plain), (255, b""), (1, &good), (254, b"9s")];
    let many: Vec<_> = (0..20).map(|path| (path, &good[..])).collect();
    vec![join(all), join(many)]
}

/// A challenge, an address, permissions, a channel with packets, errors of each kind.
pub fn turn() -> Vec<Vec<u8>> {
    let realm = [0, 0x14, 0, 4, b'r', b'e', b'a', b'l', 0, 0x15, 0, 4, b'n', b'o', b'n', b'c'];
    let error = |kind: [u8; 2], code: [u8; 2]| [&kind[..], &[0, 9, 0, 4, 0, 0, code[0], code[1]], &realm].concat();
    let relayed = [1, 3, 0, 0x16, 0, 8, 0, 1, 0x11, 0x22, 0xe1, 0x12, 0xa6, 0x43, 0, 0x0d, 0, 4, 0, 0, 2, 0x58];
    let indication = [
        &[0, 0x17, 0, 24, 0x21, 0x12, 0xa4, 0x42][..],
        &[7; 12],
        &[0, 0x12, 0, 8, 0, 1, 0x21, 0x13, 0xe1, 0x12, 0xa6, 0x43, 0, 0x13, 0, 5],
        b"hello\0\0\0",
    ]
    .concat();
    let (challenge, stale) = (error([1, 0x13], [4, 1]), error([1, 0x18], [4, 38]));
    let begin = [(1, &challenge[..]), (1, &relayed), (3, b"\x01"), (1, &[1, 8]), (2, b"\x01media"), (1, &[1, 9])];
    let packets =
        [(0, &indication[..]), (0, b"\x40\0\0\x05hello"), (2, b"\x01more"), (5, b"\xff"), (1, &[1, 4]), (4, b"\x01")];
    let errors = [(3, &b"\x02"[..]), (1, &stale), (5, b"\x3c"), (5, b"\xff"), (5, b"\xff")];
    let refused: Vec<_> = [[4, 86], [4, 37], [4, 3], [3, 0]].map(|code| error([1, 0x13], code)).into();
    let whole = join([&begin[..], &packets, &errors].concat());
    refused.iter().map(|refused| join([(1, &refused[..]), (5, b"\x09")])).chain([whole]).collect()
}

fn rtp_packet(seq: u16, extension: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, 96, 0, 0, 0, 0, 3, 192, 0, 0, 0, 7, 0xbe, 0xde, 0, (extension.len() / 4) as u8];
    packet[2..4].copy_from_slice(&seq.to_be_bytes());
    packet.extend(extension);
    packet.extend(payload);
    packet
}

/// Voice with levels, VP8 with picture ids in two layers, AV1.
pub fn rtp() -> Vec<Vec<u8>> {
    let level = [0x10, 0x85, 0x31, 0, 9, 0x40, b'0', 0];
    let rid = [0xa0, b'h', 0x40, b'1', 0x31, 0, 9, 0];
    let voice = |seq| (3, rtp_packet(seq, &level, b"some opus frame"));
    let key = [0x90, 0xe0, 0x81, 2, 9, 0x20, 0x10, 2, 0, 0x9d, 1, 0x2a];
    let video = |seq, layer: u8| ((layer << 6) | (layer << 7) | 1, rtp_packet(seq, &rid, &key));
    let av1 = |seq| (2, rtp_packet(seq, &rid, &[0x18, 0x0a, 1, 2, 3]));
    let sequences = [
        vec![voice(1), voice(2), voice(9), voice(3)],
        vec![video(65_534, 0), video(65_535, 1), video(0, 0)],
        vec![av1(5)],
    ];
    sequences.iter().map(|steps| join(steps.iter().map(|(what, bytes)| (*what, bytes.as_slice())))).collect()
}

/// Reports, NACK and PLI in a compound packet, FIR, REMB, and transport-wide feedback with each kind of chunk.
pub fn rtcp() -> Vec<Vec<u8>> {
    let info = rtcp::SenderInfo { ssrc: 7, ntp: 0x0102_0304_0506_0708, rtp: 9, packets: 10, octets: 11 };
    let mut compound = Vec::new();
    rtcp::sender_report(&mut compound, &info);
    rtcp::source_description(&mut compound, 7, "a session");
    rtcp::receiver_report(&mut compound, 1, &[rtcp::ReportBlock { ssrc: 7, ..Default::default() }; 3]);
    rtcp::nack(&mut compound, 1, 7, &[10, 12, 26, 27, 65_535]);
    rtcp::pli(&mut compound, 1, 7);
    let fir = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0].to_vec();
    let mut remb = Vec::new();
    rtcp::remb(&mut remb, 1, 2_500_000, &[7, 8]);
    let runs = [[0x20, 2, 0, 3, 0xa0, 1, 0xd8, 0].as_slice(), &[4, 8, 1, 0, 255, 0xff, 0xfc, 0]].concat();
    let arrivals = [&[0x8f, 205, 0, 8, 0, 0, 0, 1, 0, 0, 0, 7, 0xff, 0xfe, 0, 23, 0, 0, 2, 9][..], &runs].concat();
    vec![compound, fir, remb, arrivals]
}

/// For each profile packets in order, replayed, changed.
pub fn srtp() -> Vec<Vec<u8>> {
    let steps = [
        (0, &b"\0\0voice"[..]),
        (0, b"\x3f\xff far ahead"),
        (2, b""),
        (1, b"\x09\x01"),
        (1, b"\0"),
        (4, b"report"),
        (5, b"\x08\x80"),
        (3, b"\x80\x6f 0123456789 raw"),
        (0, b"\x3f\xff"),
        (0, b"\x3f\xff"),
        (2, b""),
    ];
    (0..3).map(|profile| [vec![profile], join(steps)].concat()).collect()
}

/// Each flight of a client, in each phase, raw and step by step.
pub fn dtls() -> Vec<Vec<u8>> {
    let flights = client_flights();
    let raw = join(flights.iter().map(|flight| (0, flight.as_slice())));
    let real = join([(2, &b""[..]), (2, b""), (2, b""), (2, b""), (3, b""), (2, b"data")]);
    let changed = join([(2, &b"\x20\x01"[..]), (3, b""), (2, b""), (2, b"\x40\x80"), (2, b"")]);
    (0..3u8).flat_map(|phase| [&raw, &real, &changed].map(|steps| [vec![phase], steps.clone()].concat())).collect()
}

/// An association's life: messages whole, in fragments and out of order, acknowledgements, resets, ends.
pub fn sctp() -> Vec<Vec<u8>> {
    let data = |n: u32| Data::whole(FIRST_TSN + n, 1, n as u16);
    let part = |n: u32, flags| Data { flags, ..Data::whole(FIRST_TSN + n, 1, 1) }.chunk(&[7; 900]);
    let sack = forge::chunk(3, 0, &[0, 0, 0, 9, 0, 2, 0, 0, 0, 0, 0, 0]);
    let forward = forge::chunk(192, 0, &(FIRST_TSN + 20).to_be_bytes());
    let reset = forge::chunk(130, 0, &[0, 13, 0, 18, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 3, 232, 0, 1]);
    let heartbeat = forge::chunk(4, 0, &[0, 1, 0, 8, 1, 2, 3, 4]);
    let (abort, error) = (forge::chunk(6, 0, &[0, 12, 0, 4]), forge::chunk(9, 0, &[0, 12, 0, 8, 1, 2, 3, 4]));
    let shutdown = forge::chunk(7, 0, &FIRST_TSN.to_be_bytes());
    let init = SctpClient::init_chunk();
    let whole = [data(1).chunk(b"\x01"), data(2).chunk(b"two"), sack.clone()].concat();
    let life =
        [(3, &whole[..]), (1, b"from us"), (2, b"\x14"), (3, &sack), (3, &heartbeat), (3, &reset), (3, &shutdown)];
    let (begin, middle, end) = (part(1, 2), part(2, 0), part(3, 1));
    let late = data(9).chunk(b"later");
    let odd =
        [(3, &begin[..]), (3, &end), (3, &middle), (3, &late), (3, &forward), (2, b"\xff"), (3, &error), (3, &abort)];
    let first = SctpClient::init();
    let early = [(255, &b""[..]), (3, &init), (0, &first), (3, &whole), (3, &init)];
    vec![join(life), join(odd), join(early)]
}

/// Frames as a stream brings them.
pub fn tcp() -> Vec<Vec<u8>> {
    vec![
        join([(0, &[0, 3, 1, 2, 3, 0, 0, 0, 1, 9][..])]),
        join([(0, &[0][..]), (0, &[3, 1]), (0, &[2, 3, 0]), (0, &[0, 0, 1]), (0, &[9, 5, 0])]),
        join([(0, &[[5, 220].as_slice(), &[7; 1500]].concat()[..]), (0, &[255, 255])]),
    ]
}

/// Every file below a directory of the provisioning agent's fixtures, in the order of their paths.
fn provisioning(directory: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories =
        vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../provision/tests/fixtures").join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the fixtures are there").flatten() {
            match entry.path() {
                path if path.is_dir() => directories.push(path),
                path => drop(found.insert(path.clone(), fs::read(path).expect("readable"))),
            }
        }
    }
    found
}

/// User data that are accepted and user data with mistakes, in all forms.
pub fn user_data() -> Vec<Vec<u8>> {
    let all = provisioning("accepted").into_iter().chain(provisioning("mistakes"));
    all.filter(|(path, _)| path.extension().is_none_or(|extension| extension != "expected"))
        .map(|(_, bytes)| bytes)
        .collect()
}

/// A volume of each kind.
pub fn volumes() -> Vec<Vec<u8>> {
    let inflate = |bytes: Vec<u8>| {
        let mut image = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut image).expect("gzip");
        image
    };
    let images =
        provisioning("volumes").into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "gz"));
    images.map(|(_, bytes)| inflate(bytes)).collect()
}

/// What metadata services and seeds say.
pub fn metadata() -> Vec<Vec<u8>> {
    let all = provisioning("").into_iter();
    all.filter(|(path, _)| {
        path.ends_with("meta-data") || path.extension().is_some_and(|end| end == "body" || end == "xml")
    })
    .map(|(_, bytes)| bytes)
    .collect()
}
