//! What `rtcd check` says of each kind of failure: what it is, and what to do next.
use crate::check::check;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair, date_time_ymd};
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, free_port, temp_dir};
use rtcd_tests::namespace::{ip, with_a_network_of_its_own};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

/// The line about one thing.
fn line<'a>(lines: &'a str, what: &str) -> &'a str {
    let found = lines.lines().find(|line| line.get(5..).is_some_and(|rest| rest.starts_with(&format!("{what}: "))));
    found.unwrap_or_else(|| panic!("no line about {what} in:\n{lines}"))
}

/// A server that does this with each connection.
fn serve(with: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || listener.incoming().flatten().for_each(with));
    address
}

fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 4096];
    let len = stream.read(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn reset(mut stream: TcpStream) {
    read_some(&mut stream);
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &now).expect("set");
}

const UNUSED_MEDIA: &str = "--media=127.0.0.1:1";

/// What the first line says of an API there.
fn connection(url: &str) -> String {
    let (code, lines) = check(&[url, UNUSED_MEDIA], None);
    assert_eq!(code, Some(1), "{lines}");
    assert!(!lines.contains("os error") && !lines.contains("Error"), "{lines}");
    lines.lines().next().expect("there is one").to_owned()
}

#[test]
fn each_way_to_fail_of_a_connection_has_its_own_words_and_advice() {
    let port = free_port();
    let said = connection(&format!("http://127.0.0.1:{port}"));
    assert_eq!(
        said,
        format!(
            "FAIL connection: 127.0.0.1:{port}: the connection is refused -> is rtcd running there, and is \
             api.http.listen_address one that is reached from here (and not 127.0.0.1)? A firewall that rejects looks the \
             same"
        )
    );
    let said = connection("http://no-such-host.invalid");
    assert!(said.starts_with("FAIL connection: no-such-host.invalid:8045: the name "), "{said}");
    assert!(said.contains("use the IP address"), "{said}");
    let address = serve(reset);
    let lines = check(&[&format!("http://{address}"), UNUSED_MEDIA], None).1;
    assert_eq!(
        line(&lines, "version"),
        format!(
            "FAIL version: {address}: the connection is reset -> a firewall or a proxy in between cuts connections, or rtcd \
             restarts just now: try again, then look there"
        )
    );
    let address = serve(|mut stream| drop(read_some(&mut stream)));
    let lines = check(&[&format!("http://{address}"), UNUSED_MEDIA], None).1;
    let said = line(&lines, "version");
    assert!(
        said.contains(": connected, and then closed without an answer -> is this the address of rtcd's API"),
        "{said}"
    );
    let address = serve(|mut stream| drop(stream.write_all(b"220 mail.example ESMTP\r\n")));
    let lines = check(&[&format!("http://{address}"), UNUSED_MEDIA], None).1;
    assert!(line(&lines, "version").contains("does not speak HTTP -> is this the address of rtcd's API?"), "{lines}");
    let address = serve(|mut stream| {
        read_some(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    });
    let lines = check(&[&format!("http://{address}"), UNUSED_MEDIA], None).1;
    assert!(line(&lines, "version").contains("the answer has status 404 Not Found -> is this"), "{lines}");
}

/// Frames for an address that nobody has are sent, and nothing comes back.
#[test]
fn what_is_dropped_on_the_way_is_called_a_matter_of_firewalls() {
    with_a_network_of_its_own(|| {
        ip("neigh add 10.77.0.9 lladdr 02:00:00:00:00:09 dev inside");
        let (code, lines) = check(&["http://10.77.0.9"], None);
        assert_eq!(code, Some(1), "{lines}");
        let said = line(&lines, "connection");
        assert!(
            said.starts_with("FAIL connection: 10.77.0.9:8045: no answer within 5 s -> open TCP port 8045"),
            "{said}"
        );
        assert!(said.contains("rtcd check --media-only HOST"), "{said}");
        let said = line(&lines, "media over UDP");
        assert!(
            said.starts_with("FAIL media over UDP: 10.77.0.9:8443: no answer within 5 s -> open UDP port 8443"),
            "{said}"
        );
        let said = line(&lines, "media over TCP");
        assert!(
            said.starts_with("FAIL media over TCP: 10.77.0.9:8443: no answer within 5 s -> open TCP port 8443"),
            "{said}"
        );
        let lines = check(&["--media-only", "10.77.0.9"], None).1;
        let said = line(&lines, "media over UDP");
        assert!(
            said.starts_with("FAIL media over UDP: 10.77.0.9:8443: no answer within 5 s -> open UDP port 8443"),
            "{said}"
        );
        // A network that is nowhere.
        ip("route del default");
        let lines = check(&["http://192.0.2.1"], None).1;
        assert!(
            line(&lines, "connection").contains("no way leads there from this machine -> check the address"),
            "{lines}"
        );
    });
}

#[test]
fn a_participants_machine_needs_the_media_port_alone() {
    let daemon = Daemon::start(DaemonConfig::new());
    let media = daemon.media_addr().to_string();
    let (code, lines) = check(&["--media-only", &media], None);
    assert_eq!((code, lines.lines().count()), (Some(0), 3), "{lines}");
    assert!(
        line(&lines, "media over UDP").starts_with(&format!("ok   media over UDP: {media} answers in ")),
        "{lines}"
    );
    assert!(
        line(&lines, "media over TCP").starts_with(&format!("ok   media over TCP: {media} answers in ")),
        "{lines}"
    );
    assert_eq!(line(&lines, "calls"), "ok   calls: work from here, over UDP, and over TCP if need be");
    let nowhere = format!("127.0.0.1:{}", free_port());
    let (code, lines) = check(&["--media-only", &nowhere], None);
    assert_eq!(code, Some(1), "{lines}");
    assert!(line(&lines, "media over UDP").contains(": the port is closed -> is rtcd running there"), "{lines}");
    assert!(line(&lines, "media over TCP").contains(": the connection is refused -> is rtcd running there"), "{lines}");
    let (code, _) = check(&["--media-only", &media, &daemon.url()], None);
    assert_eq!(code, Some(2));
}

/// It drops what has no username over UDP, and closes such a connection.
fn reference_media() -> (SocketAddr, UdpSocket) {
    loop {
        let address = serve(|mut stream| drop(read_some(&mut stream)));
        if let Ok(socket) = UdpSocket::bind(address) {
            return (address, socket);
        }
    }
}

fn reference_api(load: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let body = if read_some(&mut stream).starts_with("GET /version ") {
            r#"{"buildDate":"2025-01-01","buildVersion":"v1.2.6","buildHash":"abc","goVersion":"go1.24.6","goOS":"linux","goArch":"amd64"}"#
        } else {
            load
        };
        let date = "Date: Thu, 01 Jan 1970 00:00:00 GMT";
        let head = format!("HTTP/1.1 200 OK\r\n{date}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all((head + body).as_bytes());
    })
}

