//! The daemon in the hands of systemd and of signals.
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{Daemon, DaemonConfig, PATIENCE, binary, free_port, temp_dir, wait_for};
use rtcd_tests::in_repository;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::world::{VOICE, World};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// Where systemd would listen to `sd_notify`.
struct Notifications {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Notifications {
    fn new() -> Self {
        let path = temp_dir("notify").join("socket");
        let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { socket, path }
    }

    /// Reads on until a line is this one.
    fn wait_for(&self, line: &str) {
        let mut buffer = [0; 4096];
        loop {
            let len = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("waited for {line}: {error}"));
            if String::from_utf8_lossy(&buffer[..len]).lines().any(|told| told == line) {
                return;
            }
        }
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path.parent().expect("made with one"));
    }
}

#[test]
fn systemd_is_told_of_readiness_of_life_and_of_the_end() {
    let notifications = Notifications::new();
    let config = DaemonConfig::new()
        .env("NOTIFY_SOCKET", &notifications.path.display().to_string())
        .env("WATCHDOG_USEC", "2000000");
    let mut daemon = Daemon::start(config);
    notifications.wait_for("READY=1");
    notifications.wait_for("WATCHDOG=1");
    daemon.signal(Signal::SIGTERM);
    notifications.wait_for("STOPPING=1");
    assert_eq!(daemon.wait_exit().code(), Some(0));
}

