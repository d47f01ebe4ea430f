//! `/metrics` during a call and after its end, against the contract's list.
use anyhow::Result;
use rtcd_tests::daemon::wait_for;
use rtcd_tests::plugin::{Join, Plugin};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use std::collections::{BTreeMap, BTreeSet};
use tokio_tungstenite::tungstenite::Message;

const LATENCY: [&str; 14] =
    ["0.001", "0.005", "0.0075", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.3", "0.4", "0.5", "0.75", "1"];
const DEFAULT: [&str; 11] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"];
const LOSS: [&str; 12] =
    ["0.001", "0.005", "0.0075", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1"];

/// Name, kind, label names.
const CONTRACT: [(&str, &str, &[&str]); 20] = [
    ("rtcd_process_cpu_seconds_total", "counter", &[]),
    ("rtcd_process_open_fds", "gauge", &[]),
    ("rtcd_process_max_fds", "gauge", &[]),
    ("rtcd_process_resident_memory_bytes", "gauge", &[]),
    ("rtcd_process_virtual_memory_bytes", "gauge", &[]),
    ("rtcd_process_start_time_seconds", "gauge", &[]),
    ("rtcd_rtc_sessions_total", "gauge", &["groupID"]),
    ("rtcd_rtc_rtp_tracks_total", "gauge", &["direction", "groupID", "type"]),
    ("rtcd_rtc_rtp_tracks_writes_time", "histogram", &["groupID", "type"]),
    ("rtcd_rtc_conn_states_total", "counter", &["type"]),
    ("rtcd_rtc_errors_total", "counter", &["groupID", "type"]),
    ("rtcd_rtc_connection_time", "histogram", &["groupID"]),
    ("rtcd_rtc_dc_open_time", "histogram", &["groupID"]),
    ("rtcd_rtc_signaling_lock_grab_time", "histogram", &["groupID"]),
    ("rtcd_rtc_signaling_lock_locked_time", "histogram", &["groupID"]),
    ("rtcd_rtc_client_loss_rate", "histogram", &["groupID"]),
    ("rtcd_rtc_client_rtt", "histogram", &["groupID"]),
    ("rtcd_rtc_client_jitter", "histogram", &["groupID"]),
    ("rtcd_ws_connections_total", "gauge", &["clientID"]),
    ("rtcd_ws_messages_total", "counter", &["clientID", "direction", "type"]),
];

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// One scrape, read by rules of its own.
struct Scrape {
    kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Scrape {
    fn of(world: &World) -> Self {
        let (mut kinds, mut samples) = (BTreeMap::new(), Vec::new());
        for line in world.daemon.metrics().lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a kind");
                assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "{name} is told twice");
            } else if !line.starts_with('#') {
                samples.push(read(line));
            }
        }
        Self { kinds, samples }
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|known| known == value);
            sample.name == name && sample.labels.len() == labels.len() && labels.iter().all(has)
        };
        self.samples.iter().find(fits).map_or(0.0, |sample| sample.value)
    }

    fn group(&self, name: &str) -> f64 {
        self.value(name, &[("groupID", "mattermost")])
    }

    fn buckets(&self, name: &str, labels: &BTreeMap<String, String>) -> Vec<(&str, f64)> {
        let name = format!("{name}_bucket");
        let same = |sample: &Sample| labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value));
        let of = self.samples.iter().filter(|sample| sample.name == name && same(sample));
        of.map(|sample| (sample.labels["le"].as_str(), sample.value)).collect()
    }
}

fn read(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
        None => (series, ""),
    };
    let label = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    // None of the tests' label values has a comma.
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(label).collect();
    Sample { name: name.into(), labels, value }
}

