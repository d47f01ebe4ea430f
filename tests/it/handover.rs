//! Calls outlive the daemon: another process goes on with them.
mod crash;
mod crowd;
mod keeper;
mod pauses;
mod pion;
mod relay;
mod watched;

use crate::browser::{ANN, BOB, alone};
use anyhow::Result;
use keeper::Keeper;
use pauses::Pauses;
use relay::Relay;
use rtcd_tests::browser::chromium::Chromium;
use rtcd_tests::browser::{DemoPage, State};
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, free_port, temp_dir};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::{Plugin, Received};
use rtcd_tests::webrtc_peer::{WebrtcConfig, WebrtcPeer};
use rtcd_tests::world::{VOICE, World};
use std::io::Read as _;
use std::process::Command;
use std::time::Duration;
use watched::{Call, WHITE, enter, report};

/// How often the daemon is exchanged; `RTCD_RESTARTS` asks for more.
fn restarts() -> usize {
    std::env::var("RTCD_RESTARTS").map_or(3, |count| count.parse().expect("RTCD_RESTARTS is a number"))
}

fn lines(log: &str, of: &str) -> String {
    log.lines().filter(|line| line.contains(of)).collect::<Vec<_>>().join("\n")
}

fn a_call_goes_on(more: &str, restarts: usize) {
    let _alone = alone();
    let mut relay = Relay::start();
    let demo = relay.demo();
    let browser = Chromium::start();
    let call = Call::begin(&browser, &demo, more);
    let mut pauses = Pauses::default();
    for round in 1..=restarts {
        let before = call.pictures();
        call.on_all("watch.lap()");
        let counted = relay.counters();
        relay.hand_over();
        assert_eq!(relay.sessions(), 3.0);
        // Older versions begin at zero.
        let counts_on = |(before, now): (f64, f64)| (before > 0.0 && now >= before) || relay.has_others();
        assert!(counted.into_iter().zip(relay.counters()).all(counts_on), "{counted:?}, then {:?}", relay.counters());
        call.everybody_goes_on();
        call.wait_pictures(before, round);
        call.note_pauses(&mut pauses);
    }
    println!("{pauses}");
    call.on_all("watch.end()");
    for ((page, who), described) in call.pages.iter().zip(&call.described) {
        page.wait_for("all answers", |_| {
            let report = report(page);
            report["pings"].as_u64() == report["pongs"].as_u64()
        });
        let report = report(page);
        println!("{}: {report}", who.0);
        assert_eq!(report["states"].as_array().map(Vec::len), Some(0), "{report}");
        assert_eq!(report["channel"], "open");
        assert!(report["pings"].as_u64() > Some(20), "{report}");
        assert_eq!(page.eval("demo.described()"), *described, "nothing was negotiated");
    }
}

#[test]
fn a_call_of_browsers_goes_on_over_udp() {
    a_call_goes_on("", restarts());
}

#[test]
fn a_call_of_browsers_goes_on_over_tcp() {
    a_call_goes_on("&tcp=1", restarts());
}

/// A process that takes over, with what changes in its configuration.
fn next(config: &DaemonConfig, change: impl FnOnce(DaemonConfig) -> DaemonConfig, before: &mut Daemon) {
    let next = Daemon::start(change(config.clone()).arg("--takeover"));
    let mut ended = std::mem::replace(before, next);
    assert!(ended.wait_exit().success(), "{}", ended.log());
    before.wait_log("ready");
}

fn frames(peer: &Peer, sender: &str) -> u64 {
    peer.track("voice", sender).map_or(0, |track| track.frames)
}

type Change = fn(DaemonConfig) -> DaemonConfig;