#[test]
fn sigint_ends_the_daemon_in_order_too() {
    let mut daemon = Daemon::start(DaemonConfig::new());
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.wait_exit().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_longest_drain() {
    let mut daemon = Daemon::start(DaemonConfig::new().arg("--drain-timeout").arg("1h"));
    daemon.signal(Signal::SIGTERM);
    wait_for("the drain to begin", || daemon.log().contains("draining") || !daemon.is_running());
    if daemon.is_running() {
        daemon.signal(Signal::SIGTERM);
    }
    assert_eq!(daemon.wait_exit().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_calls_are_refused_on_wish_until_they_are_welcome_again() -> anyhow::Result<()> {
    let notifications = Notifications::new();
    let socket = notifications.path.display().to_string();
    let config = DaemonConfig::new().arg("--refuse-calls-while-draining").env("NOTIFY_SOCKET", &socket);
    let world = World::start_with(config).await?;
    let ann = world.join("ann").await?;
    world.daemon.signal(Signal::SIGUSR1);
    tokio::task::block_in_place(|| notifications.wait_for("STATUS=draining: 1 calls, 1 sessions left"));
    // A running call is nobody's business: it even grows.
    let bob = world.join("bob").await?;
    let refused = world.errors("join");
    tokio::select! {
        joined = world.join_with(PeerConfig::new("another call", "eve")) => joined.map(|_| panic!("eve is in"))?,
        () = async { while world.errors("join") != refused + 1.0 { tokio::task::yield_now().await } } => {}
    }
    ann.leave().await?;
    bob.leave().await?;
    tokio::task::block_in_place(|| notifications.wait_for(&format!("STATUS={}", rtcd::admission::DRAINED)));
    world.daemon.signal(Signal::SIGUSR2);
    tokio::task::block_in_place(|| notifications.wait_for("STATUS=0 calls, 0 sessions"));
    world.join_with(PeerConfig::new("another call", "eve")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_begins_behind_the_last_one_is_told_to_whoever_waits_for_the_machine() -> anyhow::Result<()> {
    let notifications = Notifications::new();
    let socket = notifications.path.display().to_string();
    let world = World::start_with(DaemonConfig::new().env("NOTIFY_SOCKET", &socket)).await?;
    world.daemon.signal(Signal::SIGUSR1);
    tokio::task::block_in_place(|| notifications.wait_for(&format!("STATUS={}", rtcd::admission::DRAINED)));
    let ann = world.join("ann").await?;
    tokio::task::block_in_place(|| notifications.wait_for("STATUS=draining: 1 calls, 1 sessions left"));
    ann.leave().await?;
    tokio::task::block_in_place(|| notifications.wait_for(&format!("STATUS={}", rtcd::admission::DRAINED)));
    assert_eq!(world.daemon.metric("rtcd_calls_while_draining_total"), 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_tells_newcomers_the_new_address_and_leaves_running_calls_alone() -> anyhow::Result<()> {
    let world = World::start_with(DaemonConfig::new().env("RTCD_RTC_ICEADDRESSUDP", "127.0.0.1,127.0.0.2")).await?;
    let ann = world.join("ann").await?;
    ann.add_voice();
    let _speaking = ann.stream("voice", VOICE);
    let told = |peer: &Peer, ip: &str| {
        peer.state().last_exchange.1.contains(&format!(" {ip} {} typ host", world.daemon.media_port()))
    };
    assert!(told(&ann, "127.0.0.1") && told(&ann, "127.0.0.2"));

    let file = world.daemon.dir().join("config/config.toml");
    fs::create_dir_all(file.parent().expect("a directory"))?;
    let reload = |text: &str, line: &str| {
        fs::write(&file, text).expect("the file can be written");
        world.daemon.signal(Signal::SIGHUP);
        wait_for(line, || world.daemon.log().contains(line));
    };
    reload("rtc.ice_host_override = '999.1.1.1'", "not reloaded: the configuration has mistakes");
    reload("rtc.ice_host_override = '127.0.0.2'\nrtc.nack_buffer_size = 64", "configuration reloaded");
    assert!(
        world.daemon.log().contains(r#"these keys need a restart keys=["rtc.nack_buffer_size"]"#),
        "{}",
        world.daemon.log()
    );

    let bob = world.join("bob").await?;
    assert!(told(&bob, "127.0.0.2") && !told(&bob, "127.0.0.1"), "{}", bob.state().last_exchange.1);
    bob.wait_track("voice", "ann").await?;
    Ok(())
}

#[test]
fn a_taken_port_is_a_failure_that_names_it() {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    for (api_port, media_port) in [(port, free_port()), (free_port(), port)] {
        let mut daemon = Daemon::start(DaemonConfig { api_port, media_port, ..DaemonConfig::new().no_wait() });
        assert_eq!(daemon.wait_exit().code(), Some(69));
        assert!(daemon.log().contains(&format!("127.0.0.1:{port}")), "{}", daemon.log());
    }
}

#[test]
fn no_privilege_is_left_that_is_not_needed() {
    let daemon = Daemon::start(DaemonConfig::new());
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the daemon runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a number")
    };
    /// Root in a container may have to write into a volume of somebody else.
    const CAP_DAC_OVERRIDE: u64 = 1 << 1;
    for name in ["CapEff", "CapPrm"] {
        assert_eq!(field(name) & !CAP_DAC_OVERRIDE, 0, "{name} in\n{status}");
    }
    for name in ["CapInh", "CapAmb"] {
        assert_eq!(field(name), 0, "{name} in\n{status}");
    }
    assert_eq!(field("NoNewPrivs"), 1);
    // Every thread, not only the first.
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("the daemon runs").flatten() {
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        assert!(status.contains(&format!("CapEff:\t{:016x}", field("CapEff"))), "{status}");
    }
}

#[test]
fn the_log_file_holds_json_lines_and_the_console_can_be_silent() {
    let config = DaemonConfig::new()
        .env("RTCD_LOGGER_ENABLECONSOLE", "false")
        .env("RTCD_LOGGER_ENABLEFILE", "true")
        .env("RTCD_LOGGER_FILELOCATION", "my.log");
    let daemon = Daemon::start(config);
    assert_eq!(daemon.log(), "");
    let text = fs::read_to_string(daemon.dir().join("my.log")).expect("the log file is there");
    assert!(text.lines().count() > 1, "{text}");
    for line in text.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(json["level"].is_string() && json["timestamp"].is_string(), "{line}");
    }
    assert!(!text.contains(rtcd_tests::daemon::ADMIN_KEY));
}

#[test]
fn a_listener_of_systemd_is_taken_over() {
    let dir = temp_dir("socket");
    let (api, media) = (free_port(), free_port());
    let child = Command::new("systemd-socket-activate")
        .args(["--listen", &format!("127.0.0.1:{api}")])
        .args([
            "--setenv",
            &format!("RTCD_RTC_ICEPORTUDP={media}"),
            "--setenv",
            &format!("RTCD_RTC_ICEPORTTCP={media}"),
        ])
        .args(["--setenv", "RTCD_RTC_ICEADDRESSUDP=127.0.0.1", "--setenv", "RTCD_RTC_ICEADDRESSTCP=127.0.0.1"])
        .args(["--setenv", "RTCD_STORE_DATASOURCE=store", "--setenv", "RTCD_LOGGER_ENABLEFILE=false"])
        // Nobody may bind this one: only the handed-over listener can answer.
        .args(["--setenv", "RTCD_API_HTTP_LISTENADDRESS=192.0.2.1:1"])
        .arg(binary())
        .current_dir(&dir)
        .stderr(fs::File::create(dir.join("log")).expect("the log file can be made"))
        .spawn();
    let mut child = child.expect("systemd-socket-activate can be started");
    let to = ([127, 0, 0, 1], api).into();
    let mut status = 0;
    wait_for("the API on the handed-over listener", || {
        status = rtcd_tests::http::request(to, "GET", "/version", None, None).map_or(0, |answer| answer.status);
        status != 0
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(status, 200, "{}", fs::read_to_string(dir.join("log")).unwrap_or_default());
    fs::remove_dir_all(dir).expect("removed");
}

/// Our services, and how exposed each may be in tenths of the points of `systemd-analyze security`; 100 is no protection.
const UNITS: [(&str, u32); 7] = [
    ("rtcd.service", 11),
    ("provision.service", 30),
    ("provision-refresh.service", 30),
    ("rtcd-healthcheck.service", 25),
    ("rtcd-report@.service", 20),
    ("rtcd-rollback.service", 25),
    ("rtcd-update.service", 40),
];

#[test]
fn the_units_are_accepted_by_systemd() {
    let dir = temp_dir("units");
    let units =
        UNITS.map(|(unit, _)| unit).into_iter().chain(["rtcd.socket", "provision-refresh.timer", "rtcd-update.timer"]);
    let units: Vec<_> = units.collect();
    let drop_ins =
        ["provision.service.d/50-sandbox.conf", "rtcd.service.d/50-provision.conf", "rtcd.socket.d/50-provision.conf"];
    for name in units.iter().chain(&drop_ins) {
        let text = fs::read_to_string(in_repository("units").join(name)).expect("the unit is there");
        // What is installed later must be there for the verification.
        let installed = ["/usr/bin/provision", "/usr/bin/rtcd", "/usr/lib/rtcd/healthcheck"];
        let text = installed.iter().fold(text, |text, program| text.replace(program, "/bin/true"));
        fs::create_dir_all(dir.join(name).parent().expect("below the directory")).expect("made");
        fs::write(dir.join(name), text).expect("written");
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units.iter().map(|unit| dir.join(unit)))
        .output();
    let output = verified.expect("systemd-analyze is installed");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // Units of the machine that the test runs on are none of our business.
    let ours = |line: &&str| line.contains("rtcd.") || line.contains("provision");
    assert!(output.status.success() && !complaints.lines().any(|line| ours(&line)), "{complaints}");
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_units_expose_little() {
    for (unit, threshold) in UNITS {
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", &format!("--threshold={threshold}")])
            .arg(in_repository("units").join(unit))
            .output();
        let output = judged.expect("systemd-analyze is installed");
        assert!(output.status.success(), "{unit}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_bare_machine_gets_the_layout_of_the_setup_guide() {
    let dir = temp_dir("bare");
    let install = |more: &[&str]| {
        let mut install = Command::new(in_repository("image/install-bare"));
        let output = install.arg("--root").arg(&dir).args(more).arg(binary()).output().expect("it can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    install(&[]);
    let config = dir.join("opt/rtcd/config.toml");
    let passwd = fs::read_to_string(dir.join("etc/passwd")).expect("the user has been made");
    let user = passwd.lines().find(|line| line.starts_with("mattermost:")).expect("mattermost is among them");
    let about = fs::metadata(&config).expect("the sample is there");
    assert_eq!((about.mode() & 0o7777, Some(&*about.uid().to_string())), (0o600, user.split(':').nth(2)));

    // Run again it leaves alone what the admin has written, and the program takes that.
    fs::write(&config, "rtc.ice_port_udp = 8444\nstore.data_source = 'here'\n").expect("written");
    install(&[]);
    let program = dir.join("opt/rtcd/bin/rtcd");
    let printed = Command::new(&program).arg("--config").arg(&config).arg("--print-config").env_clear().output();
    let printed = String::from_utf8_lossy(&printed.expect("it runs").stdout).into_owned();
    assert!(printed.contains("ice_port_udp = 8444"), "{printed}");
    let root = format!("--root={}", dir.display());
    let judged = ["security", "--offline=yes", "--threshold=11", &root, "rtcd.service"];
    let judged = Command::new("systemd-analyze").args(judged).output().expect("systemd-analyze is installed");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    for file in
        ["etc/sysctl.d/60-rtcd.conf", "etc/systemd/system/rtcd.socket", "etc/systemd/system/rtcd-report@.service"]
    {
        assert!(dir.join(file).exists(), "{file}");
    }

    install(&["--remove"]);
    assert!(config.exists() && !program.exists() && !dir.join("etc/systemd/system/rtcd.service").exists());
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_unit_knows_the_exit_status_that_no_restart_cures() {
    let unit = fs::read_to_string(in_repository("units/rtcd.service")).expect("the unit is there");
    let code = rtcd::exit_code::ExitCode::Config as u8;
    assert!(unit.contains(&format!("RestartPreventExitStatus={code}\n")));
}
