#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use crate::rtp::{ExtensionIds, Header};
use crate::sfu::cache::PacketCache;
use std::time::Duration;

const NO_CLOCKS: [Option<ClockReference>; 2] = [None, None];

/// One VP8 frame per packet with a 15-bit picture id and TL0PICIDX.
fn frame(layer: u8, seq: u64, timestamp: u32, picture_id: u16, keyframe: bool) -> (Meta, Vec<u8>) {
    let meta = Meta { layer: Layer(layer), seq: SeqNo(seq), timestamp, marker: true, keyframe, ..Meta::default() };
    let id = (picture_id | 0x8000).to_be_bytes();
    (meta, vec![0x90, 0xe0, id[0], id[1], picture_id as u8, 0x20, u8::from(!keyframe), 0xaa])
}

struct Receiver {
    rewriter: Rewriter,
    now: Instant,
}

impl Receiver {
    fn new() -> Self {
        Self { rewriter: Rewriter::new(5, Codec::Vp8, 96, 0), now: Instant::now() }
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
        let (len, seq) = self.rewriter.forward(self.now, &meta, &payload, clocks, &mut out)?;
        let header = Header::parse(&out[..len], &ExtensionIds::default()).expect("an RTP packet");
        assert_eq!((header.ssrc, header.payload_type, header.sequence), (5, 96, seq.wire()));
        let body = &out[header.len..len];
        assert_eq!(body.last(), Some(&0xaa));
        Some((seq.0, header.timestamp, u16::from_be_bytes([body[2], body[3]]) & 0x7fff, body[4]))
    }
}

#[test]
fn nothing_goes_out_before_a_key_frame() {
    let mut receiver = Receiver::new();
    assert!(receiver.rewriter.needs_keyframe());
    assert_eq!(receiver.forward(frame(0, 100, 0, 1, false)), None);
    let (first, ..) = receiver.forward(frame(0, 101, 3000, 2, true)).expect("forwarded");
    assert!(!receiver.rewriter.needs_keyframe());
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
        Some(ClockReference { info: SenderInfo { ssrc: 1, ntp, rtp, packets: 0, octets: 0 }, at: now })
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
            receiver.rewriter.forward(receiver.now, &meta, &payload, &NO_CLOCKS, &mut out).expect("forwarded");
        sent.push((seq, out[..len].to_vec()));
    }
    for (seq, bytes) in &sent {
        let mut out = [0; 100];
        let find = |layer: Layer, seq| caches[layer.0 as usize].get(seq);
        let (len, again) = receiver.rewriter.retransmit(seq.wire(), find, &mut out).expect("still cached");
        assert_eq!((again, &out[..len]), (*seq, &bytes[..]));
    }
    let unsent = sent[9].0.wire().wrapping_add(1);
    assert_eq!(receiver.rewriter.retransmit(unsent, |_, _| panic!("never sent"), &mut [0; 100]), None);
}

#[test]
fn a_sender_report_follows_the_senders_clock() {
    let mut receiver = Receiver::new();
    assert_eq!(receiver.rewriter.sender_report(receiver.now, &NO_CLOCKS), None);
    receiver.forward(frame(0, 1, 5_000, 1, true)).expect("forwarded");
    let info = SenderInfo { ssrc: 1, ntp: 10 << 32, rtp: 4_000, packets: 0, octets: 0 };
    let clocks = [Some(ClockReference { info, at: receiver.now })];
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
