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
fn the_handshake_is_forgotten_when_it_is_behind_both_sides_and_no_sooner() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    assert_eq!(handshake(&mut client, &mut server, now, None), Ok(true));
    assert!(client.state().is_some(), "the server's flight is the last one");
    assert!(server.state().is_none(), "the client may not have it");
    assert!(server.next_timeout().is_some(), "it is sent again");
    client.send(b"hello").expect("sent");
    server.handle_datagram(now, &client.poll_datagram().expect("a record")).expect("read");
    assert!(server.state().is_some());
    assert_eq!(server.next_timeout(), None);
    let (mut other, mut told) = pair(now);
    assert_eq!(handshake(&mut other, &mut told, now, None), Ok(true));
    told.confirm();
    assert!(told.state().is_some(), "media says it, too");
    other.close();
    told.handle_datagram(now, &other.poll_datagram().expect("a goodbye")).expect("read");
    assert!(matches!(told.poll_event(), Some(DtlsEvent::Closed)));
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

/// What the peer sends when it has not heard our last flight: its own, packed into one datagram.
#[test]
fn a_flight_of_the_peer_that_comes_again_brings_our_last_one_again_and_not_too_often() {
    let mut now = Instant::now();
    let (mut client, mut server) = pair(now);
    let hello = client.poll_datagram().expect("a hello");
    server.handle_datagram(now, &hello).expect("read");
    client.handle_datagram(now, &server.poll_datagram().expect("a flight")).expect("read");
    let flight = client.poll_datagram().expect("a flight");
    server.handle_datagram(now, &flight).expect("read");
    let first = server.poll_datagram().expect("the last flight");
    assert_eq!(first[0], 20, "ChangeCipherSpec and Finished");
    now += Duration::from_millis(20);
    assert_eq!(server.handle_datagram(now, &flight), Ok(true));
    let again = server.poll_datagram().expect("sent again");
    assert_eq!((again[0], again.len()), (20, first.len()));
    // Whoever replays it a thousand times gets it a few times.
    let answers: usize = (0..1000)
        .map(|_| {
            now += Duration::from_millis(1);
            server.handle_datagram(now, &flight).expect("a replay ends nothing");
            std::iter::from_fn(|| server.poll_datagram()).count()
        })
        .sum();
    assert!(answers <= 6, "{answers} answers in a second");
    // The peer comes up with what was sent again.
    client.handle_datagram(now, &again).expect("read");
    assert!(matches!(client.poll_event(), Some(DtlsEvent::Connected(_))));
    // And when it was heard, no replay makes us say anything.
    client.send(b"up").expect("sent");
    while let Some(datagram) = client.poll_datagram() {
        server.handle_datagram(now, &datagram).expect("read");
    }
    while server.poll_datagram().is_some() {}
    now += Duration::from_secs(5);
    server.handle_timeout(now).expect("nothing to do");
    server.handle_datagram(now, &flight).expect("a replay ends nothing");
    assert_eq!(server.poll_datagram(), None);
}

#[test]
fn a_flight_that_is_never_answered_is_repeated_to_the_end_and_not_given_up() {
    let start = Instant::now();
    let (mut client, _) = pair(start);
    let mut sent = vec![Duration::ZERO];
    client.poll_datagram().expect("a hello");
    while let Some(at) = client.next_timeout().filter(|at| *at < start + Duration::from_secs(30)) {
        client.handle_timeout(at).expect("goes on");
        while client.poll_datagram().is_some() {
            sent.push(at - start);
        }
    }
    assert!((75..=125).contains(&sent[1].as_millis()), "{sent:?}");
    assert!(sent.iter().filter(|at| at.as_secs() < 2).count() >= 5, "{sent:?}");
    assert!((20..40).contains(&sent.len()), "{sent:?}");
    let longest = sent.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
    assert!(longest <= Duration::from_millis(1300), "{longest:?}");
}

#[test]
fn the_first_retransmission_follows_the_round_trip() {
    let (ours, now) = (Identity::generate().expect("certificate"), Instant::now());
    for (round_trip, expected) in [(None, 100), (Some(10), 50), (Some(60), 100), (Some(130), 200), (Some(900), 250)] {
        let round_trip = round_trip.map(Duration::from_millis);
        let mut dtls = Dtls::over(&ours, Role::Client, ours.fingerprint(), round_trip, now).expect("client");
        dtls.poll_datagram().expect("a hello");
        let wait = (dtls.next_timeout().expect("a timer") - now).as_millis();
        assert!((expected * 3 / 4..=expected * 5 / 4).contains(&wait), "{round_trip:?}: {wait} ms");
    }
}

/// A participant that OpenSSL plays.
struct Openssl {
    client: std::process::Child,
    socket: std::net::UdpSocket,
    remote: Option<std::net::SocketAddr>,
    server: Dtls,
    dir: std::path::PathBuf,
}

