use super::*;

#[test]
fn a_client_that_has_gone_leaves_no_series_behind() {
    let metrics = Metrics::new();
    let client = ClientId::from("gone-client");
    metrics.ws_connected(&client);
    metrics.session_joined(&client);
    metrics.ws_message(&client, "join", Direction::In);
    metrics.ws_message(&client, "anything", Direction::In);
    metrics.track_started(&client, Direction::In, TrackType::Opus);
    metrics.error(&client, ErrorKind::Signaling);
    metrics.connection_time(&client, 0.02);
    metrics.writes_time(&client, TrackType::Vp8).observe(0.001);
    assert!(metrics.render(&[]).contains("rtcd_rtc_sessions_total{groupID=\"gone-client\"} 1"));
    assert!(metrics.render(&[]).contains("type=\"invalid\""));
    metrics.session_ended(&client);
    assert!(metrics.render(&[]).contains("gone-client"), "its connection is still up");
    metrics.ws_disconnected(&client);
    let text = metrics.render(&[]);
    assert!(!text.contains("gone-client"), "{text}");
}

#[test]
fn the_process_describes_itself() {
    let text = Metrics::new().render(&[("received", "Datagrams", 7)]);
    for name in [
        "cpu_seconds_total",
        "open_fds",
        "max_fds",
        "resident_memory_bytes",
        "virtual_memory_bytes",
        "start_time_seconds",
    ] {
        assert!(text.contains(&format!("\nrtcd_process_{name} ")), "{name}: {text}");
    }
    assert!(text.contains("\nrtcd_plane_received_total 7\n"), "{text}");
}
