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
    metrics.writes_time(&client, MediaType::Screen).observe(0.001);
    assert!(metrics.render(&[]).contains("rtcd_rtc_sessions_total{groupID=\"gone-client\"} 1"));
    assert!(metrics.render(&[]).contains("type=\"invalid\""));
    metrics.session_ended(&client);
    assert!(metrics.render(&[]).contains("gone-client"), "its connection is still up");
    metrics.ws_disconnected(&client);
    let text = metrics.render(&[]);
    assert!(!text.contains("gone-client"), "{text}");
}

#[test]
fn another_process_counts_on_from_where_one_was() {
    let before = Metrics::new();
    let (client, other) = (ClientId::from("client"), ClientId::from("other"));
    for group in [&client, &other] {
        before.session_joined(group);
        before.error(group, ErrorKind::Signaling);
        before.connection_time(group, 0.02);
    }
    before.conn_state(ConnState::Connected);
    let metrics = Metrics::new();
    metrics.go_on(before.counted(&[("received", "Datagrams", 7)]));
    // And once more, to one that has counted something itself.
    metrics.error(&client, ErrorKind::Signaling);
    metrics.connection_time(&client, 0.3);
    let mut bytes = Vec::new();
    let now = std::time::Instant::now();
    rtcd_media::handover::write(&mut bytes, 1, now, &metrics.counted(&[("received", "Datagrams", 5)]));
    let metrics = Metrics::new();
    metrics.go_on(rtcd_media::handover::read(&bytes, 1, now).expect("readable"));
    metrics.session_joined(&client);
    metrics.session_joined(&other);
    metrics.error(&client, ErrorKind::Signaling);
    metrics.connection_time(&client, 0.7);
    let text = metrics.render(&[("received", "Datagrams", 1), ("stray", "of switches", 3)]);
    for line in [
        "rtcd_rtc_errors_total{groupID=\"client\",type=\"signaling\"} 3",
        "rtcd_rtc_errors_total{groupID=\"other\",type=\"signaling\"} 1",
        "rtcd_rtc_conn_states_total{type=\"connected\"} 1",
        "rtcd_rtc_connection_time_bucket{groupID=\"client\",le=\"0.025\"} 1",
        "rtcd_rtc_connection_time_bucket{groupID=\"client\",le=\"0.5\"} 2",
        "rtcd_rtc_connection_time_bucket{groupID=\"client\",le=\"+Inf\"} 3",
        "rtcd_rtc_connection_time_count{groupID=\"other\"} 1",
        "rtcd_rtc_sessions_total{groupID=\"client\"} 1",
        "rtcd_plane_received_total 13",
        "rtcd_plane_stray_total 3",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    metrics.session_ended(&other);
    assert!(!metrics.render(&[]).contains("\"other\""), "nothing of it is live");
}

#[test]
fn counters_are_there_before_they_count() {
    let metrics = Metrics::new();
    metrics.session_joined(&"client".into());
    let text = metrics.render(&[("tcp_dropped", "Packets", 4)]);
    for line in [
        "rtcd_rtc_conn_states_total{type=\"failed\"} 0",
        "rtcd_auth_refused_total{reason=\"wrong_key\"} 0",
        "rtcd_signal_refused_total{reason=\"session\"} 0",
        "rtcd_rtc_errors_total{groupID=\"client\",type=\"rtp\"} 0",
        "rtcd_rtc_connection_time_count{groupID=\"client\"} 0",
        "rtcd_rtc_rtp_tracks_writes_time_count{groupID=\"client\",type=\"screen-audio\"} 0",
        "rtcd_drops_total{reason=\"a slow TCP connection did not take it\"} 4",
        "rtcd_draining 0",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    // All that could be counted is there for what does not go that way alone.
    assert!(!text.contains("direction=\"out\",type=\"join\""));
    assert!(!text.contains("rtcd_api_certificate_not_after_seconds "));
}

#[test]
fn what_participants_are_told_replaces_what_they_were_told() {
    let metrics = Metrics::new();
    let address = |protocol, address: &str| Address { protocol, address: address.into(), origin: "eth0".into() };
    metrics.advertised().set_own(vec![address("udp", "192.0.2.1:8443")]);
    metrics.advertised().set_relays(vec![address("relay", "192.0.2.9:5000")]);
    metrics.advertised().set_own(vec![address("udp", "192.0.2.2:8443")]);
    let text = metrics.render(&[]);
    let series = |address: &str, protocol: &str| {
        format!("rtcd_advertised{{address=\"{address}\",origin=\"eth0\",protocol=\"{protocol}\"}} 1")
    };
    assert!(text.contains(&series("192.0.2.2:8443", "udp")) && text.contains(&series("192.0.2.9:5000", "relay")));
    assert!(!text.contains("192.0.2.1"), "{text}");
    assert_eq!(metrics.advertised().to_string(), "udp 192.0.2.2:8443 (eth0), relay 192.0.2.9:5000 (eth0)");
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
