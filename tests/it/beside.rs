//! What stands beside the daemon in image/compose and image/kubernetes, by the real programs: coturn, Prometheus, helm.
use anyhow::Result;
use rtcd_tests::daemon::{DaemonConfig, temp_dir, wait_for};
use rtcd_tests::namespace::{ADDRESS, with_a_network_of_its_own};
use rtcd_tests::server::Server;
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use rtcd_tests::{http, in_repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// As Compose puts the values of `.env` into a text: `${NAME}`, `${NAME:?text}`, `${NAME:-other}`, one within another.
fn interpolated(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.rfind("${") {
        let end = start + text[start..].find('}').expect("it is closed");
        let inner = text[start + 2..end].to_owned();
        let (name, otherwise) = inner.split_once(":-").map_or((&*inner, None), |(name, other)| (name, Some(other)));
        let name = name.split(":?").next().expect("at least one part");
        let new = value(name).or(otherwise.map(str::to_owned)).unwrap_or_else(|| panic!("{name} has no value"));
        text.replace_range(start..=end, &new);
    }
    text
}

/// The lines of a block of text (`key: |`) in a YAML file, without what they are indented by.
fn block<'a>(yaml: &'a str, key: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != format!("{key}: |")).skip(1).peekable();
    let indent = lines.peek().expect("the block is there").chars().take_while(|c| *c == ' ').count();
    let of_block = |line: &&'a str| line.is_empty() || line.starts_with(&" ".repeat(indent));
    lines.take_while(of_block).map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}

#[test]
fn every_value_that_compose_asks_for_is_in_the_example_of_its_environment() {
    let example = read("image/compose/env.example");
    let mut asked = 0;
    let compose = interpolated(&read("image/compose/compose.yaml"), |name| {
        asked += 1;
        let known = example.lines().any(|line| line.trim_start_matches('#').split('=').next() == Some(name));
        assert!(known || name.ends_with("_IMAGE"), "{name}");
        Some("value".into())
    });
    assert!(asked > 8);
    for line in compose.lines().filter(|line| line.contains("./")) {
        let path = line[line.find("./").expect("just seen") + 2..].split(':').next().expect("a path");
        assert!(in_repository("image/compose").join(path).exists(), "{line}");
    }
}

