//! Calls outlive SIGKILL: the next process goes on with what was written down.
use super::keeper::Keeper;
use super::*;
use nix::sys::signal::Signal;
use rtcd_tests::browser::firefox::Firefox;
use rtcd_tests::namespace;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

const DAN: (&str, f64) = ("dan", 1700.0);

/// How often the daemon is killed; `RTCD_CRASHES` asks for more.
pub fn crashes() -> usize {
    std::env::var("RTCD_CRASHES").map_or(3, |count| count.parse().expect("RTCD_CRASHES is a number"))
}

/// Killed, and started again by systemd.
pub fn crash(keeper: &Keeper, config: &DaemonConfig, daemon: &mut Daemon) {
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit();
    // Whoever connects while there is no daemon waits for the next one.
    let mut waiting = TcpStream::connect(daemon.api_addr()).expect("nobody is refused");
    waiting.write_all(b"GET /version HTTP/1.1\r\nHost: rtcd\r\nConnection: close\r\n\r\n").expect("sent");
    let next = keeper.start_ready(config);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    println!("{}", lines(&next.log(), "go on"));
    *daemon = next;
    keeper.wait_names(["api", "socket", "written"]);
}

fn a_call_survives(more: &str) {
    let _alone = alone();
    let keeper = Keeper::new();
    let mut relay = Relay::start_by(DaemonConfig::new(), |config| keeper.start_ready(config));
    let demo = relay.demo();
    let browser = Chromium::start();
    let mut call = Call::begin(&browser, &demo, more);
    let mut pauses = Pauses::default();
    for round in 1..=crashes() {
        // Nobody waits until everything is written down anew.
        if round % 2 == 0 {
            relay.hand_over_with(&keeper);
        }
        call.on_all("watch.lap()");
        let killed = Instant::now();
        crash(&keeper, &relay.config, &mut relay.daemon);
        let ready = killed.elapsed();
        assert_eq!(relay.sessions(), 3.0, "{}", relay.daemon.log());
        call.wait_pictures(call.pictures(), round);
        println!("ready after {ready:?}, pictures of all at all after {:?}", killed.elapsed());
        call.everybody_goes_on();
        call.note_pauses(&mut pauses);
    }
    println!("{pauses}");
    call.on_all("watch.end()");
    for ((page, who), described) in call.pages.iter().zip(&call.described) {
        let report = report(page);
        println!("{}: {report}", who.0);
        assert_eq!(report["channel"], "open", "{report}");
        assert_eq!(page.eval("demo.described()"), *described, "nothing was negotiated");
        // What was said while nobody was there is lost; what is said now is answered.
        let pongs = report["pongs"].as_u64();
        page.eval("watch.begin()");
        page.wait_for("an answer on the data channel", |_| self::report(page)["pongs"].as_u64() > pongs);
    }
    call.pages.push((enter(&browser, &demo, DAN, more), DAN));
    call.everybody_goes_on();
}

#[test]
fn a_call_of_browsers_survives_kills_over_udp() {
    a_call_survives("");
}

#[test]
fn a_call_of_browsers_survives_kills_over_tcp() {
    a_call_survives("&tcp=1");
}

#[test]
fn two_firefoxes_go_on_over_a_restart_and_a_kill_over_udp() {
    two_firefoxes_go_on("");
}

#[test]
fn two_firefoxes_go_on_over_a_restart_and_a_kill_over_tcp() {
    two_firefoxes_go_on("&tcp=1");
}

