#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use std::time::Duration;

/// Runs a handshake in memory; `lost` says which datagrams of the client do not arrive the first time.
fn handshake(client: &mut Dtls, server: &mut Dtls, mut now: Instant, lost: Option<usize>) -> Result<bool, DtlsError> {
    let mut sent = 0;
    let (mut client_up, mut server_up) = (false, false);
    for _ in 0..40 {
        let mut idle = true;
        while let Some(datagram) = client.poll_datagram() {
            idle = false;
            sent += 1;
            if lost != Some(sent - 1) {
                server.handle_datagram(now, &datagram)?;
            }
        }
        while let Some(datagram) = server.poll_datagram() {
            idle = false;
            client.handle_datagram(now, &datagram)?;
        }
        while let Some(event) = client.poll_event() {
            client_up |= matches!(event, DtlsEvent::Connected(_));
        }
        while let Some(event) = server.poll_event() {
            server_up |= matches!(event, DtlsEvent::Connected(_));
        }
        if client_up && server_up {
            return Ok(true);
        }
        if idle {
            now += Duration::from_millis(1100);
            client.handle_timeout(now)?;
            server.handle_timeout(now)?;
        }
    }
    Ok(false)
}

fn pair(now: Instant) -> (Dtls, Dtls) {
    let (ours, theirs) = (Identity::generate().expect("certificate"), Identity::generate().expect("certificate"));
    let client = Dtls::new(&theirs, Role::Client, ours.fingerprint(), now).expect("client");
    let server = Dtls::new(&ours, Role::Server, theirs.fingerprint(), now).expect("server");
    (client, server)
}

#[test]
fn two_sides_agree_and_carry_data() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    assert_eq!(handshake(&mut client, &mut server, now, None), Ok(true));
    client.send(b"hello").expect("sent");
    let datagram = client.poll_datagram().expect("a record");
    server.handle_datagram(now, &datagram).expect("read");
    assert!(matches!(server.poll_event(), Some(DtlsEvent::Data(bytes)) if bytes == b"hello"));
}

#[test]
fn a_lost_datagram_of_the_handshake_is_repeated() {
    for lost in 0..3 {
        let now = Instant::now();
        let (mut client, mut server) = pair(now);
        assert_eq!(handshake(&mut client, &mut server, now, Some(lost)), Ok(true), "datagram {lost}");
    }
}

#[test]
fn a_certificate_other_than_announced_ends_the_session() {
    let now = Instant::now();
    let (ours, theirs) = (Identity::generate().expect("certificate"), Identity::generate().expect("certificate"));
    let mut client = Dtls::new(&theirs, Role::Client, ours.fingerprint(), now).expect("client");
    let mut server = Dtls::new(&ours, Role::Server, ours.fingerprint(), now).expect("server");
    assert_eq!(handshake(&mut client, &mut server, now, None), Err(DtlsError::FingerprintMismatch));
    assert!(server.poll_event().is_none());
}

#[test]
fn a_fingerprint_survives_its_text_form() {
    let fingerprint = Identity::generate().expect("certificate").fingerprint();
    assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
    assert_eq!(Fingerprint::parse(&fingerprint.to_string().to_lowercase()), Some(fingerprint));
    assert_eq!(Fingerprint::parse("sha-1 AA:BB"), None);
    assert_eq!(Fingerprint::parse("sha-256 AA:BB"), None);
}