#[test]
fn the_references_silence_is_not_blamed_on_a_firewall() {
    let (media, _socket) = reference_media();
    let api = reference_api(r#"{"cpu_load":0.5}"#);
    let (code, lines) = check(&[&format!("http://{api}"), &format!("--media={media}")], None);
    assert_eq!(code, Some(0), "{lines}");
    assert_eq!(line(&lines, "version"), "ok   version: v1.2.6 (abc), Mattermost's own rtcd");
    assert_eq!(line(&lines, "load"), "ok   load: 2.0 CPUs have been idle in the last second");
    assert_eq!(
        line(&lines, "media over UDP"),
        format!(
            "warn media over UDP: {media}: no answer, but Mattermost's own rtcd never gives one to this question -> this is \
             no fault; whether UDP gets through shows in a call (chrome://webrtc-internals)"
        )
    );
    assert_eq!(
        line(&lines, "media over TCP"),
        format!("ok   media over TCP: {media} takes connections (Mattermost's own rtcd answers participants alone)")
    );
    // From where its API is not reached it can only be guessed at.
    let (code, lines) = check(&["--media-only", &media.to_string()], None);
    assert_eq!(code, Some(0), "{lines}");
    for what in ["media over UDP", "media over TCP"] {
        assert!(line(&lines, what).contains("-> if Mattermost's own rtcd runs there, this is no fault"), "{lines}");
    }
    assert!(lines.lines().all(|line| line.starts_with("warn ")), "{lines}");
}

#[test]
fn a_load_is_told_in_words() {
    for (load, expected) in [
        (
            r#"{"cpu_load":1000}"#,
            "warn load: no CPU has been idle in the last second: calls stutter -> add a host or CPUs",
        ),
        (r#"{"cpu_load":4}"#, "warn load: high, 0.2 CPUs have been idle in the last second -> add a host"),
        (r#"{"cpu_load":1000000000}"#, "warn load: it drains: new calls are sent elsewhere"),
        ("", "warn load: not told, as by Mattermost's own rtcd when no CPU is idle"),
    ] {
        let lines = check(&[&format!("http://{}", reference_api(load)), UNUSED_MEDIA], None).1;
        assert!(line(&lines, "load").starts_with(expected), "{lines}");
    }
}

/// A daemon that serves TLS with this certificate; the file of the certificate.
fn daemon_with(certificate: &rcgen::Certificate, key: &KeyPair) -> (Daemon, PathBuf) {
    let dir = temp_dir("faults");
    let files = [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())].map(|(name, text)| {
        fs::write(dir.join(name), text).expect("written");
        dir.join(name)
    });
    let mut config = DaemonConfig::new()
        .env("RTCD_API_HTTP_TLS_ENABLE", "true")
        .env("RTCD_API_HTTP_TLS_CERTFILE", &files[0].display().to_string())
        .env("RTCD_API_HTTP_TLS_CERTKEY", &files[1].display().to_string());
    config.tls = true;
    let [file, _] = files;
    (Daemon::start(config), file)
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("names")
}

/// What the line about TLS says with this certificate, which signs itself.
fn tls(params: &CertificateParams, trusted: bool) -> String {
    let key = KeyPair::generate().expect("a key");
    let (daemon, file) = daemon_with(&params.self_signed(&key).expect("a certificate"), &key);
    let ca = format!("--ca={}", file.display());
    let url = daemon.url();
    let args: &[&str] = if trusted { &[&url, UNUSED_MEDIA, &ca] } else { &[&url, UNUSED_MEDIA] };
    let (code, lines) = check(args, None);
    assert_eq!(code, Some(1), "{lines}");
    assert!(!lines.contains('{') && !lines.contains("Other("), "{lines}");
    fs::remove_dir_all(file.parent().expect("a directory")).expect("removed");
    let place = format!("FAIL TLS: {}: ", daemon.api_addr());
    line(&lines, "TLS").strip_prefix(&place).unwrap_or_else(|| panic!("{lines}")).to_owned()
}

#[test]
fn each_fault_of_a_certificate_has_its_own_words_and_advice() {
    let said = tls(&params(&["127.0.0.1"]), false);
    assert!(said.starts_with("the certificate is self-signed: nobody who is known here vouches for it -> if it is yours, name its file by --ca"), "{said}");

    let mut authority = params(&["127.0.0.1"]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for trusted in [false, true] {
        let said = tls(&authority, trusted);
        assert!(said.starts_with("the certificate is that of an authority (CA:TRUE), and not one of a server -> make one for the server, with CA:FALSE"), "{said}");
    }

    let said = tls(&params(&["elsewhere.example", "10.0.0.1"]), true);
    assert!(
        said.starts_with(
            "the certificate is for elsewhere.example, 10.0.0.1, and not for 127.0.0.1 -> use a name that it has"
        ),
        "{said}"
    );

    let mut old = params(&["127.0.0.1"]);
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let said = tls(&old, true);
    assert!(
        said.starts_with("the certificate has expired, ") && said.contains(" days ago -> renew the certificate"),
        "{said}"
    );

    let mut young = params(&["127.0.0.1"]);
    (young.not_before, young.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    let said = tls(&young, true);
    assert_eq!(said, "the certificate is not valid yet -> compare the clocks of both machines");
}

#[test]
fn an_authority_that_is_not_known_is_named() {
    let mut params_of_ca = params(&[]);
    params_of_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params_of_ca.distinguished_name.push(rcgen::DnType::CommonName, "The Example Authority");
    let issuer =
        CertifiedIssuer::self_signed(params_of_ca, KeyPair::generate().expect("a key")).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let issuer: &Issuer<'_, _> = &issuer;
    let certificate = params(&["127.0.0.1"]).signed_by(&key, issuer).expect("a certificate");
    let (daemon, file) = daemon_with(&certificate, &key);
    let (_, lines) = check(&[&daemon.url(), UNUSED_MEDIA], None);
    let said = line(&lines, "TLS");
    assert!(
        said.contains("The Example Authority, who is not trusted here -> name that authority's file by --ca"),
        "{said}"
    );
    // And TLS where plain HTTP is spoken to.
    let lines = check(&[&daemon.url().replace("https", "http"), UNUSED_MEDIA], None).1;
    let said = line(&lines, "version");
    assert!(said.contains(": TLS is spoken there, and not plain HTTP -> use https:// in the URL"), "{said}");
    fs::remove_dir_all(file.parent().expect("a directory")).expect("removed");
}

#[test]
fn plain_http_on_a_port_that_was_called_one_of_tls_is_recognised() {
    let daemon = Daemon::start(DaemonConfig::new());
    let closes = serve(|mut stream| {
        // Some close what they cannot read.
        if read_some(&mut stream).starts_with("GET ") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    for address in [daemon.api_addr(), closes] {
        let said = connection(&format!("https://{address}"));
        assert_eq!(
            said,
            format!(
                "FAIL TLS: {address}: plain HTTP is spoken there, and not TLS -> use http:// in the URL, or turn on \
                 api.http.tls.enable"
            )
        );
    }
}

#[test]
fn every_subcommand_takes_the_configuration_and_helps_with_success() {
    let run = |line: &str| {
        let output = Command::new(binary()).args(line.split(' ')).env_clear().output().expect("it can be started");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for line in ["--help", "-help", "help", "check --help", "client --help", "client add --help", "demo --help"] {
        let (code, said) = run(line);
        assert_eq!(code, Some(0), "{line}: {said}");
        assert!(said.contains("Exit codes: 0 "), "{line}: {said}");
    }
    let dir = temp_dir("config");
    let file = dir.join("rtcd.toml");
    fs::write(&file, "rtc.ice_port_udp = 7\n").expect("written");
    let file = file.display();
    for line in [
        format!("check --config {file}"),
        format!("-config {file} check"),
        format!("check -config={file}"),
        format!("client --config {file} list"),
        format!("client list -config {file}"),
        format!("hand-over --config {file}"),
    ] {
        let (code, said) = run(&line);
        assert_eq!(code, Some(78), "{line}: {said}");
        assert!(said.contains("rtc.ice_port_udp"), "{line}: {said}");
    }
    fs::remove_dir_all(dir).expect("removed");
}
