//! STUN with ICE, RTP on its whole way through the SFU, RTCP.
use super::operations;
use crate::codec::{Codec, Vp8Descriptor};
use crate::demux::{Path, Protocol};
use crate::ice::{Check, Credentials, IceLite, MAX_PATHS};
use crate::rtcp::{self, Message, TransportCcRecorder, lost_packets};
use crate::rtp::{self, ExtensionIds, ExtensionMap, Header};
use crate::sfu::bandwidth::{Bandwidth, Bitrate, Sent};
use crate::sfu::cache::{MAX_PAYLOAD, PacketCache};
use crate::sfu::receive::{AnswerTime, Reception};
use crate::sfu::rewrite::{Numbers, Rewriter};
use crate::sfu::voice_activity::VoiceActivity;
use crate::sfu::{Epoch, Layer, Meta};
use crate::srtp::ReplayWindow;
use crate::stun::{MAX_ANSWER, Request, client};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Credentials of the agent in [`stun`]: a corpus signs with them.
pub const UFRAG: &str = "ours";
/// See [`UFRAG`].
pub const PASSWORD: &str = "a password of the harness";

/// Steps: 255 restarts ICE, 254 lets time pass, 253 forgets a path; others are requests from a path of that number.
pub fn stun(input: &[u8]) {
    let mut now = Instant::now();
    let local = Credentials { ufrag: UFRAG.into(), password: PASSWORD.into() };
    let mut agent = IceLite::new(local, Some("peer".into()));
    for step in operations(input) {
        let path = Path { protocol: Protocol::Udp, local: 0, remote: ([192, 0, 2, step.what], 5000).into() };
        match step.what {
            255 => agent.restart(Credentials::generate(), Some("peer".into())),
            254 => now += Duration::from_secs(step.bytes.len() as u64),
            253 => agent.forget(&path),
            _ => check(&mut agent, now, path, step.bytes),
        }
        assert!(agent.paths().len() <= MAX_PATHS);
        assert!(agent.selected().is_none_or(|path| agent.knows(&path)));
        let _ = (agent.liveness(now), agent.next_timeout(now));
    }
}

fn check(agent: &mut IceLite, now: Instant, path: Path, bytes: &[u8]) {
    if let Some(transaction) = bytes.get(8..20).and_then(|id| id.try_into().ok()) {
        let _ = client::mapped_address(transaction, bytes);
    }
    let Some(request) = Request::parse(bytes) else { return };
    let (check, answer) = agent.handle_check(now, path, &request);
    assert_eq!(answer.is_some(), check != Check::Ignored, "only what is authentic is answered");
    let Some(answer) = answer else { return };
    assert_eq!(request.ufrags(), Some((UFRAG, "peer")));
    let answer = answer.as_ref();
    assert!(answer.len() <= MAX_ANSWER);
    assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])) + 20, answer.len());
    assert_eq!(answer[8..20], request.transaction);
}

const IDS: ExtensionIds = ExtensionIds { mid: 4, rid: 10, repaired_rid: 11, audio_level: 1, transport_cc: 3 };

