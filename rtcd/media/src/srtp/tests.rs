use super::*;
use crate::rtp::SeqNo;
use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

const PROFILES: [Profile; 3] = [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::AesCm128HmacSha1_80];

fn material(profile: Profile) -> KeyingMaterial {
    KeyingMaterial::new(profile, &(0..=255).collect::<Vec<u8>>()).expect("enough bytes")
}

/// What the peer's stack, an independent implementation, makes of the same keys.
fn oracle(profile: Profile, of_client: bool) -> Context {
    let material = material(profile);
    let master = material.master(of_client);
    let profile = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let provider = rtc_crypto::providers::AwsLcRsProvider::new();
    Context::new(master.key, master.salt, profile, None, None, provider.crypto()).expect("keys fit the profile")
}

fn voice(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x90, 111, 0, 0, 0, 0, 3, 192, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend(b"some opus frame");
    packet
}

const RECEIVER_REPORT: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 1];

#[test]
fn an_independent_implementation_opens_what_we_protect() {
    for profile in PROFILES {
        let (mut protector, _) = material(profile).split(false);
        let mut theirs = oracle(profile, false);
        // Across a roll-over of the sequence number.
        for seq in 65_530..65_550u64 {
            let plain = voice(seq as u16);
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + MAX_OVERHEAD, 0);
            let len = protector.protect_rtp(&mut buffer, plain.len(), SeqNo(seq)).expect("protected");
            assert_eq!(len, plain.len() + protector.rtp_overhead());
            let opened = theirs.decrypt_rtp(&buffer[..len]).expect("the oracle opens it");
            assert_eq!(&opened[..], &plain[..], "{profile:?} {seq}");
        }
        for _ in 0..3 {
            let mut buffer = RECEIVER_REPORT.to_vec();
            buffer.resize(8 + MAX_OVERHEAD, 0);
            let len = protector.protect_rtcp(&mut buffer, 8).expect("protected");
            assert_eq!(&theirs.decrypt_rtcp(&buffer[..len]).expect("the oracle opens it")[..], RECEIVER_REPORT);
        }
    }
}

#[test]
fn what_an_independent_implementation_protects_is_opened() {
    for profile in PROFILES {
        let (_, mut unprotector) = material(profile).split(false);
        let mut theirs = oracle(profile, true);
        for seq in 65_530..65_550u64 {
            let plain = voice(seq as u16);
            let mut packet = theirs.encrypt_rtp(&plain).expect("the oracle protects it").to_vec();
            let (len, extended) = unprotector.unprotect_rtp(&mut packet).expect("authentic");
            assert_eq!((&packet[..len], extended), (&plain[..], SeqNo(seq)), "{profile:?}");
        }
        let mut packet = theirs.encrypt_rtcp(RECEIVER_REPORT).expect("the oracle protects it").to_vec();
        let len = unprotector.unprotect_rtcp(&mut packet).expect("authentic");
        assert_eq!(&packet[..len], RECEIVER_REPORT);
    }
}

fn protected(profile: Profile, sequence: u16) -> Vec<u8> {
    let (mut protector, _) = material(profile).split(true);
    let mut buffer = voice(sequence);
    let plain = buffer.len();
    buffer.resize(plain + MAX_OVERHEAD, 0);
    let len = protector.protect_rtp(&mut buffer, plain, SeqNo(u64::from(sequence))).expect("protected");
    buffer.truncate(len);
    buffer
}

#[test]
fn a_replayed_packet_is_refused() {
    for profile in PROFILES {
        let (_, mut unprotector) = material(profile).split(false);
        let packet = protected(profile, 7);
        assert!(unprotector.unprotect_rtp(&mut packet.clone()).is_ok());
        assert_eq!(unprotector.unprotect_rtp(&mut packet.clone()), Err(SrtpError::Replayed));
    }
}

#[test]
fn a_packet_changed_in_any_byte_is_refused_and_leaves_no_trace() {
    for profile in PROFILES {
        let (_, mut unprotector) = material(profile).split(false);
        let packet = protected(profile, 7);
        for at in 0..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 0x01;
            assert!(unprotector.unprotect_rtp(&mut changed).is_err(), "{profile:?} byte {at}");
        }
        assert_eq!(unprotector.stream_count(), (0, 0));
        assert!(unprotector.unprotect_rtp(&mut packet.clone()).is_ok());
    }
}

/// A peer that numbers SRTCP for each SSRC, as libsrtp does: one protector for each.
fn report(protector: &mut Protector, ssrc: u32) -> Vec<u8> {
    let mut buffer = RECEIVER_REPORT.to_vec();
    buffer[4..8].copy_from_slice(&ssrc.to_be_bytes());
    buffer.resize(8 + MAX_OVERHEAD, 0);
    let len = protector.protect_rtcp(&mut buffer, 8).expect("protected");
    buffer.truncate(len);
    buffer
}

