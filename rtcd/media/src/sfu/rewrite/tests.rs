#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use crate::rtcp::SenderInfo;
use crate::rtp::{ExtensionMap, Header};
use crate::sfu::Epoch;
use crate::sfu::cache::PacketCache;
use std::time::Duration;

const NUMBERS: Numbers = Numbers { payload_type: 96, audio_level_id: 0, transport_cc_id: 0, rtx: None };
const NO_CLOCKS: [Option<ClockReference>; 2] = [None, None];

/// One VP8 frame per packet with a 15-bit picture id and TL0PICIDX.
fn frame(layer: u8, seq: u64, timestamp: u32, picture_id: u16, keyframe: bool) -> (Meta, Vec<u8>) {
    let meta = Meta {
        layer: Layer(layer),
        codec: Codec::Vp8,
        seq: SeqNo(seq),
        timestamp,
        marker: true,
        keyframe,
        ..Meta::default()
    };
    let id = (picture_id | 0x8000).to_be_bytes();
    (meta, vec![0x90, 0xe0, id[0], id[1], picture_id as u8, 0x20, u8::from(!keyframe), 0xaa])
}

struct Receiver {
    rewriter: Rewriter,
    now: Instant,
}

impl Receiver {
    fn new() -> Self {
        Self { rewriter: Rewriter::new(5, Codec::Vp8, NUMBERS), now: Instant::now() }
    }
    /// What comes out: number, timestamp, picture id, TL0PICIDX.
    fn forward(&mut self, (meta, payload): (Meta, Vec<u8>)) -> Option<(u64, u32, u16, u8)> {
        self.forward_with(&NO_CLOCKS, (meta, payload))
    }
    fn forward_with(
        &mut self,
        clocks: &[Option<ClockReference>],
        (meta, payload): (Meta, Vec<u8>),
    ) -> Option<(u64, u32, u16, u8)> {
        let mut out = [0; 100];
        let (len, seq) = self.rewriter.forward(self.now, &meta, &payload, clocks, 0, &mut out)?;
        let header = Header::parse(&out[..len], &ExtensionMap::default()).expect("an RTP packet");
        assert_eq!((header.ssrc, header.sequence), (5, seq.wire()));
        assert_eq!(header.payload_type, self.rewriter.numbers.payload_type);
        let body = &out[header.len..len];
        assert_eq!(body.last(), Some(&0xaa));
        Some((seq.0, header.timestamp, u16::from_be_bytes([body[2], body[3]]) & 0x7fff, body[4]))
    }
}

#[test]
fn nothing_goes_out_before_a_key_frame() {
    let mut receiver = Receiver::new();
    assert_eq!(receiver.rewriter.current(), None);
    assert_eq!(receiver.forward(frame(0, 100, 0, 1, false)), None);
    let (first, ..) = receiver.forward(frame(0, 101, 3000, 2, true)).expect("forwarded");
    assert_eq!(receiver.rewriter.current(), Some(Layer(0)));
    assert_eq!(receiver.forward(frame(0, 100, 0, 1, false)), None, "a late packet of before the start");
    assert_eq!(receiver.forward(frame(0, 103, 9000, 4, false)), Some((first + 2, 9000, 4, 4)), "a gap stays a gap");
    assert_eq!(receiver.forward(frame(0, 102, 6000, 3, false)), Some((first + 1, 6000, 3, 3)), "and can be filled");
}

#[test]
fn a_switch_of_layers_is_seamless_for_the_receiver() {
    let mut receiver = Receiver::new();
    let (first, ..) = receiver.forward(frame(0, 100, 3000, 7, true)).expect("forwarded");
    receiver.rewriter.set_target(Layer(1));
    assert_eq!(receiver.forward(frame(1, 60_000, 90_000, 0x7ffe, false)), None, "no key frame yet");
    assert_eq!(receiver.forward(frame(0, 101, 6000, 8, false)), Some((first + 1, 6000, 8, 8)), "the old one goes on");
    receiver.now += Duration::from_millis(100);
    assert_eq!(receiver.forward(frame(1, 60_001, 99_000, 0x7fff, true)), Some((first + 2, 15_000, 9, 9)));
    assert_eq!(receiver.forward(frame(1, 60_002, 102_000, 0, false)), Some((first + 3, 18_000, 10, 10)));
    assert_eq!(receiver.forward(frame(0, 102, 9000, 9, false)), None, "the old layer has ended");
}

