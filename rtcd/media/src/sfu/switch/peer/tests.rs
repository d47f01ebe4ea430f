#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::streams::RETIRED_FOR;
use super::*;
use crate::dtls::{Identity, Role};
use crate::rtp::ExtensionIds;
use crate::sdp::{MediaKind, Mid, Rid};
use crate::transport::Parameters;

const IDS: ExtensionIds = ExtensionIds { mid: 4, rid: 10, repaired_rid: 11, audio_level: 1, transport_cc: 0 };
const KEY_FRAME: &[u8] = &[0x10, 0x00, 0xaa];
const DELTA_FRAME: &[u8] = &[0x10, 0x01, 0xaa];
const VP8: u8 = 96;
const AV1: u8 = 45;

struct World {
    peer: Peer,
    now: Instant,
    counters: Counters,
    events: VecDeque<Event>,
}

impl World {
    fn new(specs: Vec<Incoming>) -> Self {
        let identity = Identity::generate().expect("a certificate");
        let local = crate::ice::Credentials::generate();
        let parameters =
            Parameters { local, remote_ufrag: "peer".into(), fingerprint: identity.fingerprint(), role: Role::Server };
        let now = Instant::now();
        let mut peer = Peer::new(TransportId(1), Transport::new(parameters, now), now);
        peer.set_tracks(specs, |id| id.0 as usize);
        Self { peer, now, counters: Counters::default(), events: VecDeque::new() }
    }

    fn send(&mut self, ssrc: Ssrc, payload_type: u8, seq: u64, extensions: &[u8], payload: &[u8]) -> Option<Meta> {
        let mut packet = vec![0x80, payload_type];
        packet.extend((seq as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0]);
        packet.extend(ssrc.to_be_bytes());
        if !extensions.is_empty() {
            packet[0] |= 0x10;
            packet.extend([0xbe, 0xde, 0, (extensions.len() / 4) as u8]);
            packet.extend(extensions);
        }
        packet.extend(payload);
        let ingested = self.peer.ingest_plain(self.now, &packet, SeqNo(seq), &mut self.counters, &mut self.events);
        ingested.map(|ingested| ingested.meta)
    }

    fn started(&mut self) -> Vec<Codec> {
        let codec = |event| if let Event::TrackStarted { codec, .. } = event { Some(codec) } else { None };
        self.events.drain(..).filter_map(codec).collect()
    }
}

fn video(track: u64, mid: &str, rids: &[&str]) -> Incoming {
    Incoming {
        track: TrackId(track),
        mid: Mid(mid.into()),
        kind: MediaKind::Video,
        formats: vec![(AV1, Codec::Av1), (VP8, Codec::Vp8)],
        extensions: IDS,
        ssrcs: Vec::new(),
        rtx: Vec::new(),
        rtx_ssrcs: Vec::new(),
        rids: rids.iter().map(|rid| Rid((*rid).into())).collect(),
        nack: false,
        detect_voice: false,
        open: true,
    }
}

const IN_MID_0: &[u8] = &[0x40, b'0', 0, 0];

#[test]
fn a_new_ssrc_of_a_section_takes_over_whatever_its_numbers_are() {
    let mut world = World::new(vec![video(7, "0", &[])]);
    let old = world.send(1, VP8, 50_000, IN_MID_0, KEY_FRAME).expect("forwarded");
    let new = world.send(2, VP8, 10, IN_MID_0, KEY_FRAME).expect("forwarded");
    assert!(new.epoch > old.epoch);
    assert_eq!(world.send(1, VP8, 50_001, IN_MID_0, DELTA_FRAME), None, "it was under way");
    assert_eq!(world.send(2, VP8, 11, &[], DELTA_FRAME).map(|meta| meta.epoch), Some(new.epoch));
    world.now += RETIRED_FOR;
    assert!(world.send(1, VP8, 50_002, IN_MID_0, KEY_FRAME).is_some_and(|back| back.epoch > new.epoch));
    assert_eq!(world.started(), [Codec::Vp8], "the track is the same");
}

#[test]
fn a_new_stream_that_cannot_be_decoded_calls_for_a_key_frame() {
    let mut world = World::new(vec![video(7, "0", &[])]);
    world.send(1, VP8, 1, IN_MID_0, DELTA_FRAME);
    assert!(world.peer.streams[0].keyframes.next_timeout().is_some_and(|due| due <= world.now));
    world.send(1, VP8, 2, IN_MID_0, KEY_FRAME);
    assert_eq!(world.peer.streams[0].keyframes.next_timeout(), None);
}

