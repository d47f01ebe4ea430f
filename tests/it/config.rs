//! The configuration, as an operator meets it: arguments, files, variables, exit status.
use rtcd_tests::daemon::{binary, free_port, temp_dir};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};

/// Runs the daemon in `dir` with nothing in its environment but `variables`.
fn rtcd(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_clear().envs(variables.iter().copied()).current_dir(dir);
    command.output().expect("the daemon can be started")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A certificate for `localhost` and 127.0.0.1, and its key, both PEM.
fn certificate() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn all_mistakes_are_reported_at_once_with_status_78_and_nothing_is_created() {
    let dir = temp_dir("config");
    let text = "[api]\nhttp.listen_address = 1\n[rtc]\nice_port_udp = 1\n[store]\ndata_source = \"store\"\n";
    fs::write(dir.join("my.toml"), text).expect("written");
    let variables = [("RTCD_LOGGER_FILELEVEL", "LOUD"), ("RTCD_RTC_ENABLEIPV6", "maybe")];
    let output = rtcd(&dir, &["--config", "my.toml"], &variables);
    assert_eq!(output.status.code(), Some(78));
    let report = stderr(&output);
    for part in [
        "4 mistakes",
        "my.toml:2: api.http.listen_address: is an integer; allowed: a string",
        "my.toml:4: rtc.ice_port_udp: 1 is out of range; allowed: a port from 80 to 49151",
        "RTCD_LOGGER_FILELEVEL: logger.file_level: \"LOUD\" is no level",
        "RTCD_RTC_ENABLEIPV6: rtc.enable_ipv6: \"maybe\" is not a boolean",
    ] {
        assert!(report.contains(part), "{part} is missing in:\n{report}");
    }
    let files: Vec<_> = fs::read_dir(&dir).expect("readable").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(files, ["my.toml"]);
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let dir = temp_dir("config");
    fs::write(dir.join("my.toml"), "[api]\nhttp = {\n\n[rtc]\n").expect("written");
    let output = rtcd(&dir, &["-config", "my.toml", "--check-config"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("my.toml:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("not valid TOML"), "{}", stderr(&output));
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn an_unreadable_file_is_a_mistake_but_a_missing_one_is_not() {
    let dir = temp_dir("config");
    let missing = rtcd(&dir, &["--check-config"], &[]);
    assert_eq!(missing.status.code(), Some(0));
    assert!(stderr(&missing).contains("config/config.toml: there is no such file"), "{}", stderr(&missing));
    let directory = rtcd(&dir, &["--check-config", "--config", "."], &[]);
    assert_eq!(directory.status.code(), Some(78));
    assert!(stderr(&directory).contains("cannot be read"), "{}", stderr(&directory));
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_file_that_is_named_must_be_there_for_every_command() {
    let dir = temp_dir("config");
    for arguments in [
        &["--config", "none.toml", "--check-config"][..],
        &["--config", "none.toml"],
        &["-config=none.toml"],
        &["--config", "none.toml", "check"],
        &["--config", "none.toml", "client", "list"],
    ] {
        let output = rtcd(&dir, arguments, &[]);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert!(stderr(&output).contains("none.toml: there is no such file"), "{}", stderr(&output));
    }
    assert_eq!(fs::read_dir(&dir).expect("readable").count(), 0);
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn with_strict_a_warning_is_a_mistake() {
    let dir = temp_dir("config");
    fs::write(dir.join("odd.toml"), "[rtc]\nenable_ipv7 = true\n").expect("written");
    fs::write(dir.join("good.toml"), "[rtc]\nenable_ipv6 = true\n").expect("written");
    let code = |file: &str, more: &[&str]| {
        let output = rtcd(&dir, &[&["--config", file, "--check-config"], more].concat(), &[]);
        (output.status.code(), stderr(&output))
    };
    assert_eq!(code("odd.toml", &[]).0, Some(0));
    let (status, said) = code("odd.toml", &["--strict"]);
    assert_eq!(status, Some(78));
    assert!(said.contains("odd.toml:2: rtc.enable_ipv7: unknown key"), "{said}");
    assert_eq!(code("good.toml", &["--strict"]).0, Some(0));
    assert_eq!(rtcd(&dir, &["--config", "odd.toml", "--strict"], &[]).status.code(), Some(78), "at the start, too");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_mistake_in_the_syntax_names_its_key_and_never_its_value() {
    let dir = temp_dir("config");
    for (text, expected) in [
        ("[rtc]\nice_port_udp = 8443\nice_port_udp = 8444\n", "my.toml:3: rtc.ice_port_udp: is set twice"),
        ("rtc.ice_port_udp = 8443\nrtc.ice_port_udp = 8444\n", "my.toml:2: rtc.ice_port_udp: is set twice"),
        ("[api]\nsecurity.admin_secret_key = hush-hush\n", "my.toml:2: api.security.admin_secret_key: the file is not"),
        ("[rtc]\n[rtc]\n", "my.toml:2: rtc: is set twice"),
    ] {
        fs::write(dir.join("my.toml"), text).expect("written");
        let output = rtcd(&dir, &["--config", "my.toml", "--check-config"], &[]);
        let said = stderr(&output);
        assert!(output.status.code() == Some(78) && said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key_and_its_owner() {
    let dir = temp_dir("config");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let api = tcp.local_addr().expect("bound");
    // Root has given up what it would need to see more.
    let owner =
        if nix::unistd::geteuid().is_root() { "a process of root, which `ss -lptun` names to root" } else { "(pid " };
    let free = free_port().to_string();
    let start = |api: &str, media: &str| {
        let variables = [
            ("RTCD_API_HTTP_LISTENADDRESS", api),
            ("RTCD_RTC_ICEADDRESSUDP", "127.0.0.1"),
            ("RTCD_RTC_ICEADDRESSTCP", "127.0.0.1"),
            ("RTCD_RTC_ICEPORTUDP", media),
            ("RTCD_RTC_ICEPORTTCP", &free),
            ("RTCD_STORE_DATASOURCE", "store"),
            ("RTCD_LOGGER_ENABLEFILE", "false"),
        ];
        let output = rtcd(&dir, &[], &variables);
        assert_eq!(output.status.code(), Some(69));
        stdout(&output)
    };
    let said = start(&api.to_string(), &free);
    let expected = format!("api.http.listen_address: cannot bind {api}: port {} is in use by", api.port());
    assert!(said.contains(&expected) && said.contains(owner), "{said}");
    // Ports of the kernel's own choice are not for media: one that is.
    let Some(taken) = (20_000..32_000).find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()) else { return };
    let port = taken.local_addr().expect("bound").port();
    let said = start(&format!("127.0.0.1:{}", free_port()), &port.to_string());
    let expected = format!("rtc.ice_port_udp: cannot bind UDP 127.0.0.1:{port}: port {port} is in use by");
    assert!(said.contains(&expected) && said.contains(owner), "{said}");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_sample_is_valid_and_says_nothing_odd() {
    let dir = temp_dir("config");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rtcd/rtcd.toml");
    let store = [("RTCD_STORE_DATASOURCE", "store")];
    let output = rtcd(&dir, &["--check-config", "--config", &sample.display().to_string()], &store);
    let said = stderr(&output);
    // It is for a machine that has no client yet.
    let lines: Vec<_> =
        said.lines().filter(|line| !line.contains("no client is known and nobody can register")).collect();
    assert_eq!((output.status.code(), lines), (Some(0), Vec::new()));
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_effective_values_are_printed_with_their_origins_and_without_secrets() {
    let dir = temp_dir("config");
    let text = "rtc.ice_port_tcp = 8444\nrtc.ice_port_udp = 8444\napi.security.enable_admin = true\n";
    fs::write(dir.join("my.toml"), text).expect("written");
    let variables = [("RTCD_RTC_ICEPORTUDP", "8445"), ("RTCD_API_SECURITY_ADMINSECRETKEY", "hush")];
    let output = rtcd(&dir, &["-config", "my.toml", "--print-config"], &variables);
    let printed = stdout(&output);
    for line in [
        "ice_port_udp = 8445 # RTCD_RTC_ICEPORTUDP",
        "ice_port_tcp = 8444 # my.toml:1",
        "nack_buffer_size = 256 # default",
        "admin_secret_key = \"<redacted>\" # RTCD_API_SECURITY_ADMINSECRETKEY",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing in:\n{printed}");
    }
    assert!(!format!("{printed}{}", stderr(&output)).contains("hush"));
    // What is printed is a configuration again.
    fs::write(dir.join("again.toml"), &printed).expect("written");
    assert_eq!(rtcd(&dir, &["--config", "again.toml", "--check-config"], &[]).status.code(), Some(0));
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn unknown_keys_are_named_and_do_no_harm() {
    let dir = temp_dir("config");
    let text = "[rtc]\nice.port_range.min = 1\nice.port_range.max = 2\nenable_ipv7 = true\n";
    fs::write(dir.join("my.toml"), text).expect("written");
    let output = rtcd(&dir, &["--config", "my.toml", "--check-config"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let warnings = stderr(&output);
    assert!(warnings.contains("my.toml:2: rtc.ice.port_range.min: has no effect"), "{warnings}");
    assert!(warnings.contains("my.toml:4: rtc.enable_ipv7: unknown key"), "{warnings}");
    assert!(warnings.contains("did you mean rtc.enable_ipv6?"), "{warnings}");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn a_certificate_must_be_readable_and_match_its_key() {
    let dir = temp_dir("config");
    let (cert, key) = certificate();
    let (_, stranger) = certificate();
    for (name, text) in [("cert.pem", &cert), ("key.pem", &key), ("stranger.pem", &stranger)] {
        fs::write(dir.join(name), text).expect("written");
    }
    fs::write(dir.join("empty.pem"), "").expect("written");
    let check = |cert: &str, key: &str| {
        let output = rtcd(
            &dir,
            &["--check-config"],
            &[
                ("RTCD_API_HTTP_TLS_ENABLE", "true"),
                ("RTCD_API_HTTP_TLS_CERTFILE", cert),
                ("RTCD_API_HTTP_TLS_CERTKEY", key),
            ],
        );
        (output.status.code(), stderr(&output))
    };
    assert_eq!(check("cert.pem", "key.pem").0, Some(0));
    for (cert, key, complaint) in [
        ("cert.pem", "stranger.pem", "RTCD_API_HTTP_TLS_CERTFILE: api.http.tls.cert_file: the certificate and the key"),
        ("none.pem", "key.pem", "api.http.tls.cert_file: none.pem cannot be read"),
        ("cert.pem", "empty.pem", "api.http.tls.cert_key: empty.pem cannot be read"),
        ("", "key.pem", "api.http.tls.cert_file: is empty"),
    ] {
        let (code, report) = check(cert, key);
        assert_eq!(code, Some(78), "{cert} {key}");
        assert!(report.contains(complaint), "{complaint} is missing in:\n{report}");
    }
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn help_is_no_failure_and_a_wrong_argument_is_one() {
    let dir = temp_dir("config");
    assert_eq!(rtcd(&dir, &["--help"], &[]).status.code(), Some(0));
    assert_eq!(rtcd(&dir, &["--version"], &[]).status.code(), Some(0));
    assert_eq!(rtcd(&dir, &["--confg", "x"], &[]).status.code(), Some(2));
    fs::remove_dir_all(dir).expect("removed");
}