#[test]
fn sender_reports_place_the_new_layer_exactly() {
    let mut receiver = Receiver::new();
    let now = receiver.now;
    let clock = |rtp, ntp_ms: u64| {
        let ntp = (ntp_ms << 32) / 1000;
        Some(ClockReference { info: SenderInfo { ssrc: 1, ntp, rtp, packets: 0, octets: 0 }, at: now, epoch: Epoch(0) })
    };
    // The layers' clocks are 500,000 ticks apart; the second report is one second younger.
    let clocks = [clock(1_000, 5_000), clock(591_000, 6_000)];
    receiver.forward_with(&clocks, frame(0, 1, 1_000, 1, true)).expect("forwarded");
    receiver.rewriter.set_target(Layer(1));
    receiver.now += Duration::from_millis(213);
    let (_, timestamp, ..) = receiver.forward_with(&clocks, frame(1, 1, 519_000, 1, true)).expect("forwarded");
    assert_eq!(timestamp, 19_000, "200 ms after the last frame by the sender's clock, whatever the network did");
}

#[test]
fn a_packet_sent_again_has_the_same_bytes_also_across_a_switch() {
    let mut receiver = Receiver::new();
    let mut caches = [PacketCache::new(32), PacketCache::new(32)];
    let mut sent = Vec::new();
    for at in 0..10u64 {
        let layer = u8::from(at >= 5);
        receiver.rewriter.set_target(Layer(layer));
        let (meta, payload) = frame(layer, 1000 * u64::from(layer) + at, at as u32 * 3000, at as u16, at % 5 == 0);
        caches[layer as usize].insert(meta, &payload);
        let mut out = [0; 100];
        let (len, seq) =
            receiver.rewriter.forward(receiver.now, &meta, &payload, &NO_CLOCKS, 0, &mut out).expect("forwarded");
        sent.push((seq, out[..len].to_vec()));
    }
    for (seq, bytes) in &sent {
        let mut out = [0; 100];
        let find = |layer: Layer, seq| caches[layer.0 as usize].get(seq);
        let (len, again) = receiver.rewriter.retransmit(seq.wire(), find, 0, &mut out).expect("still cached");
        assert_eq!((again, &out[..len]), (*seq, &bytes[..]));
    }
    let unsent = sent[9].0.wire().wrapping_add(1);
    assert_eq!(receiver.rewriter.retransmit(unsent, |_, _| panic!("never sent"), 0, &mut [0; 100]), None);
}

#[test]
fn a_sender_report_follows_the_senders_clock() {
    let mut receiver = Receiver::new();
    assert_eq!(receiver.rewriter.sender_report(receiver.now, &NO_CLOCKS), None);
    receiver.forward(frame(0, 1, 5_000, 1, true)).expect("forwarded");
    let info = SenderInfo { ssrc: 1, ntp: 10 << 32, rtp: 4_000, packets: 0, octets: 0 };
    let clocks = [Some(ClockReference { info, at: receiver.now, epoch: Epoch(0) })];
    let report = receiver.rewriter.sender_report(receiver.now + Duration::from_secs(2), &clocks).expect("known");
    assert_eq!((report.ssrc, report.ntp, report.rtp, report.packets), (5, 12 << 32, 184_000, 1));
}

#[test]
fn a_number_goes_out_once_even_if_the_sender_uses_it_again_for_something_else() {
    let mut receiver = Receiver::new();
    assert!(receiver.forward(frame(0, 100, 3000, 7, true)).is_some());
    assert!(receiver.forward(frame(0, 101, 6000, 8, false)).is_some());
    assert_eq!(receiver.forward(frame(0, 101, 9000, 9, false)), None, "other bytes under the same nonce");
    assert!(receiver.forward(frame(0, 102, 9000, 9, false)).is_some());
}

fn of_epoch(epoch: u32, (meta, payload): (Meta, Vec<u8>)) -> (Meta, Vec<u8>) {
    (Meta { epoch: Epoch(epoch), ..meta }, payload)
}

