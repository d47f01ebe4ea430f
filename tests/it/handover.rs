//! Calls outlive the daemon: another process goes on with them.
mod crash;
mod crowd;
mod keeper;
mod pauses;
mod pion;

use crate::browser::{ANN, BOB, address, alone, perceives};
use anyhow::Result;
use keeper::Keeper;
use pauses::Pauses;
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::browser::{DemoPage, State};
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, free_port, temp_dir};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::{Plugin, Received};
use rtcd_tests::webrtc_peer::{WebrtcConfig, WebrtcPeer};
use rtcd_tests::world::{VOICE, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const WATCHED: &str = include_str!("watched.js");
const CLEO: (&str, f64) = ("cleo", 1300.0);
const WHITE: [f64; 3] = [255.0; 3];

/// How often the daemon is exchanged; `RTCD_RESTARTS` asks for more.
fn restarts() -> usize {
    std::env::var("RTCD_RESTARTS").map_or(3, |count| count.parse().expect("RTCD_RESTARTS is a number"))
}

/// A daemon whose place others take, with a demo in front of it.
struct Relay {
    config: DaemonConfig,
    daemon: Daemon,
    is_other: bool,
    store: PathBuf,
}

impl Relay {
    fn start() -> Self {
        Self::start_by(DaemonConfig::new(), |config| Daemon::start(config.clone()))
    }

    /// With a store that outlives the daemon.
    fn start_by(config: DaemonConfig, start: impl FnOnce(&DaemonConfig) -> Daemon) -> Self {
        let store = temp_dir("relay");
        let config = config.store(&store);
        Self { daemon: start(&config), config, is_other: false, store }
    }

    fn demo(&self) -> Demo {
        self.demo_at(std::net::Ipv4Addr::LOCALHOST, &[])
    }

    fn demo_at(&self, ip: std::net::Ipv4Addr, more: &[&str]) -> Demo {
        let key = self.store.join("key");
        std::fs::write(&key, "k".repeat(40)).expect("written");
        let (api, key) = (self.daemon.url(), key.display().to_string());
        let arguments = ["--connect", &api, "--client-id", "mattermost", "--auth-key-file", &key];
        Demo::start_at(ip.into(), &[&arguments, more].concat())
    }

    /// `RTCD_OTHER` is the program of another version, which every second process is of.
    fn next_config(&mut self) -> DaemonConfig {
        self.is_other = !self.is_other;
        let other = std::env::var_os("RTCD_OTHER").filter(|_| self.is_other);
        DaemonConfig { program: other.map(PathBuf::from).into_iter().collect(), ..self.config.clone() }
    }

    /// systemd stops the daemon and starts it again.
    fn hand_over_with(&mut self, keeper: &Keeper) {
        let mut command = Command::new(binary());
        let output = command.arg("hand-over").env_clear().envs(self.daemon.variables()).output().expect("run");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.daemon.log());
        assert!(self.daemon.wait_exit().success());
        self.daemon = keeper.start_ready(&self.next_config());
        keeper.wait_names(["api", "socket", "written"]);
    }

    /// Another process takes over.
    fn hand_over(&mut self) {
        let next = Daemon::start(self.next_config().arg("--takeover"));
        let mut before = std::mem::replace(&mut self.daemon, next);
        assert!(before.wait_exit().success(), "{}", before.log());
        self.daemon.wait_log("ready");
        println!("{}", lines(&before.log(), "the calls have been left"));
        println!("{}", lines(&self.daemon.log(), "go on"));
    }

    /// Some that must not jump back: of the plane, of its switches, of the API and of signalling.
    fn counters(&self) -> [f64; 4] {
        let joins = "rtcd_ws_messages_total{clientID=\"mattermost\",direction=\"in\",type=\"join\"}";
        let connected = "rtcd_rtc_conn_states_total{type=\"connected\"}";
        ["rtcd_plane_received_total", "rtcd_plane_forwarded_total", joins, connected]
            .map(|name| self.daemon.metric(name))
    }

    fn sessions(&self) -> f64 {
        self.daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.store);
    }
}