/// Steps: a packet each; the number picks codec and layer, 255 begins the stream anew, 254 changes the receivers' numbers,
/// 253 suspends them.
/// Every 16th reports.
pub fn rtp(input: &[u8]) {
    let map = ExtensionMap::from(&IDS);
    let mut epoch = Epoch(0);
    let mut now = Instant::now();
    let mut window = ReplayWindow::default();
    let mut reception = Reception::new(7, Epoch(0), 90_000, true, now);
    let mut arrivals = TransportCcRecorder::new(now);
    let mut voice = VoiceActivity::default();
    let mut cache = PacketCache::new(32);
    let codecs = [Codec::Opus, Codec::Vp8, Codec::Av1];
    let mut rewriters = codecs
        .map(|codec| Rewriter::new(5, codec, Numbers { payload_type: 96, audio_level_id: 1, ..Numbers::default() }));
    let mut out = [0; 2048];
    let mut sent = HashMap::new();
    for (count, step) in operations(input).enumerate() {
        now += Duration::from_millis(u64::from(step.what));
        if step.what == 255 {
            window = ReplayWindow::default();
            epoch.0 += 1;
            reception = Reception::new(7, epoch, 90_000, true, now);
        }
        if step.what == 254 {
            let numbers =
                Numbers { payload_type: 96 + step.bytes.len() as u8 % 16, audio_level_id: 2, ..Numbers::default() };
            rewriters.iter_mut().for_each(|rewriter| rewriter.renumber(numbers));
        }
        if step.what == 253 {
            rewriters.iter_mut().for_each(Rewriter::suspend);
        }
        let packet = step.bytes;
        let Some(header) = Header::parse(packet, &map) else { continue };
        assert_eq!(rtp::header_len(packet), Some(header.len));
        let payload = &packet[header.len..];
        let seq = window.extend(header.sequence);
        if payload.len() > MAX_PAYLOAD || !window.is_fresh(seq) {
            continue;
        }
        window.commit(seq);
        reception.handle_packet(now, seq, header.timestamp);
        if let Some(number) = header.transport_cc {
            arrivals.record(now, header.ssrc, number);
        }
        if let Some(level) = header.audio_level {
            let _ = voice.handle_level(now, level);
            assert!(voice.next_timeout().is_none_or(|due| due > now));
        }
        let which = usize::from(step.what) % codecs.len();
        let meta = Meta {
            layer: Layer(step.what >> 7),
            epoch,
            codec: codecs[which],
            seq,
            timestamp: header.timestamp,
            marker: header.marker,
            padding: packet[0] & 0x20 != 0,
            keyframe: codecs[which].is_keyframe_start(payload),
            audio_level: header.audio_level,
        };
        let _ = Vp8Descriptor::parse(payload);
        cache.insert(meta, payload);
        rewriters[which].set_target(Layer(u8::from(step.what & 0x40 != 0)));
        if let Some((len, number)) = rewriters[which].forward(now, &meta, payload, &[], 0, &mut out) {
            let read = Header::parse(&out[..len], &map).expect("what we send is RTP");
            assert_eq!((read.ssrc, read.sequence, len - read.len), (5, number.wire(), payload.len()));
            let first = out[..len].to_vec();
            let before = sent.insert((which, number), first.clone());
            assert!(before.is_none(), "{number:?} goes out twice: one nonce for two packets");
            let find = |_, seq| cache.get(seq);
            if let Some((again, same)) = rewriters[which].retransmit(number.wire(), find, 0, &mut out) {
                let first = sent.get(&(which, same)).map(Vec::as_slice);
                assert_eq!(first, Some(&out[..again]), "a retransmission is the same packet");
            }
        }
        if count % 16 == 15 {
            feedback(&mut reception, &mut arrivals, now);
        }
    }
    feedback(&mut reception, &mut arrivals, now);
}

fn feedback(reception: &mut Reception, arrivals: &mut TransportCcRecorder, now: Instant) {
    let mut missing = Vec::new();
    let _ = reception.poll_missing(now, &AnswerTime::default(), &mut missing);
    let mut compound = Vec::new();
    let report = reception.report(now);
    rtcp::receiver_report(&mut compound, 1, report.as_slice());
    rtcp::nack(&mut compound, 1, 7, &missing);
    if arrivals.is_pending() {
        arrivals.write(&mut compound, 1);
    }
    assert!(rtcp::read(&compound, |_| ()), "what we write can be read");
}

/// The input is one compound packet (RFC 3550, section 6.1).
pub fn rtcp(input: &[u8]) {
    let now = Instant::now();
    let mut reception = Reception::new(7, Epoch(0), 48_000, false, now);
    let mut bandwidth = Bandwidth::new(now);
    (0..100).for_each(|_| _ = bandwidth.handle_sent(now, 1000, Sent::Media));
    let (mut messages, mut lost) = (0, 0);
    rtcp::read(input, |message| {
        messages += 1;
        match message {
            Message::Nack { pairs, .. } => lost += lost_packets(pairs).count(),
            Message::Sender(info) => reception.handle_sender_info(now, info),
            Message::TransportCc(feedback) => {
                let arrivals = feedback.arrivals().count();
                assert!(
                    arrivals <= usize::from(feedback.count) && arrivals <= input.len(),
                    "each arrival has its delta"
                );
            }
            Message::Remb(estimate) => {
                assert!(estimate.ssrcs().count() <= input.len() / 4);
                bandwidth.handle_remb(now, Bitrate(estimate.bitrate));
            }
            Message::Report(block) => bandwidth.handle_report(now, block.fraction_lost, None),
            Message::Pli { .. } | Message::Fir { .. } => {}
        }
    });
    assert!(messages <= input.len(), "each message takes bytes");
    assert!(lost <= 17 * input.len() / 4);
    let _ = (reception.clock(), reception.report(now + Duration::from_secs(3600)));
}
