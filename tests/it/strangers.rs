//! Clients that go, and strangers that want everything for themselves.
use anyhow::Result;
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig, wait_for};
use rtcd_tests::http;
use rtcd_tests::plugin::{Join, Plugin, Received};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_ends_the_sessions_and_the_websocket() -> Result<()> {
    let daemon = Daemon::start(DaemonConfig::new());
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut connection = plugin.connect().await?;
    connection.join(&Join::new("call", "ann")).await?;
    wait_for("the session", || daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}") == 1.0);
    let body = serde_json::json!({"clientID": "mattermost"}).to_string();
    let admin = http::basic("", ADMIN_KEY);
    assert_eq!(daemon.request("POST", "/unregister", Some(&admin), Some(&body)).status, 200);
    connection.wait_for("close", |message| matches!(message, Received::Close { .. }).then_some(())).await?;
    connection.wait_closed().await?;
    wait_for("the end of all", || !daemon.metrics().contains("groupID=\"mattermost\""));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_beyond_the_bound_is_answered_with_close() -> Result<()> {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_RTC_MAXSESSIONSPERCLIENT", "2"));
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut connection = plugin.connect().await?;
    for name in ["ann", "bob", "eve"] {
        connection.join(&Join::new("call", name)).await?;
    }
    let closed = |message| if let Received::Close { session_id } = message { Some(session_id) } else { None };
    let refused = connection.wait_for("close", closed).await?;
    assert_eq!(refused, Join::new("call", "eve").session_id);
    connection.leave(&Join::new("call", "ann").session_id).await?;
    connection.join(&Join::new("call", "eve")).await?;
    wait_for("eve", || daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}") == 2.0);
    assert!(daemon.metric("rtcd_rtc_errors_total{groupID=\"mattermost\",type=\"join\"}") == 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_joins_fills_neither_the_log_nor_the_memory() -> Result<()> {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO"));
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut connection = plugin.connect().await?;
    let memory = || daemon.metric("rtcd_process_resident_memory_bytes") / 1048576.0;
    let before = memory();
    let mut peak = before;
    // In waves: a thousand messages may wait for a client that does not read.
    for wave in 0..60 {
        for number in 0..500 {
            connection.join(&Join::new("call", &format!("{wave}-{number}"))).await?;
        }
        peak = memory().max(peak);
        for number in 0..500 {
            connection.leave(&format!("{wave}-{number}")).await?;
        }
        let mut closed = 0;
        while closed < 500 {
            closed += usize::from(matches!(connection.receive().await?, Received::Close { .. }));
        }
    }
    let sessions = || daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}");
    wait_for("the end of all sessions", || sessions() == 0.0);
    let after = memory();
    println!("MiB: {before} before, {peak} at the peak, {after} after; {} bytes of log", daemon.log().len());
    assert!(after < before + 60.0, "{before} {peak} {after}");
    assert!(daemon.log().len() < 6_000_000, "{}", daemon.log().len());
    Ok(())
}

#[test]
fn a_flood_of_logins_keeps_no_known_client_out() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = "k".repeat(40);
    assert_eq!(daemon.register("mattermost", &key).status, 201);
    let wrong = r#"{"clientID":"mattermost","authKey":"wrong"}"#;
    let request = format!("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{wrong}", wrong.len());
    let mut flood = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(daemon.api_addr()).expect("it takes connections");
        stream.write_all(request.as_bytes()).expect("it reads");
        flood.push(stream);
    }
    let asked = Instant::now();
    let right = serde_json::json!({"clientID": "mattermost", "authKey": key}).to_string();
    assert_eq!(daemon.request("POST", "/login", None, Some(&right)).status, 200);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn thousands_of_half_open_heads_keep_nobody_out() {
    let _ = rtcd::privileges::raise_file_limit();
    let daemon = Daemon::start(DaemonConfig::new());
    let mut silent = Vec::new();
    for _ in 0..4000 {
        // Those that had to make room are closed.
        let Ok(mut stream) = TcpStream::connect(daemon.api_addr()) else { break };
        let _ = stream.write_all(b"GET /version HTTP/1.1\r\nX-Slow: ");
        silent.push(stream);
    }
    assert!(silent.len() > 3000, "{}", silent.len());
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(daemon.request("GET", "/version", None, None).status, 200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    assert!(daemon.metric("rtcd_api_strangers_dropped_total") > 1000.0);
    // Once each time that there was room in between.
    let said = daemon.log().matches("too many connections to the API").count();
    assert!((1..10).contains(&said), "said {said} times");
}

#[test]
fn no_more_files_do_not_spin_and_strangers_make_room() {
    let daemon = Daemon::start(DaemonConfig::new());
    let pid = daemon.pid().to_string();
    let limited = std::process::Command::new("prlimit").args(["--pid", &pid, "--nofile=120:120"]).status();
    assert!(limited.expect("prlimit is installed").success());
    let cpu = || daemon.metric("rtcd_process_cpu_seconds_total");
    let silent: Vec<_> = (0..200).map_while(|_| TcpStream::connect(daemon.api_addr()).ok()).collect();
    let before = (Instant::now(), cpu());
    assert_eq!(daemon.request("GET", "/version", None, None).status, 200);
    std::thread::sleep(Duration::from_secs(1));
    let share = (cpu() - before.1) / before.0.elapsed().as_secs_f64();
    assert!(share < 0.3, "{share} of a CPU");
    drop(silent);
    assert_eq!(daemon.request("GET", "/version", None, None).status, 200);
}

#[test]
fn the_store_is_kept_whatever_happens_to_its_directory() {
    let daemon = Daemon::start(DaemonConfig::new());
    let store = daemon.dir().join("store");
    let key = "k".repeat(40);
    assert_eq!(daemon.register("first", &key).status, 201);
    std::fs::remove_dir_all(&store).expect("removed");
    wait_for("the complaint", || daemon.log().contains("store.data_source"));
    wait_for("the new directory", || store.join("db").exists());
    assert_eq!(daemon.register("second", &key).status, 201);
    let text = daemon.log();
    assert!(text.contains("has failed") && text.contains("works again"), "{text}");
}
