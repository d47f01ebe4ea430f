//! The container as a pod of the official chart: what its specification says, with the values of image/kubernetes.
use super::container::{Call, exit_of, in_a_runtime};
use crate::podman::{API, IMAGE, with_the_image};
use rtcd_tests::daemon::wait_for;
use rtcd_tests::{http, in_repository};
use std::fs;
use std::time::{Duration, Instant};

/// `env` of the pod: the chart prints values as they are, so that each has a second pair of quotes for YAML.
fn environment() -> Vec<(String, String)> {
    let values = fs::read_to_string(in_repository("image/kubernetes/host-network.yaml")).expect("there");
    let lines = values.lines().filter_map(|line| line.strip_prefix("    RTCD_")?.split_once(": "));
    let all: Vec<_> = lines.map(|(name, value)| (format!("RTCD_{name}"), unquoted(&unquoted(value)))).collect();
    assert!(all.len() > 3 && values.contains("readOnlyRootFilesystem: true"), "{values}");
    all
}

fn unquoted(value: &str) -> String {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).expect("a quoted value");
    let inner = value.trim_matches(quote);
    if quote == '"' { inner.replace("\\\"", "\"") } else { inner.to_owned() }
}

/// The chart's probes: an answer within five seconds.
fn probe() {
    let begun = Instant::now();
    let answer = http::request(API, "GET", "/version", None, None).expect("an answer");
    assert!(answer.status == 200 && begun.elapsed() < Duration::from_secs(5), "{answer:?}");
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn a_pod_of_the_chart_serves_and_ends_with_its_last_call() {
    with_the_image(|podman| {
        let mut line = "-d --name rtcd --read-only --read-only-tmpfs=false --cap-drop=all".to_owned();
        line += " --security-opt=no-new-privileges";
        for (name, value) in environment() {
            line += &format!(" -e {name}={value}");
        }
        let container = podman.start(&format!("{line} {IMAGE}"));
        // runAsNonRoot: a number, for a name could be root's.
        let user = container.inspect("{{.Config.User}}");
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
        probe();
        let ended = in_a_runtime(async {
            let call = Call::begin().await?;
            call.goes_on().await?;
            // terminationGracePeriodSeconds. The probes go on meanwhile, and a pod that fails them is killed.
            let stopping = container.stop("18000");
            tokio::task::block_in_place(|| {
                wait_for("the drain", || container.log().contains("waiting for sessions"));
                probe();
            });
            call.goes_on().await?;
            call.end().await?;
            Ok(tokio::task::block_in_place(|| stopping.join().expect("it ran")))
        });
        assert_eq!(exit_of(&container, ended), "0");
    });
}
