//! The API of the real daemon, where a stand-in for the signalling actor would not do: TLS, floods, slow peers.
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::http;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_client_registers_and_connects_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    let dir = rtcd_tests::daemon::temp_dir("tls");
    let file = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("a file can be written");
        dir.join(name).display().to_string()
    };
    let cert = file("cert.pem", &made.cert.pem());
    let cert_key = file("key.pem", &made.signing_key.serialize_pem());
    let auth_key = file("auth-key", &"k".repeat(40));
    let config = DaemonConfig::new()
        .env("RTCD_API_HTTP_TLS_ENABLE", "true")
        .env("RTCD_API_HTTP_TLS_CERTFILE", &cert)
        .env("RTCD_API_HTTP_TLS_CERTKEY", &cert_key);
    let daemon = Daemon::start(config);
    assert!(http::request(daemon.api_addr(), "GET", "/version", None, None).is_err(), "plain HTTP is not answered");
    let url = format!("https://localhost:{}", daemon.api_addr().port());
    let arguments = ["--connect", &url, "--client-id", "secure", "--auth-key-file", &auth_key];
    let _demo = Demo::start_with(Ipv4Addr::LOCALHOST.into(), &arguments, &[("SSL_CERT_FILE", &cert)]);
    wait_for("the websocket", || daemon.log().contains("websocket opened"));
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn peers_that_dribble_do_not_keep_others_out_and_lose_their_connections() {
    let daemon = Daemon::start(DaemonConfig::new());
    let mut slow: Vec<_> =
        (0..500).map(|_| TcpStream::connect(daemon.api_addr()).expect("it takes connections")).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /version HTTP/1.1\r\nX-Slow: ").expect("it reads");
    }
    let asked = Instant::now();
    assert_eq!(daemon.request("GET", "/version", None, None).status, 200);
    assert!(asked.elapsed() < Duration::from_secs(2));
    let last = slow.last_mut().expect("there are some");
    last.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout can be set");
    let mut answer = Vec::new();
    last.read_to_end(&mut answer).expect("the daemon closes it");
}

#[test]
fn a_flood_of_wrong_logins_leaves_the_daemon_answering() {
    let daemon = Daemon::start(DaemonConfig::new());
    let body = r#"{"clientID":"nobody","authKey":"wrong"}"#;
    let request = format!("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut flood = Vec::new();
    let mut refused = None;
    for _ in 0..100 {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(daemon.api_addr()).expect("it takes connections");
            stream.write_all(request.as_bytes()).expect("it reads");
            flood.push(stream);
        }
        // A refused one is answered at once, any other waits for its turn.
        let last = flood.last_mut().expect("there are some");
        last.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        let mut start = [0; 12];
        if last.read_exact(&mut start).is_ok() && &start == b"HTTP/1.1 503" {
            refused = Some(flood.len());
            break;
        }
    }
    assert!(refused.is_some(), "nobody was turned away");
    let asked = Instant::now();
    assert_eq!(daemon.request("GET", "/system", None, None).status, 200);
    assert!(asked.elapsed() < Duration::from_secs(2));
}