#[test]
fn a_stream_that_begins_anew_under_lower_numbers_is_carried_over() {
    let mut receiver = Receiver::new();
    let (first, ..) = receiver.forward(frame(0, 60_000, 3000, 7, true)).expect("forwarded");
    receiver.forward(frame(0, 60_001, 6000, 8, false)).expect("forwarded");
    receiver.now += Duration::from_millis(100);
    assert_eq!(receiver.forward(of_epoch(1, frame(0, 11, 500, 90, false))), None, "no key frame yet");
    assert_eq!(receiver.forward(of_epoch(1, frame(0, 12, 900, 91, true))), Some((first + 2, 15_000, 9, 9)));
    assert_eq!(receiver.forward(of_epoch(1, frame(0, 13, 3900, 92, false))), Some((first + 3, 18_000, 10, 10)));
    assert_eq!(receiver.forward(frame(0, 60_003, 9000, 9, true)), None, "what comes late takes nothing back");
    assert_eq!(receiver.forward(of_epoch(1, frame(0, 14, 6900, 93, false))), Some((first + 4, 21_000, 11, 11)));
}

#[test]
fn sound_that_begins_anew_goes_on_with_its_first_packet() {
    let mut rewriter = Rewriter::new(5, Codec::Opus, NUMBERS);
    let packet = |epoch, seq| Meta { epoch: Epoch(epoch), seq: SeqNo(seq), keyframe: true, ..Meta::default() };
    let mut send = |epoch, seq| {
        let meta = packet(epoch, seq);
        rewriter.forward(Instant::now(), &meta, b"opus", &[], 0, &mut [0; 100]).map(|(_, seq)| seq.0)
    };
    let first = send(0, 900).expect("forwarded");
    assert_eq!([send(1, 5), send(1, 6), send(0, 901)], [Some(first + 1), Some(first + 2), None]);
}

#[test]
fn nothing_is_sent_again_out_of_another_stream() {
    let mut receiver = Receiver::new();
    let mut cache = PacketCache::new(32);
    let mut send = |receiver: &mut Receiver, (meta, payload): (Meta, Vec<u8>)| {
        cache.insert(meta, &payload);
        receiver.forward((meta, payload)).map(|(seq, ..)| seq as u16)
    };
    let old = send(&mut receiver, frame(0, 100, 3000, 7, true)).expect("forwarded");
    let new = send(&mut receiver, of_epoch(1, frame(0, 100, 3000, 70, true))).expect("forwarded");
    let mut out = [0; 100];
    assert_eq!(receiver.rewriter.retransmit(old, |_, seq| cache.get(seq), 0, &mut out), None);
    assert!(receiver.rewriter.retransmit(new, |_, seq| cache.get(seq), 0, &mut out).is_some());
}

#[test]
fn new_numbers_hold_for_new_packets_only() {
    let mut receiver = Receiver::new();
    let mut cache = PacketCache::new(32);
    let mut sent = Vec::new();
    for seq in 100..104u64 {
        if seq == 102 {
            receiver.rewriter.renumber(Numbers { payload_type: 120, ..NUMBERS });
        }
        let (meta, payload) = frame(0, seq, seq as u32 * 3000, seq as u16, seq == 100);
        cache.insert(meta, &payload);
        let mut out = [0; 100];
        let (len, seq) =
            receiver.rewriter.forward(receiver.now, &meta, &payload, &NO_CLOCKS, 0, &mut out).expect("forwarded");
        sent.push((seq, out[..len].to_vec()));
    }
    assert_eq!(sent.iter().map(|(_, bytes)| bytes[1] & 0x7f).collect::<Vec<_>>(), [96, 96, 120, 120]);
    for (seq, bytes) in &sent {
        let mut out = [0; 100];
        let (len, _) = receiver.rewriter.retransmit(seq.wire(), |_, seq| cache.get(seq), 0, &mut out).expect("cached");
        assert_eq!(&out[..len], &bytes[..], "the nonce is the same, so the bytes must be");
    }
}

