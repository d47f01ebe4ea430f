#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use crate::demux::Protocol;
use aws_lc_rs::hmac;

fn credentials() -> Credentials {
    Credentials { ufrag: "local".into(), password: "a password of our own".into() }
}

fn path(port: u16) -> Path {
    Path { protocol: Protocol::Udp, local: 0, remote: ([192, 0, 2, 1], port).into() }
}

/// A check as a full agent sends it; written apart from the parser that reads it.
pub(crate) fn check(username: &str, password: &str, extra: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([9; 12]);
    let attribute = |bytes: &mut Vec<u8>, kind: u16, value: &[u8]| {
        bytes.extend(kind.to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    let set_len = |bytes: &mut Vec<u8>, len: usize| bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    attribute(&mut bytes, 0x0006, username.as_bytes());
    for (kind, value) in extra {
        attribute(&mut bytes, *kind, value);
    }
    let len = bytes.len() - 20 + 24;
    set_len(&mut bytes, len);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let tag = hmac::sign(&key, &bytes);
    attribute(&mut bytes, 0x0008, tag.as_ref());
    set_len(&mut bytes, len + 8);
    let mut crc = !0u32;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
        }
    }
    attribute(&mut bytes, 0x8028, &(!crc ^ 0x5354_554e).to_be_bytes());
    bytes
}

fn handle(ice: &mut IceLite, now: Instant, path: Path, bytes: &[u8]) -> Check {
    ice.handle_check(now, path, &Request::parse(bytes).expect("well formed")).0
}

#[test]
fn an_authentic_check_makes_a_path_and_a_wrong_one_is_met_with_silence() {
    let now = Instant::now();
    let mut ice = IceLite::new(credentials(), Some("peer".into()));
    let password = credentials().password;
    assert_eq!(handle(&mut ice, now, path(1), &check("local:peer", "wrong", &[])), Check::Ignored);
    assert_eq!(handle(&mut ice, now, path(1), &check("local:other", &password, &[])), Check::Ignored);
    assert_eq!(handle(&mut ice, now, path(1), &check("nobody:peer", &password, &[])), Check::Ignored);
    assert_eq!((ice.selected(), ice.liveness(now)), (None, Liveness::New));
    assert_eq!(
        handle(&mut ice, now, path(1), &check("local:peer", &password, &[])),
        Check::Accepted { new_path: true }
    );
    assert_eq!((ice.selected(), ice.liveness(now)), (Some(path(1)), Liveness::Connected));
}

#[test]
fn the_last_nomination_wins_and_a_plain_check_does_not_move_the_path() {
    let now = Instant::now();
    let mut ice = IceLite::new(credentials(), Some("peer".into()));
    let plain = check("local:peer", &credentials().password, &[]);
    let nominating = check("local:peer", &credentials().password, &[(0x0025, &[])]);
    handle(&mut ice, now, path(1), &nominating);
    handle(&mut ice, now, path(2), &plain);
    assert_eq!(ice.selected(), Some(path(1)));
    handle(&mut ice, now, path(2), &nominating);
    assert_eq!(ice.selected(), Some(path(2)));
}

#[test]
fn a_peer_in_the_controlled_role_is_told_to_switch_and_gets_no_path() {
    let now = Instant::now();
    let mut ice = IceLite::new(credentials(), Some("peer".into()));
    let bytes = check("local:peer", &credentials().password, &[(0x8029, &[0; 8])]);
    let (verdict, answer) = ice.handle_check(now, path(1), &Request::parse(&bytes).expect("well formed"));
    assert_eq!(verdict, Check::Refused);
    let answer = answer.expect("an error answer");
    assert_eq!(&answer.as_ref()[..2], &[0x01, 0x11]);
    assert_eq!(&answer.as_ref()[26..28], &[4, 87], "487");
    assert_eq!(ice.selected(), None);
}

#[test]
fn after_a_restart_old_checks_count_until_the_first_new_one() {
    let now = Instant::now();
    let mut ice = IceLite::new(credentials(), Some("peer".into()));
    let old = check("local:peer", &credentials().password, &[]);
    handle(&mut ice, now, path(1), &old);
    ice.restart(Credentials { ufrag: "again".into(), password: "the next password".into() }, Some("anew".into()));
    assert_eq!(handle(&mut ice, now, path(1), &old), Check::Accepted { new_path: false });
    let new = check("again:anew", "the next password", &[]);
    assert_eq!(handle(&mut ice, now, path(3), &new), Check::Accepted { new_path: true });
    assert_eq!(handle(&mut ice, now, path(1), &old), Check::Ignored);
    assert_eq!(ice.selected(), Some(path(3)));
}

#[test]
fn missing_checks_are_noticed_and_end_the_consent() {
    let now = Instant::now();
    let mut ice = IceLite::new(credentials(), None);
    handle(&mut ice, now, path(1), &check("local:any", &credentials().password, &[]));
    assert_eq!(ice.next_timeout(now), Some(now + DISCONNECTED_AFTER));
    assert_eq!(ice.liveness(now + DISCONNECTED_AFTER), Liveness::Disconnected);
    assert_eq!(ice.next_timeout(now + DISCONNECTED_AFTER), Some(now + FAILED_AFTER));
    assert_eq!(ice.liveness(now + FAILED_AFTER), Liveness::Failed);
}

#[test]
fn paths_are_bounded_and_the_selected_one_stays() {
    let now = Instant::now();
    let mut ice = IceLite::new(credentials(), None);
    let password = credentials().password;
    handle(&mut ice, now, path(1), &check("local:a", &password, &[(0x0025, &[])]));
    for port in 2..100 {
        handle(&mut ice, now, path(port), &check("local:a", &password, &[]));
    }
    assert_eq!((ice.paths().len(), ice.knows(&path(1)), ice.selected()), (MAX_PATHS, true, Some(path(1))));
}
