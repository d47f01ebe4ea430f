use super::*;
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
        assert_eq!(unprotector.stream_count(), 0);
        assert!(unprotector.unprotect_rtp(&mut packet.clone()).is_ok());
    }
}

#[test]
fn streams_of_a_peer_are_bounded() {
    let (mut protector, _) = material(Profile::AeadAes128Gcm).split(true);
    let (_, mut unprotector) = material(Profile::AeadAes128Gcm).split(false);
    for ssrc in 0..1000u32 {
        let mut buffer = voice(1);
        buffer[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let plain = buffer.len();
        buffer.resize(plain + MAX_OVERHEAD, 0);
        let len = protector.protect_rtp(&mut buffer, plain, SeqNo(1)).expect("protected");
        assert!(unprotector.unprotect_rtp(&mut buffer[..len]).is_ok());
    }
    assert_eq!(unprotector.stream_count(), 64);
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
