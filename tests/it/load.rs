//! `rtcd-load` against the daemon: small loads, all of which arrive.
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig, binary_of};
use rtcd_tests::http::basic;
use serde_json::Value;
use std::process::{Command, Output};

/// Runs it against a daemon: a short window, nothing to settle before it, the result as JSON.
fn load(daemon: &Daemon, args: &[&str], key: Option<&str>) -> Output {
    let mut command = Command::new(binary_of("rtcd-load"));
    command.args(["--url", &format!("http://{}", daemon.api_addr())]).args([
        "--seconds",
        "2",
        "--warm-up",
        "2",
        "--json",
    ]);
    command.args(args).env_remove("RTCD_LOAD_AUTH_KEY").envs(key.map(|key| ("RTCD_LOAD_AUTH_KEY", key)));
    command.output().expect("it runs")
}

/// What a load that must go well says.
fn report(daemon: &Daemon, args: &[&str]) -> Value {
    let output = load(daemon, args, None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} is no number: {report:#}"))
}

fn assert_all_arrived(report: &Value) {
    assert!(number(report, "/delivered") > 0.0, "{report:#}");
    for path in ["/loss/all/lost", "/wrong_receiver", "/unreadable", "/duplicates", "/reordered", "/failed"] {
        assert_eq!(number(report, path), 0.0, "{path}: {report:#}");
    }
    assert_eq!(number(report, "/loss/all/expected"), number(report, "/delivered"), "{report:#}");
}

#[test]
fn a_small_load_arrives_with_figures_of_the_server() {
    let daemon = Daemon::start(DaemonConfig::new());
    let args = ["--calls", "2", "--participants", "4", "--cameras", "1", "--pid", &daemon.pid().to_string()];
    let report = report(&daemon, &args);
    assert_all_arrived(&report);
    assert_eq!(number(&report, "/participants"), 8.0);
    assert_eq!(number(&report, "/join_ms/count"), 8.0);
    // A screen and a camera, at three in each call.
    assert_eq!(number(&report, "/key_frame_ms/count"), 12.0);
    assert!(number(&report, "/latency_ms/voice/count") > 0.0 && number(&report, "/latency_ms/video/count") > 0.0);
    assert!(number(&report, "/server/cpu_us_per_packet") > 0.0 && number(&report, "/server/peak_rss_bytes") > 1e6);
}

#[test]
fn a_small_load_arrives_over_tcp() {
    let daemon = Daemon::start(DaemonConfig::new());
    let report = report(&daemon, &["--participants", "4", "--tcp"]);
    assert_all_arrived(&report);
    assert!(report["tcp"].as_bool().expect("a bool"));
}

#[test]
fn a_small_load_of_two_layers_arrives() {
    let daemon = Daemon::start(DaemonConfig::new());
    assert_all_arrived(&report(&daemon, &["--participants", "4", "--simulcast"]));
}

#[test]
fn who_comes_and_who_goes_takes_nothing_from_the_others() {
    let daemon = Daemon::start(DaemonConfig::new());
    let report = report(&daemon, &["--participants", "6", "--churn", "4"]);
    assert_all_arrived(&report);
    assert!(number(&report, "/join_ms/count") > 6.0, "nobody new came: {report:#}");
}

#[test]
fn a_client_of_its_own_goes_with_the_run() {
    let daemon = Daemon::start(DaemonConfig::new());
    report(&daemon, &["--participants", "2"]);
    let clients = daemon.request("GET", "/clients", Some(&basic("x", ADMIN_KEY)), None);
    assert_eq!(clients.status, 200);
    assert!(!clients.text().contains("load-"), "{}", clients.text());
}

#[test]
fn a_wrong_key_is_told_as_such() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = |end: &str| format!("a-key-of-32-characters-or-more-{end}");
    let right = load(&daemon, &["--participants", "2"], Some(&key("right")));
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    let refused = load(&daemon, &["--participants", "2"], Some(&key("wrong")));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("client `load` has another key"), "{said}");
    assert!(!said.contains(&key("wrong")), "the key is shown: {said}");
}

#[test]
fn where_nobody_may_register_the_way_out_is_told() {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "false"));
    let refused = load(&daemon, &["--participants", "2"], None);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("allow_self_registration") && said.contains("rtcd client add"), "{said}");
}