/// Firefox sends nothing to a server on 127.0.0.1, so all live in a network namespace with an address of its own.
fn two_firefoxes_go_on(more: &str) {
    let _alone = alone();
    assert!(Firefox::is_installed(), "firefox-esr is missing");
    namespace::with_a_network_of_its_own(|| {
        let keeper = Keeper::new();
        let config = DaemonConfig { ip: namespace::ADDRESS, ..DaemonConfig::new() };
        let mut relay = Relay::start_by(config, |config| keeper.start_ready(config));
        let demo = relay.demo_at(namespace::ADDRESS, &["--allow-remote"]);
        let enter = |name: &str| {
            let page = Firefox::open(&demo.url(&format!("name={name}&picture&auto{more}")));
            page.wait_joined();
            page
        };
        let pages = [(enter(ANN.0), ANN.0, BOB.0), (enter(BOB.0), BOB.0, ANN.0)];
        let energy = |state: &State, name: &str| -> f64 {
            let all = state.tracks(name, "voice").into_iter();
            all.filter_map(|track| track["stats"]["energy"].as_f64()).fold(0.0, f64::max)
        };
        let shown = |state: &State, name: &str| -> f64 {
            let all = state.tracks(name, "video").into_iter();
            all.filter_map(|track| track["stats"]["frames"].as_f64()).fold(0.0, f64::max)
        };
        let all_go_on = |what: &str| {
            for (page, own, other) in &pages {
                let before = page.state();
                page.wait_for(&format!("{own} to perceive {other} {what}"), |state| {
                    energy(state, other) > energy(&before, other) && shown(state, other) > shown(&before, other) + 5.0
                });
            }
        };
        all_go_on("at first");
        for round in 1..=crashes() {
            relay.hand_over_with(&keeper);
            all_go_on(&format!("after restart {round}"));
            let killed = Instant::now();
            crash(&keeper, &relay.config, &mut relay.daemon);
            all_go_on(&format!("after kill {round}"));
            println!("both go on {:?} after the kill", killed.elapsed());
            assert_eq!(relay.sessions(), 2.0, "{}", relay.daemon.log());
        }
        // What is offered from now on takes the data channel, whose association has begun anew.
        let (ann, bob) = (&pages[0].0, &pages[1].0);
        ann.eval("demo.share('test-screen')");
        bob.wait_for("ann's screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
    });
}

/// Other stacks than those of browsers: str0m, and webrtc-rs, whose SCTP is pion's in another language. Neither takes an
/// association that begins anew. Offers go over the data channel: who gets a newcomer's voice has had one over it.
#[tokio::test(flavor = "multi_thread")]
async fn participants_of_every_kind_survive_kills_and_are_offered_newcomers_over_their_channels() -> Result<()> {
    let (keeper, store) = (Keeper::new(), temp_dir("relay"));
    let config = DaemonConfig::new().store(&store);
    let mut daemon = tokio::task::block_in_place(|| keeper.start_ready(&config));
    let plugin = Plugin::new(daemon.api_addr(), "mattermost");
    let mut node = Mattermost::connect(&plugin).await?;
    let mut over_channel = WebrtcConfig::new("call", "wes");
    over_channel.join.dc_signaling = true;
    let webrtc = WebrtcPeer::join(&node, over_channel).await?;
    webrtc.add_voice(b"wes");
    let (mut peers, mut flows) = (Vec::new(), Vec::new());
    for (name, tcp, dtls_server) in [("ann", false, false), ("bob", true, false), ("cleo", false, true)] {
        let config = PeerConfig { udp: !tcp, tcp, dtls_server, ..PeerConfig::new("call", name) };
        let peer = Peer::join(&node, config, daemon.media_addr()).await?;
        peer.add_voice();
        flows.push(peer.stream("voice", name.as_bytes()));
        peers.push((name, peer));
    }
    let all = |peers: &[(&'static str, Peer)]| peers.iter().map(|(name, _)| *name).chain(["wes"]).collect::<Vec<_>>();
    for (receiver, peer) in &peers {
        for sender in all(&peers).into_iter().filter(|sender| sender != receiver) {
            peer.wait_track("voice", sender).await?;
        }
    }
    webrtc.wait_heard("voice", "bob", b"bob").await?;
    // By then everything of them is written down.
    peers[0].1.wait("half a second of all", |state| state.tracks.values().all(|track| track.frames > 50)).await?;
    for round in 1..=crashes() {
        let killed = Instant::now();
        tokio::task::block_in_place(|| crash(&keeper, &config, &mut daemon));
        node = Mattermost::connect(&plugin).await?;
        // Whoever is written down goes on.
        assert_eq!(daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}"), peers.len() as f64 + 1.0);
        for (receiver, peer) in &peers {
            for sender in all(&peers).into_iter().filter(|sender| sender != receiver) {
                let known = frames(peer, sender);
                let goes_on = |state: &rtcd_tests::peer::State| {
                    state.tracks.values().any(|track| track.sender == sender && track.frames > known + 10)
                };
                peer.wait(&format!("{sender} at {receiver}, after kill {round}"), goes_on).await?;
            }
        }
        println!("all hear all {:?} after the kill", killed.elapsed());
        let name: &'static str = format!("guest-{round}").leak();
        let newcomer = Peer::join(&node, PeerConfig::new("call", name), daemon.media_addr()).await?;
        newcomer.add_voice();
        flows.push(newcomer.stream("voice", name.as_bytes()));
        for (_, peer) in &peers {
            peer.wait_track("voice", name).await?;
        }
        webrtc.wait_heard("voice", name, name.as_bytes()).await?;
        println!("all hear the newcomer {:?} after the kill", killed.elapsed());
        // Numbers of streams that have just begun are written down at once, who they are of within half a second.
        let others = peers.len();
        newcomer
            .wait("all others", |state| state.tracks.values().filter(|track| track.frames > 50).count() > others - 1)
            .await?;
        peers.push((name, newcomer));
    }
    for (name, peer) in &peers {
        let state = peer.state();
        assert_eq!((state.unannounced, state.closed), (0, 0), "{name}");
    }
    assert!(!webrtc.state().closed);
    std::fs::remove_dir_all(store)?;
    Ok(())
}