impl Openssl {
    /// With a certificate of its own and these further arguments; `None` without openssl.
    fn start(key: &[&str], further: &[&str]) -> Option<Self> {
        use std::process::{Command, Stdio};
        let name = format!("rtcd-dtls-{}-{}", std::process::id(), [key, further].concat().join("-").replace(':', ""));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command
                .args(arguments)
                .current_dir(&dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            command
        };
        let request = ["req", "-x509", "-nodes", "-subj", "/CN=WebRTC", "-days", "2", "-keyout", "key.pem", "-out"];
        openssl(&[&request[..], &["cert.der", "-outform", "DER"], key].concat()).status().ok()?;
        openssl(&["x509", "-inform", "DER", "-in", "cert.der", "-out", "cert.pem"]).status().ok()?;
        let fingerprint = Fingerprint::of(&std::fs::read(dir.join("cert.der")).expect("a certificate"));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
        let address = socket.local_addr().expect("bound").to_string();
        let connect = ["s_client", "-quiet", "-dtls1_2", "-connect", &address, "-cert", "cert.pem", "-key", "key.pem"];
        let srtp = ["-use_srtp", "SRTP_AES128_CM_SHA1_80"];
        let client = openssl(&[&connect[..], &srtp, further].concat()).spawn().ok()?;
        let ours = Identity::generate().expect("certificate");
        let server = Dtls::new(&ours, Role::Server, fingerprint, Instant::now()).expect("server");
        Some(Self { client, socket, remote: None, server, dir })
    }

    /// Exchanges datagrams until `done` has an answer for an event.
    fn until<T>(&mut self, mut done: impl FnMut(DtlsEvent) -> Option<T>) -> Result<T, String> {
        let (start, mut buffer) = (Instant::now(), [0; 2048]);
        loop {
            let now = Instant::now();
            if now > start + Duration::from_secs(20) {
                return Err("nothing happened".to_owned());
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    self.remote = Some(from);
                    self.server.handle_datagram(now, &buffer[..len]).map_err(|error| error.to_string())?;
                }
                Err(_) => self.server.handle_timeout(now).map_err(|error| error.to_string())?,
            }
            self.flush();
            if let Some(answer) = std::iter::from_fn(|| self.server.poll_event()).find_map(&mut done) {
                return Ok(answer);
            }
        }
    }

    fn flush(&mut self) {
        let Some(remote) = self.remote else { return };
        while let Some(datagram) = self.server.poll_datagram() {
            self.socket.send_to(&datagram, remote).expect("sent");
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        self.until(|event| matches!(event, DtlsEvent::Connected(_)).then_some(()))
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.client.kill();
        self.client.wait().expect("it was started");
        std::fs::remove_dir_all(&self.dir).expect("was made");
    }
}

const P256: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256"];

#[test]
fn participants_with_rsa_and_large_ecdsa_certificates_are_let_in() {
    for key in [
        &["-newkey", "rsa:2048", "-sha256"][..],
        &["-newkey", "rsa:4096", "-sha384"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"],
        &P256,
    ] {
        match Openssl::start(key, &[]) {
            Some(mut openssl) => assert_eq!(openssl.connect(), Ok(()), "{key:?}"),
            None => eprintln!("not tested: openssl is missing"),
        }
    }
}

/// Both directions, before and after the handshake is forgotten, and after another process has taken over.
#[test]
fn every_cipher_suite_carries_data_to_and_from_another_implementation() {
    use std::io::{BufRead as _, BufReader, Write as _};
    for cipher in ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"] {
        let suite = format!("ECDHE-ECDSA-{cipher}");
        let Some(mut openssl) = Openssl::start(&P256, &["-cipher", &suite]) else {
            return eprintln!("not tested: openssl is missing");
        };
        openssl.connect().expect(cipher);
        let mut stdin = openssl.client.stdin.take().expect("piped");
        let mut stdout = BufReader::new(openssl.client.stdout.take().expect("piped"));
        for round in 0..4 {
            let question = format!("question {round} {cipher}\n");
            stdin.write_all(question.as_bytes()).expect("written");
            let heard = openssl.until(|event| match event {
                DtlsEvent::Data(data) => Some(data),
                _ => None,
            });
            assert_eq!(heard.as_deref(), Ok(question.as_bytes()));
            let state = openssl.server.state().expect("the peer is through");
            if round == 2 {
                let (mut bytes, now) = (Vec::new(), Instant::now());
                handover::write(&mut bytes, 1, now, &state);
                let saved = handover::read(&bytes, 1, now).expect("readable");
                openssl.server = Dtls::resume(saved, Role::Server, now);
            }
            openssl.server.send(format!("answer {round}\n").as_bytes()).expect("sent");
            openssl.flush();
            let mut line = String::new();
            stdout.read_line(&mut line).expect("read");
            assert_eq!(line, format!("answer {round}\n"), "{cipher}");
        }
        openssl.server.close();
        openssl.flush();
        // close_notify ends it by itself.
        let end = std::io::read_to_string(stdout).expect("it ends");
        assert_eq!(end, "", "{cipher}");
    }
}