/// Every series of the contract is there, as it is described there.
fn check_contract(scrape: &Scrape) {
    for (name, kind, labels) in CONTRACT {
        assert_eq!(scrape.kinds.get(name).map(String::as_str), Some(kind), "{name}");
        let stem = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let of: Vec<_> = scrape.samples.iter().filter(|sample| sample.name == stem).collect();
        assert!(!of.is_empty(), "{name} has no samples");
        for sample in &of {
            let names: Vec<_> = sample.labels.keys().map(String::as_str).collect();
            assert_eq!(names, labels, "{name}");
        }
        if kind == "histogram" {
            let bounds: &[&str] = match name {
                "rtcd_rtc_client_loss_rate" => &LOSS,
                "rtcd_rtc_client_rtt" | "rtcd_rtc_client_jitter" | "rtcd_rtc_rtp_tracks_writes_time" => &LATENCY,
                _ => &DEFAULT,
            };
            for sample in of {
                let (found, counts): (Vec<_>, Vec<_>) = scrape.buckets(name, &sample.labels).into_iter().unzip();
                assert_eq!(found, [bounds, &["+Inf"]].concat(), "{name}");
                assert!(counts.is_sorted(), "{name} is cumulative");
                assert_eq!(counts.last(), Some(&sample.value), "{name}");
            }
        }
    }
    // Of the dashboard's panels of memory and tasks.
    let foreign: Vec<_> = scrape.kinds.keys().filter(|name| !name.starts_with("rtcd_")).collect();
    assert_eq!(foreign, ["go_goroutines", "go_memstats_heap_inuse_bytes", "go_memstats_stack_inuse_bytes"]);
    assert!(foreign.iter().all(|name| scrape.value(name, &[]) > 0.0));
    let ours: BTreeSet<_> = CONTRACT.iter().map(|(name, ..)| *name).collect();
    assert!(ours.iter().all(|name| scrape.kinds.contains_key(*name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_measured_while_it_lasts_and_leaves_nothing_behind() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    bob.add_voice();
    ann.add_video(&[]);
    let flows = [ann.stream("voice", VOICE), bob.stream("voice", VOICE), ann.stream("video", KEY_FRAME)];
    bob.wait_track("video", "ann").await?;
    bob.wait_track("voice", "ann").await?;
    ann.wait_track("voice", "bob").await?;
    let float = |kind: u8, value: f64| [&[kind, 0xcb][..], &value.to_be_bytes()].concat();
    for (kind, values) in [(4, [0.0, 0.2]), (5, [0.03, 0.6]), (6, [0.002, 3.0])] {
        values.into_iter().for_each(|value| ann.channel(&float(kind, value)));
    }
    ann.channel(&[77]);
    wait_for("the participant's words", || world.errors("data_channel") == 1.0);

    let scrape = Scrape::of(&world);
    check_contract(&scrape);
    let track = |direction: &str, kind: &str| {
        let labels = [("groupID", "mattermost"), ("direction", direction), ("type", kind)];
        scrape.value("rtcd_rtc_rtp_tracks_total", &labels)
    };
    assert_eq!(scrape.group("rtcd_rtc_sessions_total"), 2.0);
    assert_eq!((track("in", "audio/opus"), track("out", "audio/opus")), (2.0, 2.0));
    assert_eq!((track("in", "video/VP8"), track("out", "video/VP8")), (1.0, 1.0));
    assert_eq!(scrape.value("rtcd_rtc_conn_states_total", &[("type", "connected")]), 2.0);
    assert_eq!(scrape.group("rtcd_rtc_connection_time_count"), 2.0);
    assert_eq!(scrape.group("rtcd_rtc_dc_open_time_count"), 2.0);
    for (name, sum, small) in [
        ("rtcd_rtc_client_loss_rate", 0.2, ("0.001", 1.0)),
        ("rtcd_rtc_client_rtt", 0.63, ("0.05", 1.0)),
        ("rtcd_rtc_client_jitter", 3.002, ("1", 1.0)),
    ] {
        assert_eq!(scrape.group(&format!("{name}_count")), 2.0, "{name}");
        assert!((scrape.group(&format!("{name}_sum")) - sum).abs() < 1e-9, "{name}");
        let buckets = scrape.buckets(name, &BTreeMap::new());
        assert!(buckets.contains(&small), "{name}: {buckets:?}");
    }
    // Ours to bob for what ann sends, ours to ann for what bob sends; and theirs.
    assert!(scrape.group("rtcd_rtc_signaling_lock_grab_time_count") >= 2.0);
    let locked = scrape.group("rtcd_rtc_signaling_lock_locked_time_count");
    assert!(locked >= scrape.group("rtcd_rtc_signaling_lock_grab_time_count"), "theirs are measured, too");
    assert_eq!(scrape.value("rtcd_ws_connections_total", &[("clientID", "mattermost")]), 1.0);
    let messages = |kind: &str, direction: &str| {
        let labels = [("clientID", "mattermost"), ("type", kind), ("direction", direction)];
        scrape.value("rtcd_ws_messages_total", &labels)
    };
    assert_eq!((messages("join", "in"), messages("hello", "out")), (2.0, 1.0));
    // A candidate and an offer each and ann's VideoOn; an answer and candidates for each.
    assert_eq!(messages("rtc", "in"), 5.0);
    assert!(messages("rtc", "out") >= 4.0);
    assert!(scrape.value("rtcd_process_resident_memory_bytes", &[]) > 1e6);
    assert!(scrape.value("rtcd_process_open_fds", &[]) > 5.0);
    assert!(scrape.value("rtcd_process_start_time_seconds", &[]) > 1.6e9);
    for kind in ["voice", "video"] {
        let series = format!("rtcd_rtc_rtp_tracks_writes_time_count{{groupID=\"mattermost\",type=\"{kind}\"}}");
        wait_for(&format!("samples of writes of {kind}"), || world.daemon.metric(&series) > 0.0);
    }

    drop(flows);
    ann.leave().await?;
    bob.wait_no_track("video", "ann").await?;
    bob.leave().await?;
    let scrape = Scrape::of(&world);
    assert_eq!(scrape.group("rtcd_rtc_sessions_total"), 0.0);
    let tracks = scrape.samples.iter().filter(|sample| sample.name == "rtcd_rtc_rtp_tracks_total");
    assert!(tracks.clone().count() > 0 && tracks.clone().all(|sample| sample.value == 0.0));
    assert_eq!(scrape.value("rtcd_rtc_conn_states_total", &[("type", "closed")]), 2.0);
    world.node.die();
    wait_for("the client's series to go", || !world.daemon.metrics().contains("mattermost"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go_leave_no_series() -> Result<()> {
    let world = World::start().await?;
    for number in 0..5 {
        let plugin = Plugin::new(world.daemon.api_addr(), &format!("passer-by-{number}"));
        let mut connection = plugin.connect().await?;
        connection.join(&Join::new("call", "session")).await?;
        connection.leave("session").await?;
        for _ in 0..2000 {
            connection.send_raw(Message::Text("rubbish".into())).await?;
        }
        // Gone before the last of it has been looked at.
        drop(connection);
    }
    let left = |text: &str| text.lines().filter(|line| line.contains("passer-by")).count();
    wait_for("the end of their connections", || {
        !world.daemon.metrics().contains("rtcd_ws_connections_total{clientID=\"passer-by")
    });
    // Who joins behind them is heard when all that they said has been.
    let last = world.join("ann").await?;
    last.leave().await?;
    let text = world.daemon.metrics();
    assert_eq!(left(&text), 0, "{text}");
    Ok(())
}
