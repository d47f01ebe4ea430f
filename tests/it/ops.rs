//! The daemon in the hands of systemd and of signals.
use crate::systemd::Notifications;
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{Daemon, DaemonConfig, free_port, wait_for};
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::world::{VOICE, World};
use std::fs;

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
    reload("rtc.ice_host_override = '999.1.1.1'", "not reloaded: the configuration has 1 mistake");
    reload("rtc.ice_host_override = '127.0.0.2'\nrtc.nack_buffer_size = 64", "configuration reloaded");
    assert!(
        world.daemon.log().contains(r#"these keys need a restart: rtc.nack_buffer_size"#),
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