#[test]
fn a_packet_of_another_codec_is_not_sent_as_what_it_is_not() {
    let mut receiver = Receiver::new();
    receiver.forward(frame(0, 100, 3000, 7, true)).expect("forwarded");
    let (meta, payload) = frame(0, 101, 6000, 8, true);
    assert_eq!(receiver.forward((Meta { codec: Codec::Av1, ..meta }, payload)), None);
    assert!(receiver.forward(frame(0, 102, 9000, 9, true)).is_some());
}

const RTX: Rtx = Rtx { payload_type: 97, ssrc: 6 };

#[test]
fn with_rtx_what_is_sent_again_has_a_stream_and_numbers_of_its_own() {
    let mut receiver = Receiver::new();
    receiver.rewriter = Rewriter::new(5, Codec::Vp8, Numbers { rtx: Some(RTX), transport_cc_id: 3, ..NUMBERS });
    let mut cache = PacketCache::new(32);
    let (mut out, mut sent) = ([0; 100], Vec::new());
    for at in 0..3u16 {
        let (meta, payload) = frame(0, 100 + u64::from(at), 3000, at, at == 0);
        cache.insert(meta, &payload);
        let (_, seq) =
            receiver.rewriter.forward(receiver.now, &meta, &payload, &NO_CLOCKS, at, &mut out).expect("sent");
        sent.push((seq.wire(), payload));
    }
    let ids = crate::rtp::ExtensionIds { transport_cc: 3, ..Default::default() };
    let mut numbers = Vec::new();
    for (again, (wire, payload)) in sent.iter().chain(&sent).enumerate() {
        let number = 100 + again as u16;
        let (len, seq) =
            receiver.rewriter.retransmit(*wire, |_, seq| cache.get(seq), number, &mut out).expect("cached");
        let header = Header::parse(&out[..len], &ExtensionMap::from(&ids)).expect("an RTP packet");
        assert_eq!((header.ssrc, header.payload_type, header.timestamp), (6, 97, 3000));
        assert_eq!((header.transport_cc, header.sequence), (Some(number), seq.wire()));
        assert_eq!(out[header.len..len], [&wire.to_be_bytes(), &payload[..]].concat());
        numbers.push(seq.0);
    }
    let (len, seq) = receiver.rewriter.pad(200, 9, &mut [0; 300]).expect("padding");
    numbers.push(seq.0);
    assert_eq!(len, 20 + 200);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[test]
fn without_rtx_a_packet_sent_again_keeps_its_transport_wide_number() {
    let mut receiver = Receiver::new();
    receiver.rewriter = Rewriter::new(5, Codec::Vp8, Numbers { transport_cc_id: 3, ..NUMBERS });
    let (meta, payload) = frame(0, 100, 3000, 7, true);
    let (mut first, mut again) = ([0; 100], [0; 100]);
    let (len, seq) =
        receiver.rewriter.forward(receiver.now, &meta, &payload, &NO_CLOCKS, 77, &mut first).expect("sent");
    let written = receiver.rewriter.retransmit(seq.wire(), |_, _| Some((&meta, &payload)), 78, &mut again);
    assert_eq!((written, &again[..len]), (Some((len, seq)), &first[..len]), "or its nonce would seal two packets");
    assert_eq!(receiver.rewriter.pad(200, 79, &mut again), None, "there is no stream for it");
}

#[test]
fn a_receiver_that_was_suspended_goes_on_with_a_key_frame_and_without_a_hole() {
    let mut receiver = Receiver::new();
    let (first, ..) = receiver.forward(frame(0, 100, 3000, 7, true)).expect("forwarded");
    receiver.rewriter.suspend();
    assert_eq!(receiver.rewriter.current(), None);
    for seq in 101..110 {
        assert_eq!(receiver.forward(frame(0, seq, 6000, 8, false)), None);
    }
    receiver.now += Duration::from_millis(400);
    assert_eq!(receiver.forward(frame(0, 110, 39_000, 17, true)), Some((first + 1, 39_000, 8, 8)));
    assert_eq!(receiver.forward(frame(0, 111, 42_000, 18, false)), Some((first + 2, 42_000, 9, 9)));
    assert_eq!(receiver.forward(frame(0, 105, 6000, 8, false)), None, "swallowed is swallowed");
}
