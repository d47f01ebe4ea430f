//! What a running daemon takes over, at SIGHUP and without it.
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig, temp_dir, wait_for};
use rtcd_tests::http;
use std::fs;
use std::path::Path;
use std::process::Command;

const KEY: &str = "a-key-of-the-tests-that-is-long-enough";

/// A daemon whose file says what its variables do not.
fn with_file(dir: &Path, text: &str) -> Daemon {
    write(dir, text);
    let config = DaemonConfig::new().arg("--config").arg(&dir.join("my.toml").display().to_string());
    // What stands in the environment wins over the file.
    Daemon::start_with(config, |command| {
        for name in [
            "RTCD_LOGGER_CONSOLELEVEL",
            "RTCD_API_SECURITY_ALLOWSELFREGISTRATION",
            "RTCD_API_SECURITY_ENABLEADMIN",
            "RTCD_API_SECURITY_ADMINSECRETKEY",
        ] {
            command.env_remove(name);
        }
    })
}

fn write(dir: &Path, text: &str) {
    fs::write(dir.join("my.toml"), text).expect("written");
}

fn reload(daemon: &Daemon, times: usize) {
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload", || daemon.log().matches("configuration reloaded").count() == times);
}

fn register(daemon: &Daemon, client: &str, authorization: Option<&str>) -> u16 {
    let body = serde_json::json!({"clientID": client, "authKey": KEY}).to_string();
    daemon.request("POST", "/register", authorization, Some(&body)).status
}

#[test]
fn who_may_do_what_and_how_much_is_logged_change_at_once_and_the_rest_is_named() {
    let dir = temp_dir("reload");
    let daemon = with_file(&dir, "[api]\nsecurity.allow_self_registration = true\n[logger]\nconsole_level = 'INFO'\n");
    let admin = http::basic("", ADMIN_KEY);
    assert_eq!(register(&daemon, "a", None), 201);
    assert_eq!(daemon.request("GET", "/clients", Some(&admin), None).status, 401);
    assert!(!daemon.log().contains("DEBUG"));

    let text = format!(
        "[api]\nsecurity.enable_admin = true\nsecurity.admin_secret_key = '{ADMIN_KEY}'\n[logger]\nconsole_level = 'DEBUG'\n\
         [store]\ndata_source = '/elsewhere'\n[rtc]\nno_such_key = 1\n"
    );
    write(&dir, &text);
    reload(&daemon, 1);
    assert_eq!(register(&daemon, "b", None), 401);
    assert_eq!(register(&daemon, "b", Some(&admin)), 201);
    assert_eq!(daemon.request("GET", "/clients", Some(&admin), None).status, 200);
    let log = daemon.log();
    // The store is where the variable says: nothing has changed there.
    assert!(log.contains("rtc.no_such_key") && !log.contains("need a restart"), "{log}");
    assert!(log.contains("told=\"udp 127.0.0.1:"), "what participants are told: {log}");
    let notices = daemon.request("GET", "/status", Some(&admin), None).json()["notices"].to_string();
    assert!(notices.contains("rtc.no_such_key"), "{notices}");
    let _ = http::request(daemon.api_addr(), "GET", "/ws", Some(&http::basic("a", KEY)), None);
    daemon.request("POST", "/login", None, Some("{"));
    let restart = text.replace("[rtc]", "[logger2]").replace("[store]", "[rtc]\nnack_buffer_size = 512\n[store]");
    write(&dir, &restart);
    reload(&daemon, 2);
    let log = daemon.log();
    assert!(log.contains("need a restart") && log.contains("rtc.nack_buffer_size"), "{log}");
    write(&dir, "[logger]\nconsole_level = 'ERROR'\n");
    daemon.signal(Signal::SIGHUP);
    wait_for("the admin to be nobody", || daemon.request("GET", "/clients", Some(&admin), None).status == 401);
    let before = daemon.log();
    assert_eq!(register(&daemon, "c", None), 401);
    assert_eq!(daemon.log(), before, "a refusal is a warning, and these are not logged any more");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_certificate_that_was_renewed_is_served_without_a_signal_and_a_broken_one_is_not() {
    let dir = temp_dir("renewal");
    let put = |name: &str| {
        let made =
            rcgen::generate_simple_self_signed([name.to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
        fs::write(dir.join("ca.pem"), made.cert.pem()).expect("written");
    };
    put("first.example");
    let mut config = DaemonConfig::new()
        .env("RTCD_API_HTTP_TLS_ENABLE", "true")
        .env("RTCD_API_HTTP_TLS_CERTFILE", &dir.join("cert.pem").display().to_string())
        .env("RTCD_API_HTTP_TLS_CERTKEY", &dir.join("key.pem").display().to_string());
    config.tls = true;
    let daemon = Daemon::start(config);
    let trusts = |ca: &Path| {
        let url = format!("{}/version", daemon.url());
        let status = Command::new("curl").args(["-sf", "-o", "/dev/null", "--cacert"]).arg(ca).arg(url).status();
        status.expect("curl runs").success()
    };
    let ca = dir.join("ca.pem");
    assert!(trusts(&ca));
    let metrics = |ca: &Path| {
        let url = format!("{}/metrics", daemon.url());
        let output = Command::new("curl").args(["-s", "--cacert"]).arg(ca).arg(url).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(metrics(&ca).contains("\nrtcd_api_certificate_not_after_seconds "));
    put("second.example");
    wait_for("the new certificate", || trusts(&ca));
    fs::write(dir.join("cert.pem"), "rubbish").expect("written");
    wait_for("the complaint", || daemon.log().contains("the certificate cannot be read again"));
    assert!(trusts(&ca), "the last one is served");
    put("third.example");
    wait_for("the third", || trusts(&ca));
    assert_eq!(daemon.log().matches("the certificate cannot be read again").count(), 1, "{}", daemon.log());
    fs::remove_dir_all(dir).expect("removed");
}
