//! `rtcd check` against a running daemon.
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, free_port, temp_dir};
use std::fs;
use std::path::Path;
use std::process::Command;

const KEY: &str = "a-key-of-the-tests-that-is-long-enough";

/// Exit status and lines.
pub fn check(args: &[&str], key: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.arg("check").args(args).env_clear();
    if let Some(key) = key {
        command.env("RTCD_CHECK_AUTH_KEY", key);
    }
    let output = command.output().expect("the command can be started");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &stderr)
}

/// Without a URL, with the daemon's own configuration.
fn check_here(daemon: &Daemon) -> (Option<i32>, String) {
    let output =
        Command::new(binary()).arg("check").env_clear().envs(daemon.variables()).output().expect("it can be started");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn expect(lines: &str, starts: &[&str]) {
    for start in starts {
        assert!(lines.lines().any(|line| line.starts_with(start)), "{start} is missing in:\n{lines}");
    }
}

fn media(port: u16) -> String {
    format!("--media=127.0.0.1:{port}")
}

#[test]
fn everything_is_ok_with_a_good_daemon() {
    let daemon = Daemon::start(DaemonConfig::new());
    assert_eq!(daemon.register("plugin", KEY).status, 201);
    let key_file = daemon.dir().join("key");
    fs::write(&key_file, format!("{KEY}\n")).expect("written");
    let key_file = format!("--auth-key-file={}", key_file.display());
    let args = [&daemon.url()[..], &media(daemon.media_port()), "--client-id=plugin", &key_file];
    let (code, lines) = check(&args, None);
    expect(
        &lines,
        &[
            "ok   connection: ",
            "ok   version: ",
            "ok   clock: ",
            "ok   WebSocket: plugin is greeted",
            "ok   media over UDP: 127.0.0.1:",
            "ok   media over TCP: 127.0.0.1:",
        ],
    );
    // A machine that is busy with other tests is warned of.
    assert!(lines.contains(" load: "), "{lines}");
    assert_eq!((code, lines.lines().count()), (Some(0), 7), "{lines}");
}

#[test]
fn the_daemon_of_this_machine_is_found_by_its_configuration() {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_RTC_ICEHOSTOVERRIDE", "203.0.113.7"));
    let (code, lines) = check_here(&daemon);
    let good = lines.lines().filter(|line| line.starts_with("ok   ") || line.contains(" load: ")).count();
    assert_eq!((code, good), (Some(0), 7), "{lines}");
    let port = daemon.media_port();
    expect(
        &lines,
        &[
            &format!("ok   connection: 127.0.0.1:{}", daemon.api_addr().port()),
            &format!("ok   media over UDP: 127.0.0.1:{port}"),
            &format!("ok   media over TCP: 127.0.0.1:{port}"),
            &format!("ok   candidates: participants are told udp 203.0.113.7:{port}, tcp 203.0.113.7:{port}"),
        ],
    );
    let output = Command::new(binary()).arg("check").env_clear().env("RTCD_RTC_ICEPORTUDP", "x").output();
    assert_eq!(output.expect("it can be started").status.code(), Some(78), "a configuration that is wrong");
}

#[test]
fn the_address_that_the_daemon_sees_is_told() {
    let daemon = Daemon::start(DaemonConfig::new());
    let (_, lines) = check(&[&daemon.url(), &media(daemon.media_port())], None);
    assert_eq!(lines.matches("sees us as 127.0.0.1:").count(), 2, "{lines}");
}

#[test]
fn wrong_credentials_fail_without_being_shown() {
    let daemon = Daemon::start(DaemonConfig::new());
    let args = [&daemon.url()[..], &media(daemon.media_port()), "--client-id=nobody"];
    let (code, lines) = check(&args, Some(KEY));
    assert_eq!(code, Some(1), "{lines}");
    expect(&lines, &["FAIL WebSocket: nobody is refused -> register the client"]);
    assert!(!lines.contains(KEY));
    let (code, lines) = check(&args, None);
    assert_eq!(code, Some(1), "{lines}");
    expect(&lines, &["FAIL WebSocket: no key given -> give the client's key"]);
}

#[test]
fn a_closed_port_fails_and_the_others_are_checked_all_the_same() {
    let daemon = Daemon::start(DaemonConfig::new());
    let (code, lines) = check(&[&daemon.url(), &media(free_port())], None);
    assert_eq!(code, Some(1), "{lines}");
    expect(&lines, &["ok   version: ", "FAIL media over UDP: ", "FAIL media over TCP: "]);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let (code, lines) = check(&[&nowhere, &media(daemon.media_port())], None);
    assert_eq!(code, Some(1), "{lines}");
    expect(&lines, &["FAIL connection: ", "ok   media over UDP: ", "ok   media over TCP: "]);
}

#[test]
fn a_certificate_is_checked_against_the_authority_that_is_named() {
    let dir = temp_dir("check");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).expect("written");
        dir.join(name).display().to_string()
    };
    let (cert, key) = (write("cert.pem", &made.cert.pem()), write("key.pem", &made.signing_key.serialize_pem()));
    let mut config = DaemonConfig::new()
        .env("RTCD_API_HTTP_TLS_ENABLE", "true")
        .env("RTCD_API_HTTP_TLS_CERTFILE", &cert)
        .env("RTCD_API_HTTP_TLS_CERTKEY", &key);
    config.tls = true;
    let daemon = Daemon::start(config);
    let (code, lines) = check(&[&daemon.url(), &media(daemon.media_port()), "--ca", &cert], None);
    assert_eq!(code, Some(0), "{lines}");
    expect(&lines, &["ok   TLS: the certificate is valid for ", "ok   version: "]);
    let (code, lines) = check(&[&daemon.url(), &media(daemon.media_port())], None);
    assert_eq!(code, Some(1), "{lines}");
    expect(&lines, &["FAIL TLS: "]);
    let plain = daemon.url().replace("https", "http");
    let (code, lines) = check(&[&plain, &media(daemon.media_port())], None);
    assert_eq!(code, Some(1), "{lines}");
    // On its own machine it is known by its file, even by another name.
    let (code, lines) = check_here(&daemon);
    assert_eq!(code, Some(0), "{lines}");
    expect(&lines, &["ok   TLS: the certificate is valid for ", "ok   version: "]);
    let other =
        rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).expect("a certificate can be made");
    write("cert.pem", &other.cert.pem());
    write("key.pem", &other.signing_key.serialize_pem());
    let (code, lines) = check_here(&daemon);
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("restart it"), "{lines}");
    let nothing = check(&[&daemon.url(), "--ca", "/does/not/exist"], None).1;
    expect(&nothing, &["FAIL TLS: /does/not/exist"]);
    assert!(Path::new(&cert).exists());
    fs::remove_dir_all(dir).expect("removed");
}
