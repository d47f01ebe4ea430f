//! Boots of a machine: first, again, with other data, without a source, with mistakes, with a broken disk.
use crate::machine::{Machine, SMALLEST, Told};
use provision::agent::Agent;
use provision::apply::disk::RealDisk;
use provision::exit_code::ExitCode;
use provision::http::{Client, Pace};
use rtcd_config::Secret;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MISTAKES: &str =
    "#cloud-config\nrtcd:\n  rtc:\n    ice_prot_udp: 8443\n    ice_port_tcp: 70000\nruncmd: [reboot]\n";

#[test]
fn the_first_boot_configures_rtcd_and_the_second_changes_nothing() {
    let machine = Machine::seeded(SMALLEST);
    machine.run("run").expect(0);
    let loaded = machine.load().expect("rtcd takes it");
    assert!(loaded.config.api.allow_self_registration && loaded.warnings.is_empty());
    assert_eq!(loaded.config.store.data_source, Path::new("/var/lib/rtcd/db"));

    let inode = || fs::metadata(machine.path("run/rtcd/rtcd.toml")).expect("there").ino();
    let before = inode();
    machine.run("run").expect(0);
    assert_eq!(inode(), before);
    let status = machine.run("status").expect(0).out;
    for line in
        ["State:       ready\n", "Source:      NoCloud", "Instance id: i-1\n", "Host name:   rtcd-1 (user data, line 2"]
    {
        assert!(status.contains(line), "{status}");
    }
}

#[test]
fn a_new_instance_and_new_user_data_are_rendered_anew() {
    let machine = Machine::seeded(SMALLEST);
    machine.run("run").expect(0);
    machine.seed("i-2", "#cloud-config\nrtcd: {rtc: {ice_port_udp: 443}}\n");
    machine.run("run").expect(0);
    let text = machine.read("run/rtcd/rtcd.toml");
    assert!(text.contains("instance i-2") && text.contains("ice_port_udp = 443 # user data, line 2"), "{text}");
    assert!(!text.contains("allow_self_registration"), "{text}");
    assert_eq!(fs::read_dir(machine.path("run/provision/generations")).expect("there").count(), 1);
}

#[test]
fn a_boot_without_its_source_uses_the_last_good_answer_and_says_so() {
    let machine = Machine::seeded(SMALLEST);
    machine.write("sys/class/dmi/id/product_uuid", "a-machine\n");
    machine.run("run").expect(0);
    let text = machine.read("run/rtcd/rtcd.toml");
    fs::remove_dir_all(machine.path("run")).expect("a reboot");
    fs::remove_dir_all(machine.path("var/lib/cloud")).expect("the seed is unplugged");
    let told = machine.run("run").expect(0);
    assert!(told.err.contains("an earlier answer of the source is used"), "{}", told.err);
    assert_eq!(machine.read("run/rtcd/rtcd.toml"), text);
    let status = machine.run("status").expect(0).out;
    assert!(status.contains("State:       ready, with an earlier answer of the source\n"), "{status}");
    assert!(status.contains("Not reached: no source of metadata"), "{status}");

    // The disk in another machine: what it brings along is not this machine's.
    machine.write("sys/class/dmi/id/product_uuid", "another\n");
    fs::remove_dir_all(machine.path("run")).expect("a reboot");
    let told = machine.run("run").expect(3);
    assert!(told.err.contains("no source of metadata"), "{}", told.err);
    assert!(!machine.path("run/rtcd").exists());
}

#[test]
fn all_mistakes_are_on_the_consoles_and_nothing_is_written() {
    let machine = Machine::seeded(MISTAKES);
    machine.run("run").expect(1);
    assert!(!machine.path("run/rtcd").exists() && !machine.path("var/lib/provision").exists());
    let panel = machine.panel();
    for part in [
        "State unconfigured",
        "user-data has 3 mistakes:",
        "line 4, column 5: rtcd.rtc.ice_prot_udp: ",
        "did you mean rtcd.rtc.ice_port_udp?",
        "line 5, column ",
        "rtcd.rtc.ice_port_tcp: 70000 is out of range; allowed: a port from 80 to 49151",
        "line 6, column 1: runcmd: ",
        "rtcd is not started",
    ] {
        assert!(panel.contains(part), "no {part:?} in {panel}");
    }
    let status = machine.run("status").expect(1).out;
    assert!(status.starts_with("State:       FAILED") && status.contains("line 6, column 1"), "{status}");
    let json: serde_json::Value =
        serde_json::from_str(&machine.run_with("status", &["--json"]).expect(1).out).expect("JSON");
    assert_eq!(json["ready"], false);
}