/// Two stacks, UDP and TCP, both parts in DTLS; the plane gets smaller and larger, and media another port.
#[tokio::test(flavor = "multi_thread")]
async fn participants_of_every_kind_go_on_whatever_changes_and_newcomers_join() -> Result<()> {
    let store = temp_dir("relay");
    let config = DaemonConfig::new().store(&store);
    let mut world = World::start_with(config.clone()).await?;
    let mut peers = Vec::new();
    for (name, tcp, dtls_server) in
        [("ann", false, false), ("bob", true, false), ("cleo", false, true), ("dan", true, true)]
    {
        let peer = PeerConfig { udp: !tcp, tcp, dtls_server, ..PeerConfig::new("call", name) };
        let peer = world.join_with(peer).await?;
        peer.add_voice();
        peers.push((name, peer));
    }
    let webrtc = WebrtcPeer::join(&world.node, WebrtcConfig::new("call", "wes")).await?;
    webrtc.add_voice(b"wes");
    let mut flows: Vec<_> = peers.iter().map(|(name, peer)| peer.stream("voice", name.as_bytes())).collect();
    let all = |peers: &[(&'static str, Peer)]| peers.iter().map(|(name, _)| *name).chain(["wes"]).collect::<Vec<_>>();
    for (receiver, peer) in &peers {
        for sender in all(&peers).into_iter().filter(|sender| sender != receiver) {
            peer.wait_track("voice", sender).await?;
        }
    }
    webrtc.wait_heard("voice", "ann", b"ann").await?;
    let changes: [(&str, Change); 4] = [
        ("nothing", |config| config),
        ("one worker", |config| config.env("RTCD_RTC_UDPSOCKETSCOUNT", "1")),
        ("two workers again", |config| config.env("RTCD_RTC_UDPSOCKETSCOUNT", "2")),
        ("another port", |config| {
            let port = free_port();
            DaemonConfig { media_port: port, ..config }
        }),
    ];
    for (round, (what, change)) in changes.into_iter().enumerate() {
        let before: Vec<u64> = peers.iter().map(|(_, peer)| frames(peer, "wes")).collect();
        tokio::task::block_in_place(|| next(&config, change, &mut world.daemon));
        // The node comes back.
        world.node = Mattermost::connect(&world.plugin).await?;
        assert_eq!(world.daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}"), peers.len() as f64 + 1.0);
        for ((receiver, peer), before) in peers.iter().zip(before) {
            for sender in all(&peers).into_iter().filter(|sender| sender != receiver) {
                let known = frames(peer, sender);
                let goes_on = |state: &rtcd_tests::peer::State| {
                    state.tracks.values().any(|track| track.sender == sender && track.frames > known.max(before) + 10)
                };
                peer.wait(&format!("{sender}, after {what}, at {receiver}"), goes_on).await?;
            }
        }
        let name = ["eve", "fay", "gus", "hal"][round];
        let newcomer = world.join(name).await?;
        newcomer.add_voice();
        flows.push(newcomer.stream("voice", name.as_bytes()));
        for (other, peer) in &peers {
            peer.wait_track("voice", name).await?;
            newcomer.wait_track("voice", other).await?;
        }
        newcomer.wait_track("voice", "wes").await?;
        peers.push((name, newcomer));
    }
    for (name, peer) in &peers {
        let state = peer.state();
        assert_eq!((state.unannounced, state.closed), (0, 0), "{name}");
    }
    assert!(!webrtc.state().closed);
    assert!(!world.daemon.log().contains("panicked"), "{}", world.daemon.log());
    drop(flows);
    std::fs::remove_dir_all(store)?;
    Ok(())
}

#[test]
fn where_there_is_nobody_to_take_over_from_it_starts_as_usual() {
    let daemon = Daemon::start(DaemonConfig::new().arg("--takeover"));
    assert_eq!(daemon.request("GET", "/version", None, None).status, 200);
    daemon.assert_logs("no process to take over from");
}

#[test]
fn a_daemon_that_systemd_has_not_started_leaves_nothing_with_it() {
    let mut daemon = Daemon::start(DaemonConfig::new());
    let output = Command::new(binary()).arg("hand-over").env_clear().envs(daemon.variables()).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("systemd has not started this daemon"), "{told}");
    assert!(daemon.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_keeps_the_calls_from_a_stop_to_the_next_start() -> Result<()> {
    let (keeper, store) = (Keeper::new(), temp_dir("relay"));
    let config = DaemonConfig::new().store(&store);
    let mut daemon = keeper.start(&config);
    daemon.wait_ready();
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let node = Mattermost::connect(&plugin).await?;
    let join = |name: &str, tcp: bool| {
        Peer::join(&node, PeerConfig { udp: !tcp, tcp, ..PeerConfig::new("call", name) }, daemon.media_addr())
    };
    let (ann, bob) = (join("ann", false).await?, join("bob", true).await?);
    for peer in [&ann, &bob] {
        peer.add_voice();
    }
    let _flows = (ann.stream("voice", VOICE), bob.stream("voice", VOICE));
    ann.wait_track("voice", "bob").await?;
    bob.wait_track("voice", "ann").await?;
    for _ in 0..2 {
        keeper.wait_names(["api", "socket", "written"]);
        let hand_over = || {
            let mut command = Command::new(binary());
            command.arg("hand-over").env_clear().envs(daemon.variables()).output().expect("run")
        };
        let output = tokio::task::block_in_place(hand_over);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), daemon.log());
        assert!(daemon.wait_exit().success());
        assert_eq!(keeper.names(), ["api", "calls", "socket", "written"]);
        let (known, memory) = ((frames(&ann, "bob"), frames(&bob, "ann")), keeper.memory());
        daemon = tokio::task::block_in_place(|| keeper.start(&config));
        tokio::task::block_in_place(|| daemon.wait_log("ready"));
        ann.wait("bob", |state| state.tracks.values().any(|track| track.frames > known.0 + 10)).await?;
        bob.wait("ann", |state| state.tracks.values().any(|track| track.frames > known.1 + 10)).await?;
        tokio::task::block_in_place(|| keeper.wait_names(["api", "socket", "written"]));
        let mut left = Vec::new();
        std::fs::File::from(memory).read_to_end(&mut left)?;
        assert!(left.iter().all(|byte| *byte == 0), "no key is left in memory");
    }
    assert_eq!(ann.state().closed + bob.state().closed, 0);
    std::fs::remove_dir_all(store)?;
    Ok(())
}

/// What nobody can read must not keep the daemon from starting; who comes back hears that its session has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_and_discarded() -> Result<()> {
    let keeper = Keeper::new();
    let dir = temp_dir("rubbish");
    std::fs::write(dir.join("memory"), [b"rtcd/1\0\0\0".as_slice(), &[7; 1000]].concat())?;
    let rubbish = std::fs::File::options().read(true).write(true).open(dir.join("memory"))?;
    keeper.keep("calls", rubbish.into());
    let mut daemon = tokio::task::block_in_place(|| keeper.start(&DaemonConfig::new()));
    tokio::task::block_in_place(|| daemon.wait_ready());
    daemon.assert_logs("the calls of the process before end");
    tokio::task::block_in_place(|| keeper.wait_names(["api", "socket", "written"]));
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let node = Mattermost::connect(&plugin).await?;
    let mut heard = node.listen("ann");
    node.reconnect("ann");
    assert!(matches!(heard.recv().await, Some(Received::Close { .. })));
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