fn lines(log: &str, of: &str) -> String {
    log.lines().filter(|line| line.contains(of)).collect::<Vec<_>>().join("\n")
}

fn enter(browser: &Chromium, demo: &Demo, who: (&str, f64), more: &str) -> Page {
    let page = browser.open_with(&address(demo, who, more), WATCHED);
    page.wait_joined();
    page
}

fn report(page: &Page) -> Value {
    serde_json::from_str(page.eval("watch.report()").as_str().expect("JSON")).expect("JSON")
}

/// Three in a call, of whom ann shares her screen; everything that becomes of their connections is noted.
struct Call {
    pages: Vec<(Page, (&'static str, f64))>,
    described: Vec<Value>,
}

impl Call {
    fn begin(browser: &Chromium, demo: &Demo, more: &str) -> Self {
        let pages = [ANN, BOB, CLEO].map(|who| (enter(browser, demo, who, more), who)).into();
        let mut call = Self { pages, described: Vec::new() };
        call.pages[0].0.eval("demo.share('test-screen')");
        call.everybody_goes_on();
        call.described = call.pages.iter().map(|(page, _)| page.eval("demo.described()")).collect();
        call.on_all("watch.begin()");
        call
    }

    fn on_all(&self, script: &str) {
        self.pages.iter().for_each(|(page, _)| drop(page.eval(script)));
    }

    /// Everybody hears and sees everybody, and ann's screen.
    fn everybody_goes_on(&self) {
        for (receiver, own) in &self.pages {
            for (sender, who) in self.pages.iter().filter(|(_, who)| who.0 != own.0) {
                let colour = sender.state().colour();
                receiver
                    .wait_for(&format!("{} to hear and see {}", own.0, who.0), |state| perceives(state, *who, colour));
            }
            if own.0 != ANN.0 {
                receiver.wait_for("ann's screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
            }
        }
    }

    /// How long each stream has paused at the worst since this was asked before.
    fn note_pauses(&self, pauses: &mut Pauses) {
        for (page, _) in &self.pages {
            let lap: Value = serde_json::from_str(page.eval("watch.lap()").as_str().expect("JSON")).expect("JSON");
            for stream in lap.as_array().into_iter().flatten() {
                let longest = stream["longest"].as_f64().expect("a number");
                pauses.note(stream["kind"].as_str().expect("a kind"), Duration::from_secs_f64(longest / 1e3));
            }
        }
    }

    /// Pictures of each track that have been shown at each.
    fn pictures(&self) -> Vec<Pictures> {
        self.pages.iter().map(|(page, _)| pictures(&page.state())).collect()
    }

    /// More of all of them than `before`.
    fn wait_pictures(&self, before: Vec<Pictures>, round: usize) {
        for ((page, who), before) in self.pages.iter().zip(before) {
            let what = format!("new pictures of all at {}, round {round}", who.0);
            page.wait_for(&what, |state| {
                let now = pictures(state);
                before.iter().all(|(track, count)| now.get(track).is_some_and(|now| *now > count + 3.0))
            });
        }
    }
}

type Pictures = BTreeMap<(String, String), f64>;

/// Pictures of each track that have been shown.
fn pictures(state: &State) -> Pictures {
    let tracks = state.0["tracks"].as_array().into_iter().flatten();
    let shows = |track: &&Value| track["type"] == "video" || track["type"] == "screen";
    let pictures = tracks.filter(shows).filter_map(|track| {
        let text = |key: &str| track[key].as_str().unwrap_or_default().to_owned();
        Some(((text("name"), text("type")), track["stats"]["frames"].as_f64()?))
    });
    pictures.collect()
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
        let counts_on = |(before, now): (f64, f64)| before > 0.0 && now >= before;
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
    assert!(daemon.log().contains("no process to take over from"), "{}", daemon.log());
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
    assert!(daemon.log().contains("the calls of the process before end"), "{}", daemon.log());
    tokio::task::block_in_place(|| keeper.wait_names(["api", "socket", "written"]));
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let node = Mattermost::connect(&plugin).await?;
    let mut heard = node.listen("ann");
    node.reconnect("ann");
    assert!(matches!(heard.recv().await, Some(Received::Close { .. })));
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
