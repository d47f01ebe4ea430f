//! Harnesses for what clients and participants say to the control side, for frames in TCP, and for the reference's store;
//! see `rtcd_media::fuzzing` for the rest.
use crate::plane::deframer::{Deframer, FrameTooLong, MAX_FRAME};
use crate::signal::data_channel::{self, MAX_SDP, PeerMessage};
use crate::signal::message::{ClientMessage, MAX_ID_LEN};
use crate::signal::negotiation::{Negotiation, Sending};
use crate::store::bitcask;
use rtcd_media::codec::Codec;
use rtcd_media::dtls::Fingerprint;
use rtcd_media::fuzzing::operations;
use rtcd_media::sdp::{Description, MediaKind, Mid, SdpError};

/// One frame of a client.
pub fn client_message(input: &[u8]) {
    let Ok(message) = ClientMessage::decode(input) else { return };
    if let ClientMessage::Leave { session } | ClientMessage::Reconnect { session } = &message {
        assert!(session.as_str().len() <= MAX_ID_LEN);
    }
    assert_eq!(ClientMessage::decode(&message.encode()), Ok(message), "what was read can be written");
}

/// One binary message of a participant.
pub fn data_channel_message(input: &[u8]) {
    match PeerMessage::decode(input) {
        Ok(PeerMessage::Sdp(compressed)) => {
            let Ok(json) = data_channel::inflate(&compressed) else { return };
            assert!(json.len() <= MAX_SDP);
            let again = PeerMessage::decode(&data_channel::sdp(&json));
            let Ok(PeerMessage::Sdp(again)) = again else { panic!("what was read can be written") };
            assert_eq!(data_channel::inflate(&again), Ok(json));
        }
        Ok(PeerMessage::LossRate(value) | PeerMessage::RoundTripTime(value) | PeerMessage::Jitter(value)) => {
            assert!(value.is_finite() && value >= 0.0);
        }
        Ok(_) | Err(_) => {}
    }
}

/// A data file of bitcask, read as either version, and an index. All bytes are entries, each as it was written, and a rest.
pub fn bitcask(input: &[u8]) {
    for version in 0..2 {
        let config = format!(r#"{{"max_key_size":0,"max_value_size":0,"db_version":{version}}}"#);
        let Ok(format) = bitcask::Format::parse(config.as_bytes()) else { unreachable!("written by hand") };
        let mut again = Vec::new();
        let torn = format.read(input, |entry| {
            assert!(!entry.key.is_empty());
            again.extend((entry.key.len() as u32).to_be_bytes());
            again.extend((entry.value.len() as u64).to_be_bytes());
            again.extend([entry.key, entry.value, &crc32fast::hash(entry.value).to_be_bytes()].concat());
            if version == 1 {
                again.extend(entry.expires.to_be_bytes());
            }
        });
        assert!(input.starts_with(&again), "what was read can be written");
        if let Ok(torn) = torn {
            assert_eq!(again.len() + torn, input.len());
        }
    }
    // Each place takes 24 bytes and a key.
    assert!(bitcask::index(input).is_none_or(|places| places.len() * 24 <= input.len()));
    let _ = bitcask::Format::parse(input);
}

/// Each step's bytes are one read from a connection; the frames must be those of all bytes at once.
pub fn tcp_framing(input: &[u8]) {
    let mut deframer = Deframer::default();
    let (mut all, mut frames) = (Vec::new(), Vec::new());
    let mut verdict = Ok(());
    for step in operations(input) {
        deframer.push(step.bytes);
        all.extend_from_slice(step.bytes);
        loop {
            match deframer.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(too_long) => {
                    verdict = Err(too_long);
                    break;
                }
            }
        }
        if verdict.is_err() {
            break;
        }
    }
    let mut rest = &all[..];
    for frame in &frames {
        let Some((header, behind)) = rest.split_first_chunk::<2>() else { panic!("a frame out of nothing") };
        assert_eq!(usize::from(u16::from_be_bytes(*header)), frame.len());
        assert!(frame.len() <= MAX_FRAME && behind.starts_with(frame));
        rest = &behind[frame.len()..];
    }
    match (verdict, rest.first_chunk()) {
        (Err(FrameTooLong(len)), Some(header)) => assert_eq!(len, usize::from(u16::from_be_bytes(*header))),
        (Err(_), None) => panic!("too long without a header"),
        (Ok(()), header) => {
            assert!(header.is_none_or(|header| usize::from(u16::from_be_bytes(*header)) + 2 > rest.len()))
        }
    }
    assert_eq!(deframer.into_rest(), rest, "what was not taken can be handed on");
}

/// Steps, modulo 6: 0 and 1 an offer, 2 an answer, 3 a stream of ours and an offer of ours, 4 our offer is given up,
/// 5 all tracks are welcomed.
pub fn negotiation(input: &[u8]) {
    let mut negotiation = Negotiation::new();
    let value = format!("sha-256 {}", ["AB"; 32].join(":"));
    let Some(fingerprint) = Fingerprint::parse(&value) else { unreachable!("written by hand") };
    for (count, step) in operations(input).take(64).enumerate() {
        let text = String::from_utf8_lossy(step.bytes);
        let ours = match step.what % 6 {
            0 | 1 => {
                let Ok(offer) = Description::parse(&text) else { continue };
                if negotiation.apply_offer(offer).is_err() {
                    continue;
                }
                negotiation.answer(fingerprint, &[])
            }
            2 => {
                let Ok(answer) = Description::parse(&text) else { continue };
                // A refusal leaves the offer pending, as the daemon does until its timeout.
                let _ = negotiation.apply_answer(answer);
                continue;
            }
            3 if negotiation.remote_fingerprint().is_some() && !negotiation.is_pending() => {
                let (kind, codec) = [(MediaKind::Audio, Codec::Opus), (MediaKind::Video, Codec::Vp8)][count % 2];
                let (stream_id, track_id) = ("sender".into(), format!("voice_sender_{count:08}"));
                let (ssrc, rtx_ssrc) = (count as u32 + 1, codec.is_video().then_some(count as u32 + 1000));
                negotiation.add_sending(kind, Sending { ssrc, rtx_ssrc, codec, stream_id, track_id });
                negotiation.offer(count % 3 == 0, fingerprint, &[])
            }
            4 => {
                negotiation.give_up_offer();
                continue;
            }
            5 => {
                let mids: Vec<Mid> = negotiation.offered_tracks().map(|media| media.mid.clone()).collect();
                mids.iter().for_each(|mid| negotiation.accept(mid));
                continue;
            }
            _ => continue,
        };
        match Description::parse(&ours) {
            Ok(read) => assert_eq!(read.fingerprint, fingerprint, "\n{ours}"),
            // What turns down every media section has no transport to describe (RFC 8829 section 5.3.1).
            Err(SdpError::Missing("ice-ufrag")) => assert!(turns_down_all(&ours), "\n{ours}"),
            Err(error) => panic!("our description cannot be read: {error}\n{ours}"),
        }
    }
}

fn turns_down_all(description: &str) -> bool {
    let mut ports = description.lines().filter(|line| line.starts_with("m=")).map(|line| line.split(' ').nth(1));
    ports.all(|port| port == Some("0"))
}
