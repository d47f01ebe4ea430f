//! What a Mattermost node does with the API of the real daemon.
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig};
use rtcd_tests::http::basic;
use rtcd_tests::plugin::{Join, Plugin, Received, rtc};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_registers_when_it_is_refused_and_connects() {
    let daemon = Daemon::start(DaemonConfig::new());
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    plugin.check_version().await.unwrap();
    assert!(plugin.cpu_load().await.unwrap() > 0.0);
    assert!(matches!(plugin.dial().await, Err(rtcd_tests::plugin::Refused::Status(401))));
    let first = plugin.connect().await.unwrap();
    let second = plugin.connect().await.unwrap();
    assert_eq!(first.conn_id.len(), 26);
    assert_ne!(first.conn_id, second.conn_id);
    assert_eq!(daemon.metric("rtcd_ws_connections_total{clientID=\"mattermost\"}"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_registers_again_after_the_loss_of_the_store() {
    let first = Daemon::start(DaemonConfig::new());
    let mut plugin = Plugin::new(first.api_addr(), "mattermost");
    plugin.connect().await.unwrap();
    drop(first);
    let second = Daemon::start(DaemonConfig::new());
    plugin.api = second.api_addr();
    plugin.connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_known_while_it_has_a_session_and_is_gone_after_the_last() {
    let daemon = Daemon::start(DaemonConfig::new());
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut node = plugin.connect().await.unwrap();
    assert_eq!(plugin.sessions("call").await.unwrap(), None);
    let join = Join::new("call", "session");
    node.join(&join).await.unwrap();
    let expected = json!({
        "GroupID": "mattermost", "CallID": "call", "UserID": join.user_id, "SessionID": "session",
        "Props": {"channelID": "call", "av1Support": false, "dcSignaling": true},
    });
    // The same connection answers in order, so a refused second join shows that the first is through.
    while plugin.sessions("call").await.unwrap().is_none() {}
    assert_eq!(plugin.sessions("call").await.unwrap(), Some(vec![expected]));
    node.leave("session").await.unwrap();
    let closed = |message| match message {
        Received::Close { session_id } => Some(session_id),
        _ => None,
    };
    assert_eq!(node.wait_for("close", closed).await.unwrap(), "session");
    assert_eq!(plugin.sessions("call").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_to_the_connection_that_reconnects_it() {
    let daemon = Daemon::start(DaemonConfig::new());
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut first = plugin.connect().await.unwrap();
    let join = Join::new("call", "session");
    first.join(&join).await.unwrap();
    while plugin.sessions("call").await.unwrap().is_none() {}
    let mut second = plugin.connect().await.unwrap();
    second.reconnect("session").await.unwrap();
    second.leave("session").await.unwrap();
    let closed = second.receive().await.unwrap();
    assert_eq!(closed, Received::Close { session_id: "session".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_counted_and_the_connection_stays() {
    use tokio_tungstenite::tungstenite::Message;
    let daemon = Daemon::start(DaemonConfig::new());
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut node = plugin.connect().await.unwrap();
    node.send_raw(Message::Text("ping".into())).await.unwrap();
    node.send_raw(Message::Binary(vec![0xdb, 0xff, 0xff, 0xff, 0xff].into())).await.unwrap();
    node.send("nonsense", rmpv::Value::Nil).await.unwrap();
    node.rtc(&Join::new("call", "nobody"), rtc::SDP, Some(&json!({"type": "offer", "sdp": "rubbish"}))).await.unwrap();
    node.rtc(&Join::new("call", "nobody"), 99, None).await.unwrap();
    node.join(&Join::new("call", "session")).await.unwrap();
    while plugin.sessions("call").await.unwrap().is_none() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_one_installation_is_unknown_to_another() {
    let daemon = Daemon::start(DaemonConfig::new());
    let (ours, theirs) = (Plugin::new(daemon.api_addr(), "ours"), Plugin::new(daemon.api_addr(), "theirs"));
    let mut node = ours.connect().await.unwrap();
    let mut other = theirs.connect().await.unwrap();
    node.join(&Join::new("call", "session")).await.unwrap();
    while ours.sessions("call").await.unwrap().is_none() {}
    other.leave("session").await.unwrap();
    assert_eq!(theirs.sessions("call").await.unwrap(), None);
    assert_eq!(ours.sessions("call").await.unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_survives_kill_9() {
    let store = rtcd_tests::daemon::temp_dir("store");
    let first = Daemon::start(DaemonConfig::new().store(&store));
    let mut plugin = Plugin::new(first.api_addr(), "mattermost");
    assert_eq!(plugin.register().await.unwrap().status, 201);
    drop(first); // SIGKILL
    let second = Daemon::start(DaemonConfig::new().store(&store));
    plugin.api = second.api_addr();
    assert!(plugin.dial().await.is_ok());
    let _ = std::fs::remove_dir_all(store);
}

#[test]
fn the_admin_registers_while_nobody_else_may() {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "false"));
    let body = json!({"clientID": "a", "authKey": "k".repeat(32)}).to_string();
    assert_eq!(daemon.request("POST", "/register", None, Some(&body)).status, 401);
    assert_eq!(daemon.request("POST", "/register", Some(&basic("x", ADMIN_KEY)), Some(&body)).status, 201);
}

#[test]
fn credentials_are_not_in_the_log() {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "TRACE"));
    let key = "a-key-that-must-not-be-logged-0123456789";
    daemon.register("a", key);
    daemon.request("GET", "/calls/c/sessions", Some(&basic("a", key)), None);
    let log = daemon.log();
    for secret in [key, ADMIN_KEY, basic("a", key).trim_start_matches("Basic ")] {
        assert!(!log.contains(secret), "{log}");
    }
}