#[test]
fn a_gap_that_cannot_be_repaired_calls_for_a_key_frame_that_is_really_sent() {
    let mut world = World::new(vec![video(7, "0", &[])]);
    world.send(1, VP8, 1, IN_MID_0, KEY_FRAME);
    world.peer.touched = false;
    world.send(1, VP8, 500, IN_MID_0, DELTA_FRAME);
    assert!(world.peer.touched, "its deadlines are looked at");
    assert!(world.peer.next_timeout(world.now).is_some_and(|due| due <= world.now));
    assert!(world.peer.streams[0].keyframes.poll(world.now), "and the request is still to be sent");
}

#[test]
fn a_key_frame_of_a_layer_that_has_not_been_heard_yet_is_asked_for_when_it_is() {
    let mut world = World::new(vec![video(7, "0", &["l", "h"])]);
    let low = [0x40, b'0', 0xa0, b'l'];
    assert_eq!(world.peer.request_keyframe(world.now, TrackId(7), Layer(0)), None);
    world.send(2, VP8, 1, &[0x40, b'0', 0xa0, b'h'], KEY_FRAME);
    assert!(world.peer.streams[0].keyframes.next_timeout().is_none(), "of that layer nobody wanted one");
    world.send(1, VP8, 1, &low, DELTA_FRAME);
    let stream = world.peer.streams.iter_mut().find(|stream| stream.layer == Layer(0)).expect("bound");
    assert!(stream.keyframes.poll(world.now));
}

#[test]
fn a_codec_that_changes_within_a_section_is_told_but_not_with_every_packet() {
    let mut world = World::new(vec![video(7, "0", &[])]);
    assert_eq!(world.send(1, AV1, 1, IN_MID_0, &[0x18]).map(|meta| meta.codec), Some(Codec::Av1));
    for seq in 2..20 {
        let payload_type = if seq % 2 == 0 { VP8 } else { AV1 };
        let codec = world.send(1, payload_type, seq, IN_MID_0, KEY_FRAME).map(|meta| meta.codec);
        assert_eq!(codec, Some(if seq % 2 == 0 { Codec::Vp8 } else { Codec::Av1 }), "each says what it is");
    }
    assert_eq!(world.started(), [Codec::Av1]);
    world.now += Duration::from_secs(1);
    world.send(1, VP8, 20, IN_MID_0, KEY_FRAME);
    assert_eq!(world.started(), [Codec::Vp8]);
}

#[test]
fn a_gate_is_one_of_a_stream_not_of_all_layers() {
    let mut held = video(7, "0", &["l", "h"]);
    held.open = false;
    let mut world = World::new(vec![held]);
    let (low, high) = ([0x40, b'0', 0xa0, b'l'], [0x40, b'0', 0xa0, b'h']);
    assert_eq!(world.send(1, VP8, 100, &low, KEY_FRAME), None);
    assert_eq!(world.send(2, VP8, 60_000, &high, KEY_FRAME), None);
    world.peer.set_gate(TrackId(7), true);
    assert!(world.send(2, VP8, 60_001, &high, KEY_FRAME).is_some());
    assert!(world.send(1, VP8, 101, &low, KEY_FRAME).is_some(), "its numbers are its own");
}

#[test]
fn the_stream_that_has_been_silent_longest_makes_room() {
    let specs = (0..40).map(|at| video(at, &at.to_string(), &[])).collect();
    let mut world = World::new(specs);
    for at in 0..40u32 {
        world.now += Duration::from_millis(10);
        let mid = at.to_string();
        let extension = if mid.len() == 1 {
            vec![0x40, mid.as_bytes()[0], 0, 0]
        } else {
            vec![0x41, mid.as_bytes()[0], mid.as_bytes()[1], 0]
        };
        assert!(world.send(1000 + at, VP8, 1, &extension, KEY_FRAME).is_some());
        assert!(world.send(1000, VP8, 2 + u64::from(at), &[], DELTA_FRAME).is_some(), "the first one goes on");
    }
    assert_eq!(world.peer.streams.len(), MAX_STREAMS);
}

#[test]
fn sections_may_number_an_extension_differently() {
    let mut other = video(8, "1", &[]);
    other.extensions = ExtensionIds { mid: 6, ..ExtensionIds::default() };
    let mut world = World::new(vec![video(7, "0", &[]), other]);
    assert!(world.send(1, VP8, 1, IN_MID_0, KEY_FRAME).is_some());
    assert!(world.send(2, VP8, 1, &[0x60, b'1', 0, 0], KEY_FRAME).is_some());
    assert_eq!(world.peer.streams[1].track, TrackId(8));
}
