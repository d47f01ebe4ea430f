//! `rtcd-load`, the tool that plays participants, against the daemon: what it measures is what was played, and under its load
//! nobody gets what is somebody else's, nor in another order.
use rtcd_tests::daemon::{self, Daemon, DaemonConfig};
use serde_json::Value;
use std::process::{Command, Output};

fn load(daemon: &Daemon, arguments: &[&str], key: Option<&str>) -> Output {
    let tool = daemon::binary_of("rtcd-load");
    let mut command = Command::new(tool);
    command.arg("--url").arg(format!("http://{}", daemon.api_addr())).arg("--json").args(arguments);
    command.env_remove("RTCD_LOAD_AUTH_KEY").envs(key.map(|key| ("RTCD_LOAD_AUTH_KEY", key)));
    command.output().expect("rtcd-load runs")
}

fn measured(output: &Output) -> Value {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Nothing of what must not happen under load, however slow the machine is.
fn assert_correct(result: &Value, calls: u64, participants: u64) {
    assert_eq!((&result["calls"], &result["participants"]), (&calls.into(), &participants.into()));
    for never in ["wrong_receiver", "unreadable", "failed", "duplicates", "reordered"] {
        assert_eq!(result[never], 0, "{never}: {result:#}");
    }
    assert!(result["delivered"].as_u64().is_some_and(|delivered| delivered > 0), "{result:#}");
}

#[test]
fn calls_are_played_and_everybody_gets_what_is_theirs_in_its_order() {
    let daemon = Daemon::start(DaemonConfig::new());
    let pid = daemon.pid().to_string();
    let arguments = ["--calls", "3", "--participants", "6", "--voices", "2", "--seconds", "3", "--pid", &pid];
    let result = measured(&load(&daemon, &arguments, None));
    assert_correct(&result, 3, 18);
    assert_eq!(result["loss"]["voice"]["lost"], 0, "{result:#}");
    assert_eq!(result["server"]["pid"], daemon.pid());
    assert!(result["server"]["cpu_us_per_packet"].as_f64().is_some_and(|cost| cost > 0.0), "{result:#}");
    assert!(result["latency_ms"]["voice"]["count"].as_u64().is_some_and(|count| count > 0), "{result:#}");
}

#[test]
fn calls_over_tcp_are_played() {
    let daemon = Daemon::start(DaemonConfig::new());
    let result = measured(&load(&daemon, &["--participants", "5", "--seconds", "2", "--tcp"], None));
    assert_correct(&result, 1, 5);
    assert_eq!(result["tcp"], true);
}

#[test]
fn a_wrong_key_is_told_as_such() {
    let daemon = Daemon::start(DaemonConfig::new());
    let arguments = ["--client-id", "somebody", "--participants", "2", "--seconds", "1"];
    measured(&load(&daemon, &arguments, Some(&"a key of the right length ".repeat(2))));
    let refused = load(&daemon, &arguments, Some(&"sesame open and be quick ".repeat(2)));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("somebody"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}