fn packet_of(protector: &mut Protector, ssrc: u32, seq: u64) -> Vec<u8> {
    let mut buffer = voice(seq as u16);
    buffer[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let plain = buffer.len();
    buffer.resize(plain + MAX_OVERHEAD, 0);
    let len = protector.protect_rtp(&mut buffer, plain, SeqNo(seq)).expect("protected");
    buffer.truncate(len);
    buffer
}

#[test]
fn each_sender_of_a_transport_numbers_its_reports_for_itself() {
    for profile in PROFILES {
        let (_, mut unprotector) = material(profile).split(false);
        // The camera reports often, the voice seldom: its numbers stay far behind.
        let (mut camera, _) = material(profile).split(true);
        let (mut voice, _) = material(profile).split(true);
        for round in 0..3000 {
            assert!(unprotector.unprotect_rtcp(&mut report(&mut camera, 1)).is_ok(), "{profile:?} {round}");
            if round % 10 == 0 {
                let packet = report(&mut voice, 2);
                assert!(unprotector.unprotect_rtcp(&mut packet.clone()).is_ok(), "{profile:?} {round}");
                assert_eq!(unprotector.unprotect_rtcp(&mut packet.clone()), Err(SrtpError::Replayed));
            }
        }
        assert_eq!(unprotector.stream_count(), (0, 2));
    }
}

#[test]
fn streams_of_a_peer_are_bounded() {
    let (mut protector, _) = material(Profile::AeadAes128Gcm).split(true);
    let (_, mut unprotector) = material(Profile::AeadAes128Gcm).split(false);
    for ssrc in 0..3000u32 {
        assert!(unprotector.unprotect_rtp(&mut packet_of(&mut protector, ssrc, 1)).is_ok());
        assert!(unprotector.unprotect_rtcp(&mut report(&mut protector, ssrc)).is_ok());
    }
    assert_eq!(unprotector.stream_count(), (streams::MAX_STREAMS, streams::MAX_STREAMS));
}

#[test]
fn a_stream_that_is_heard_all_the_time_keeps_its_window_however_old_it_is() {
    let (mut protector, _) = material(Profile::AeadAes128Gcm).split(true);
    let (_, mut unprotector) = material(Profile::AeadAes128Gcm).split(false);
    // The first stream has wrapped once; if it were forgotten, its roll-over counter would be lost.
    for seq in [65_000, 65_600] {
        assert!(unprotector.unprotect_rtp(&mut packet_of(&mut protector, 7, seq)).is_ok());
    }
    for ssrc in 0..300u32 {
        let seq = 65_602 + 2 * u64::from(ssrc);
        let mut opened = |seq| unprotector.unprotect_rtp(&mut packet_of(&mut protector, 7, seq)).map(|(_, seq)| seq.0);
        assert_eq!(opened(seq), Ok(seq));
        // One that comes late is told from one that was seen: the window is still there.
        assert_eq!(opened(seq - 1), Ok(seq - 1));
        assert_eq!(opened(seq - 1), Err(SrtpError::Replayed));
        assert!(unprotector.unprotect_rtp(&mut packet_of(&mut protector, 100 + ssrc, 1)).is_ok());
    }
}

#[test]
fn a_stream_that_made_room_and_comes_back_goes_on_and_cannot_be_replayed() {
    let (mut protector, _) = material(Profile::AeadAes128Gcm).split(true);
    let (mut reporter, _) = material(Profile::AeadAes128Gcm).split(true);
    let (_, mut unprotector) = material(Profile::AeadAes128Gcm).split(false);
    for seq in [65_000, 65_600] {
        assert!(unprotector.unprotect_rtp(&mut packet_of(&mut protector, 7, seq)).is_ok());
    }
    let recorded = (packet_of(&mut protector, 7, 65_601), report(&mut reporter, 7));
    assert!(unprotector.unprotect_rtp(&mut recorded.0.clone()).is_ok());
    assert!(unprotector.unprotect_rtcp(&mut recorded.1.clone()).is_ok());
    for ssrc in 100..200u32 {
        assert!(unprotector.unprotect_rtp(&mut packet_of(&mut protector, ssrc, 1)).is_ok());
        assert!(unprotector.unprotect_rtcp(&mut report(&mut protector, ssrc)).is_ok());
    }
    assert_eq!(unprotector.unprotect_rtp(&mut recorded.0.clone()), Err(SrtpError::Replayed));
    assert_eq!(unprotector.unprotect_rtcp(&mut recorded.1.clone()), Err(SrtpError::Replayed));
    let next = unprotector.unprotect_rtp(&mut packet_of(&mut protector, 7, 65_602));
    assert_eq!(next.map(|(_, seq)| seq.0), Ok(65_602), "under its roll-over counter");
    assert!(unprotector.unprotect_rtcp(&mut report(&mut reporter, 7)).is_ok());
}

#[test]
fn the_keys_of_rfc_3711_appendix_b_3_are_derived() {
    let key = [0xE1, 0xF9, 0x7A, 0x0D, 0x3E, 0x01, 0x8B, 0xE0, 0xD6, 0x4F, 0xA3, 0x2C, 0x06, 0xDE, 0x41, 0x39];
    let salt = [0x0E, 0xC6, 0x75, 0xAD, 0x49, 0x8A, 0xFE, 0xEB, 0xB6, 0x96, 0x0B, 0x3A, 0xAB, 0xE6];
    let crypt =
        crypt::Crypt::new(Profile::AesCm128HmacSha1_80, &Master { key: &key, salt: &salt }, crypt::Purpose::Rtp);
    let crypt::Crypt::Cm { salt, .. } = crypt else { panic!("the profile is counter mode") };
    assert_eq!(salt, [0x30, 0xCB, 0xBC, 0x08, 0x86, 0x3D, 0x8C, 0x85, 0xD4, 0x9D, 0xB3, 0x4A, 0x9A, 0xE1]);
}