#[test]
fn a_machine_that_served_goes_on_with_what_was_said_before_when_new_data_have_mistakes() {
    let machine = Machine::seeded(SMALLEST);
    machine.run("run").expect(0);
    let before = machine.read("run/rtcd/rtcd.toml");
    fs::remove_dir_all(machine.path("run")).expect("a reboot");
    machine.seed("i-2", MISTAKES);
    machine.run("run").expect(0);
    assert_eq!(machine.read("run/rtcd/rtcd.toml"), before);
    let panel = machine.panel();
    assert!(
        panel.contains("line 6, column 1: runcmd: ") && panel.contains("rtcd runs with what was said before"),
        "{panel}"
    );
    let status = machine.run("status").expect(0).out;
    assert!(status.contains("ready, with an earlier answer") && status.contains("line 4, column 5"), "{status}");
    // Corrected in its place, it counts again.
    machine.seed("i-2", "#cloud-config\nrtcd: {rtc: {ice_port_udp: 443}}\n");
    machine.run("run").expect(0);
    assert!(machine.read("run/rtcd/rtcd.toml").contains("ice_port_udp = 443"));
}

#[test]
fn secrets_are_for_the_eyes_of_rtcd_and_root_alone() {
    const SECRETS: [&str; 3] = ["hush-admin", "hush-turn", "hush-credential"];
    let user_data = "#cloud-config
rtcd:
  api.security: {enable_admin: true, admin_secret_key: hush-admin}
  rtc.ice_servers: [{urls: ['turn:turn.example.com'], username: u, credential: hush-credential}]
write_files:
  - {path: /etc/rtcd/turn.secret, content: \"hush-turn\\n\"}
";
    let machine = Machine::seeded(user_data);
    let told = machine.run("run").expect(0);
    let config = machine.load().expect("rtcd takes it").config;
    assert_eq!(config.api.admin_secret_key, Some(Secret::from("hush-admin")));
    assert_eq!(config.rtc.turn.expect("set").secret, Secret::from("hush-turn"));
    let status = machine.run("status").expect(0);
    let rendered = machine.run("render").expect(0);
    let open: String =
        readable_by_others(machine.root()).iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    for said in [
        told.out,
        told.err,
        status.out,
        status.err,
        rendered.out,
        rendered.err,
        open,
        machine.read("run/provision/status.json"),
    ] {
        assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
    }
    let shown = machine.run_with("render", &["--show-secrets"]).expect(0).out;
    assert_eq!(shown, machine.read("run/rtcd/rtcd.toml"));
}

/// What the agent has written with a mode that lets others read it.
fn readable_by_others(root: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.join("run"), root.join("var/lib/provision")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("readable").flatten() {
            let meta = fs::symlink_metadata(entry.path()).expect("there");
            if meta.is_dir() {
                directories.push(entry.path());
            } else if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_configuration_or_the_new_one() {
    let machine = Machine::seeded(SMALLEST);
    machine.run("run").expect(0);
    let version =
        |number: u32| format!("#cloud-config\nrtcd: {{rtc: {{ice_port_udp: {number}, ice_port_tcp: {number}}}}}\n");
    let began = Instant::now();
    machine.seed("i-1", &version(1000));
    machine.run("run").expect(0);
    let whole = began.elapsed();
    let (mut killed, mut finished) = (0, 0);
    for number in 1001..1201 {
        machine.seed("i-1", &version(number));
        let mut agent = machine.agent("run").stderr(Stdio::null()).spawn().expect("the agent can be started");
        // Every two hundredth of the time that a run takes, and a little beyond its end.
        wait_until(Instant::now() + whole * (number - 1000) / 180);
        agent.kill().expect("it can be killed");
        match agent.wait().expect("it ends").success() {
            true => finished += 1,
            false => killed += 1,
        }
        let rtc = machine.load().expect("rtcd takes what is there").config.rtc;
        assert_eq!(rtc.ice_port_udp, rtc.ice_port_tcp);
        assert!(u32::from(rtc.ice_port_udp) <= number);
    }
    assert!(killed > 0, "{finished} runs were all faster than the kill");
    machine.run("run").expect(0);
    assert_eq!(u32::from(machine.load().expect("rtcd takes it").config.rtc.ice_port_udp), 1200);
    assert_eq!(fs::read_dir(machine.path("run/provision/generations")).expect("there").count(), 1);
}

/// To a fraction of a millisecond, which a sleep is not.
fn wait_until(at: Instant) {
    while Instant::now() < at {
        std::hint::spin_loop();
    }
}

#[test]
fn a_full_disk_and_a_read_only_one_are_told_and_leave_no_rtcd_without_configuration() {
    for (options, said) in [("size=4k,nr_inodes=3", "No space left on device"), ("ro", "Read-only file system")] {
        let machine = Machine::seeded(SMALLEST);
        fs::create_dir_all(machine.path("run")).expect("a directory");
        // A mount of our own, in namespaces of our own: no root is needed, and nobody else sees it.
        let script = format!("mount -t tmpfs -o {options} none \"$1/run\" && exec \"$2\" run --root \"$1\"");
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .arg(machine.root())
            .arg(env!("CARGO_BIN_EXE_provision"))
            .output();
        let told = Told::by(output.expect("unshare is installed")).expect(5);
        assert!(told.err.contains(said) && told.err.contains("/run/"), "{}", told.err);
    }
}

#[test]
fn a_machine_that_cannot_keep_its_answer_runs_all_the_same() {
    let machine = Machine::seeded(SMALLEST);
    // A file where the directory is to be.
    machine.write("var/lib/provision", "in the way");
    let told = machine.run("run").expect(0);
    assert!(told.err.contains("a later boot without the source will fail"), "{}", told.err);
    assert!(machine.load().is_ok());
}

#[test]
fn a_clock_that_stands_before_1980_or_1970_hinders_nobody() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    for now in [UNIX_EPOCH + 5 * YEAR, UNIX_EPOCH - 5 * YEAR] {
        let machine = Machine::seeded(SMALLEST);
        assert_eq!(in_process(&machine, now, Duration::ZERO), ExitCode::Success);
        assert!(machine.load().is_ok());
        assert!(machine.run("status").expect(0).out.contains("ready"));
    }
}

#[test]
fn a_seed_that_appears_late_is_waited_for() {
    let machine = Machine::new();
    std::thread::scope(|scope| {
        let boot = scope.spawn(|| in_process(&machine, SystemTime::now(), Duration::from_secs(60)));
        // Facts are gathered for the first time before this, or after it; both must do.
        machine.seed("i-1", SMALLEST);
        assert_eq!(boot.join().expect("no panic"), ExitCode::Success);
    });
    assert!(machine.load().is_ok());
}

/// The agent with what the command line cannot say.
fn in_process(machine: &Machine, now: SystemTime, patience: Duration) -> ExitCode {
    let http = Client::new(None, Pace::default()).expect("no endpoint to refuse");
    Agent { root: machine.root(), credentials: None, http: &http, disk: &RealDisk, now, patience }.run()
}

#[test]
fn an_image_without_its_users_is_the_images_fault() {
    let machine = Machine::seeded(SMALLEST);
    machine.write("etc/passwd", "root:x:0:0::/:\n");
    let told = machine.run("run").expect(5);
    assert!(told.err.contains("there is no user mattermost"), "{}", told.err);
}

#[test]
fn the_image_may_say_what_user_data_may_change() {
    let machine = Machine::seeded("#cloud-config\nrtcd: {rtc: {ice_port_udp: 4000}}\n");
    machine.write("usr/lib/rtcd/rtcd.toml.d/10-site.toml", "[rtc]\nice_port_udp = 5000\nice_port_tcp = 5000\n");
    machine.write("usr/lib/rtcd/rtcd.toml.d/20-site.toml", "rtc.ice_port_tcp = 6000\n");
    machine.run("run").expect(0);
    let text = machine.read("run/rtcd/rtcd.toml");
    assert!(text.contains("ice_port_tcp = 6000 # /usr/lib/rtcd/rtcd.toml.d/20-site.toml:1\n"), "{text}");
    assert!(text.contains("ice_port_udp = 4000 # user data, line 2, column 28\n"), "{text}");
    machine.write("usr/lib/rtcd/rtcd.toml.d/30-site.toml", "rtc.nack_buffer_size = 'x'\n");
    let told = machine.run("run").expect(1);
    assert!(
        told.err.contains("/usr/lib/rtcd/rtcd.toml.d/30-site.toml:1: rtc.nack_buffer_size: is a string"),
        "{}",
        told.err
    );
}

#[test]
fn what_is_not_rtcds_goes_where_it_is_read() {
    let pair = rcgen::generate_simple_self_signed(["rtcd.example.com".to_owned()]).expect("a certificate");
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let indented = |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let user_data = format!(
        "#cloud-config
timezone: Europe/Berlin
ntp: {{servers: [ntp.example.com], pools: [pool.example.com]}}
ca_certs: {{trusted: [{cert:?}]}}
rtcd:
  api.http.tls: {{enable: true, cert_file: /etc/rtcd/tls/cert.pem, cert_key: /etc/rtcd/tls/key.pem}}
write_files:
  - path: /etc/rtcd/tls/cert.pem
    content: |
{}  - path: /etc/rtcd/tls/key.pem
    content: |
{}",
        indented(&cert),
        indented(&key)
    );
    let machine = Machine::seeded(&user_data);
    machine.write("usr/share/zoneinfo/Europe/Berlin", "TZif of Berlin");
    machine.run("run").expect(0);
    assert!(machine.load().expect("rtcd takes it").config.api.tls.is_some());
    assert_eq!(machine.read("run/rtcd/localtime"), "TZif of Berlin");
    assert_eq!(machine.read("run/rtcd/timesyncd.conf"), "[Time]\nNTP=ntp.example.com pool.example.com\n");
    let link = fs::read_link(machine.path("run/systemd/timesyncd.conf.d/50-provision.conf")).expect("a link");
    assert_eq!(link, Path::new("/run/rtcd/timesyncd.conf"));
    assert_eq!(machine.read("run/rtcd/ca-certificates.pem"), format!("the image's authorities\n{cert}"));
    assert_eq!(machine.read("run/rtcd/environment"), "SSL_CERT_FILE=/run/rtcd/ca-certificates.pem\n");
    let mode =
        |name: &str| fs::metadata(machine.path("run/rtcd").join(name)).expect("there").permissions().mode() & 0o7777;
    let modes: BTreeSet<_> = ["rtcd.toml", "tls-cert.pem", "tls-key.pem"].map(mode).into();
    assert_eq!(modes, BTreeSet::from([0o600]));
    assert_eq!(mode("environment"), 0o644);
    assert!(!machine.path("run/rtcd/update.json").exists());
}

#[test]
fn updates_and_a_port_of_the_admins_choice_are_told_to_the_units() {
    let user_data = "#cloud-config
update: {url: \"https://updates.example.com/rtcd\", auto: true}
rtcd.api.http.listen_address: 127.0.0.1:8045
";
    let machine = Machine::seeded(user_data);
    machine.run("run").expect(0);
    let wish = r#"{"url":"https://updates.example.com/rtcd/","window":"02:00-04:00"}"#;
    assert_eq!(machine.read("run/rtcd/update.json"), wish);
}

#[test]
fn log_servers_are_told_to_the_units_and_their_keys_to_nobody_else() {
    let pair = rcgen::generate_simple_self_signed(["machine.example.com".to_owned()]).expect("a certificate");
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let sink = |url: &str| format!("{{url: {url:?}, ca: {cert:?}, certificate: {cert:?}, key: {key:?}}}");
    let (syslog, upload) = (sink("tls://logs.example.com"), sink("https://[2001:db8::1]"));
    let machine = Machine::seeded(&format!("#cloud-config\nlogs:\n  syslog: {syslog}\n  upload: {upload}\n"));
    let told = machine.run("run").expect(0);
    let wish: serde_json::Value = serde_json::from_str(&machine.read("run/rtcd/syslog.json")).expect("JSON");
    assert_eq!((&wish["host"], &wish["port"], &wish["tls"]), (&"logs.example.com".into(), &6514.into(), &true.into()));
    assert_eq!((&wish["framing"], &wish["ca"]), (&"octet-counting".into(), &cert.as_str().into()));
    let credential = "/run/credentials/systemd-journal-upload.service/client.pem";
    let expected = format!(
        "[Upload]\nURL=https://[2001:db8::1]:19532\nServerKeyFile={credential}\nServerCertificateFile={credential}\n\
         TrustedCertificateFile=/run/rtcd/upload-ca.pem\n"
    );
    assert_eq!(machine.read("run/rtcd/upload.conf"), expected);
    let link = fs::read_link(machine.path("run/systemd/journal-upload.conf.d/50-provision.conf")).expect("a link");
    assert_eq!(link, Path::new("/run/rtcd/upload.conf"));
    assert_eq!(machine.read("run/rtcd/upload-client.pem"), format!("{cert}{key}"));
    let mode =
        |name: &str| fs::metadata(machine.path("run/rtcd").join(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!(["syslog.json", "upload-client.pem"].map(mode), [0o600; 2]);
    assert_eq!(["upload.conf", "upload-ca.pem"].map(mode), [0o644; 2]);
    let rendered = machine.run("render").expect(0);
    for text in [told.out, told.err, rendered.out, rendered.err, machine.run("status").expect(0).out] {
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }

    machine.seed("i-2", "#cloud-config\nlogs: {upload: {url: \"https://journal.example.com\"}}\n");
    machine.run("run").expect(0);
    let text = machine.read("run/rtcd/upload.conf");
    assert!(text.contains("ServerKeyFile=-\n") && text.contains("=/etc/ssl/certs/ca-certificates.crt\n"), "{text}");
    for name in ["syslog.json", "upload-ca.pem", "upload-client.pem"] {
        assert!(!machine.path("run/rtcd").join(name).exists(), "{name}");
    }
}