#[test]
fn the_turn_server_of_compose_takes_time_limited_credentials_and_relays_nowhere_else() {
    const SECRET: &str = "a-secret-of-this-test";
    let dir = temp_dir("turn");
    let file = interpolated(&block(&read("image/compose/compose.yaml"), "content"), |name| match name {
        "PUBLIC_ADDRESS" => Some(ADDRESS.to_string()),
        "TURN_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    });
    fs::write(dir.join("turnserver.conf"), file).expect("written");
    let said = with_a_network_of_its_own(|| {
        let conf = dir.join("turnserver.conf");
        let mut command = Command::new("turnserver");
        let _coturn = Server::start(command.arg("-c").arg(conf).current_dir(&dir), &dir.join("log"));
        wait_for("coturn", || std::net::TcpStream::connect((ADDRESS, 3478)).is_ok());
        let relay = |arguments: &[&str], secret: &str| {
            let mut client = Command::new("timeout");
            client.args(["20", "turnutils_uclient", "-n", "3", "-m", "1", "-u", "anybody", "-W", secret]);
            let output = client.args(arguments).arg(ADDRESS.to_string()).output().expect("it is installed");
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
        };
        [
            relay(&["-y"], SECRET),
            relay(&["-y", "-t"], SECRET),
            relay(&["-y"], "another secret"),
            relay(&["-e", "10.77.0.2"], SECRET),
            relay(&["-e", "127.0.0.1"], SECRET),
        ]
    });
    for (said, wanted) in said.iter().zip([
        "Total lost packets 0 ",
        "Total lost packets 0 ",
        "Cannot complete Allocation",
        "403 (Forbidden IP)",
        "403 (Forbidden IP)",
    ]) {
        assert!(said.contains(wanted), "{wanted}: {said}\n{}", fs::read_to_string(dir.join("log")).unwrap_or_default());
    }
    fs::remove_dir_all(dir).expect("removed");
}

/// What the panels of the published dashboard ask of an rtcd: 23225 on grafana.com. Those of Mattermost's plugin and of the
/// machine's exporter are others' to fill.
fn published_queries() -> Vec<String> {
    let average = |name: &str| format!("rate({name}_sum[2m]) / (rate({name}_count[2m]) > 0)");
    let quantile = |name: &str, by: &str| format!("histogram_quantile(0.99, sum(rate({name}_bucket[2m])) by ({by}))");
    let mut queries: Vec<String> = [
        "avg(irate(rtcd_process_cpu_seconds_total[2m]) * 100) by (instance)",
        "go_memstats_heap_inuse_bytes",
        "go_memstats_stack_inuse_bytes",
        "sum(go_goroutines) by (instance)",
        "rtcd_ws_connections_total",
        "sum(rate(rtcd_ws_messages_total[2m])) by (type, instance)",
        "sum(rtcd_rtc_sessions_total) by (instance)",
        "sum(increase(rtcd_rtc_errors_total[2m])) by (type, instance)",
        "sum(rtcd_rtc_rtp_tracks_total) by (instance, direction, type)",
        "sum(increase(rtcd_rtc_conn_states_total[2m])) by (instance, type)",
    ]
    .map(String::from)
    .into();
    for name in
        ["connection_time", "signaling_lock_grab_time", "signaling_lock_locked_time", "client_rtt", "client_jitter"]
            .iter()
            .chain(&["client_loss_rate", "rtp_tracks_writes_time"])
    {
        let name = format!("rtcd_rtc_{name}");
        queries.extend([average(&name), quantile(&name, "type, le, instance")]);
    }
    queries
}

#[test]
fn each_alert_fires_for_what_it_is_for_and_for_nothing_else() {
    let promtool = |arguments: &[&str]| {
        let output = Command::new("promtool").args(arguments).current_dir(in_repository("")).output();
        let output = output.expect("it is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    };
    promtool(&["check", "rules", "image/compose/alerts.yml"]);
    promtool(&["test", "rules", "tests/it/alerts.yml"]);
    let (rules, tests) = (read("image/compose/alerts.yml"), read("tests/it/alerts.yml"));
    let names: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    for name in names {
        let silent = tests.contains(&format!("alertname: {name}}}"));
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:"));
        assert!(silent && fires, "{name} has no test");
    }
}

#[test]
fn prometheus_scrapes_a_call_and_every_panel_of_both_dashboards_and_every_alert_has_its_series() {
    let dir = temp_dir("prometheus");
    let shipped = in_repository("image/compose/prometheus.yml");
    let checked = Command::new("promtool").args(["check", "config"]).arg(shipped).output().expect("it is installed");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // Every second, for the sake of the rates below.
    let file = read("image/compose/prometheus.yml").replace("15s", "1s").replace("10s", "1s");
    fs::write(dir.join("prometheus.yml"), file).expect("written");
    fs::copy(in_repository("image/compose/alerts.yml"), dir.join("alerts.yml")).expect("copied");
    let dashboard: Value = serde_json::from_str(&read("image/compose/grafana/dashboards/rtcd.json")).expect("JSON");
    with_a_network_of_its_own(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(a_call_is_seen(&dir, &dashboard)).expect("a call");
    });
    fs::remove_dir_all(dir).expect("removed");
}

/// The port of the API is the one that everybody's file has.
async fn a_call_is_seen(dir: &Path, dashboard: &Value) -> Result<()> {
    let world = World::start_with(DaemonConfig { api_port: 8045, ..DaemonConfig::new() }).await?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}/prometheus.yml", dir.display()));
    command.arg(format!("--storage.tsdb.path={}/data", dir.display())).arg("--web.listen-address=127.0.0.1:9090");
    let _prometheus = Server::start(&mut command, &dir.join("log"));
    let ask = |query: &str| -> Option<Vec<Value>> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/api/v1/query?query={query}");
        let answer = http::request(([127, 0, 0, 1], 9090).into(), "GET", &path, None, None).ok()?;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        // 503: it is starting.
        (answer.status == 200).then(|| answer.json())?["data"]["result"].as_array().cloned()
    };
    tokio::task::block_in_place(|| {
        wait_for("a scrape", || ask("up{service_name=\"rtcd\"} == 1").is_some_and(|found| !found.is_empty()));
    });

    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    ann.add_video(&[]);
    let _flows = [ann.stream("voice", VOICE), ann.stream("video", KEY_FRAME)];
    bob.wait_track("video", "ann").await?;
    for (kind, value) in [(4, 0.1_f64), (5, 0.03), (6, 0.002)] {
        ann.channel(&[&[kind, 0xcb][..], &value.to_be_bytes()].concat());
    }
    // Something for the panel of errors.
    ann.channel(&[77]);
    let panels = dashboard["panels"].as_array().expect("a list");
    assert!(panels.len() > 10);
    for panel in panels {
        for target in panel["targets"].as_array().expect("a list") {
            let query = target["expr"].as_str().expect("a query").replace("$__rate_interval", "10s");
            tokio::task::block_in_place(|| {
                wait_for(&format!("{}: {query}", panel["title"]), || ask(&query).is_some_and(|all| !all.is_empty()));
            });
        }
    }
    for query in published_queries() {
        tokio::task::block_in_place(|| wait_for(&query, || ask(&query).is_some_and(|all| !all.is_empty())));
    }
    // A name that is written wrong would never fire.
    let alerts = read("image/compose/alerts.yml");
    let names: BTreeSet<_> = alerts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let elsewhere = ["rtcd_turn_allocated", "rtcd_api_certificate_not_after_seconds", "rtcd_drops_total"];
    for name in names.into_iter().filter(|name| name.starts_with("rtcd_") && !elsewhere.contains(name)) {
        assert!(ask(name).is_some_and(|all| !all.is_empty()), "{name}");
    }
    Ok(())
}

/// With `MATTERMOST_HELM_CHARTS` at a clone of the charts, and helm installed.
#[test]
fn the_official_chart_renders_with_our_values() {
    let Some(charts) = std::env::var_os("MATTERMOST_HELM_CHARTS") else {
        eprintln!("MATTERMOST_HELM_CHARTS is not set: the chart is not rendered");
        return;
    };
    let chart = Path::new(&charts).join("charts/mattermost-rtcd");
    let render = |values: &[&str]| {
        let mut helm = Command::new("helm");
        helm.arg("template").arg("rtcd").arg(&chart);
        for name in values {
            helm.arg("-f").arg(in_repository("image/kubernetes").join(name));
        }
        let output = helm.output().expect("helm is installed");
        assert!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let pods = [
        (render(&["host-network.yaml"]), vec!["kind: Deployment", "hostNetwork: true", "hostPort: 8443"]),
        (
            render(&["host-network.yaml", "daemonset.yaml"]),
            vec!["kind: DaemonSet", "mountPath: /opt/rtcd/data", "value: \"/opt/rtcd/data/db\"", "workload: rtcd"],
        ),
        (
            render(&["host-network.yaml", "load-balancer.yaml"]),
            vec!["replicas: 1", "type: LoadBalancer", "type: Recreate", "value: \"203.0.113.10\""],
        ),
    ];
    for (rendered, expected) in &pods {
        for line in
            expected.iter().chain(&["runAsNonRoot: true", "terminationGracePeriodSeconds: 18000", "value: \"true\""])
        {
            assert!(rendered.contains(line), "{line}: {rendered}");
        }
    }
    assert!(!pods[2].0.contains("hostNetwork"), "{}", pods[2].0);
}
