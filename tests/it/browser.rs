//! Calls between real browsers, through the demo's page and the real daemon.
mod page;
mod served;

use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::browser::firefox::Firefox;
use rtcd_tests::browser::{DemoPage, State};
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, wait_for};
use rtcd_tests::namespace;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Browsers take all there is of a small machine: one such test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const WHITE: [f64; 3] = [255.0; 3];

/// Name and tone of each.
pub const ANN: (&str, f64) = ("ann", 500.0);
pub const BOB: (&str, f64) = ("bob", 900.0);
const CLEO: (&str, f64) = ("cleo", 1300.0);
const SCREEN_TONE: f64 = 2000.0;

/// The page that joins as this participant with its tone and its picture.
pub fn address(demo: &Demo, (name, hertz): (&str, f64), more: &str) -> String {
    demo.url(&format!("name={name}&tone={hertz}&picture&auto&screentone={SCREEN_TONE}{more}"))
}

pub fn enter(browser: &Chromium, demo: &Demo, (name, hertz): (&str, f64), more: &str) -> Page {
    let page = browser.open(&address(demo, (name, hertz), more));
    page.wait_joined();
    page
}

/// `receiver` hears the tone and sees the picture of `sender`.
pub fn perceives(receiver: &State, (name, hertz): (&str, f64), colour: [f64; 3]) -> bool {
    receiver.hears(name, "voice", hertz) && receiver.sees(name, "video", "topLeft", colour)
}

fn everyone_perceives_everyone(pages: &[(&Page, (&str, f64))]) {
    for (receiver, own) in pages {
        for (sender, who) in pages.iter().filter(|(_, who)| who.0 != own.0) {
            let colour = sender.state().colour();
            let what = format!("{} to hear and see {}", own.0, who.0);
            receiver.wait_for(&what, |state| perceives(state, *who, colour));
        }
    }
}

fn three_meet(more: &str, protocol: &str) {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, more);
    let bob = enter(&browser, &demo, BOB, more);
    let cleo = enter(&browser, &demo, CLEO, more);
    everyone_perceives_everyone(&[(&ann, ANN), (&bob, BOB), (&cleo, CLEO)]);
    for page in [&ann, &bob, &cleo] {
        let state = page.wait_for("statistics", |state| !state.0["transport"].is_null());
        assert_eq!(state.text("/transport/protocol"), protocol);
        assert_eq!(state.0["tracks"].as_array().map(Vec::len), Some(4), "{:#}", state.0);
    }
    if protocol == "udp" && more.is_empty() {
        ann.eval("demo.share('test-screen')");
        bob.wait_for("the screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
        bob.wait_for("bit rates", |state| {
            state
                .tracks(ANN.0, "screen")
                .iter()
                .any(|track| track["stats"]["kbps"].as_f64().is_some_and(|kbps| kbps > 0.0))
        });
        // The picture in the README is a copy of this one.
        let picture = binary().with_file_name("demo.png");
        // As it looks after a moment: somebody speaks, and the first, coarse pictures of the screen have passed.
        bob.wait_for("a call that has settled", |state| {
            let frames = |track: &&serde_json::Value| track["stats"]["frames"].as_f64() > Some(40.0);
            let speaks = state.0["speaking"].as_array().is_some_and(|all| !all.is_empty());
            speaks && state.tracks(ANN.0, "screen").iter().any(frames)
        });
        bob.resize((1280, 720));
        bob.capture(&picture);
        assert!(picture.metadata().is_ok_and(|file| file.len() > 20_000), "{}", picture.display());
    }
    demo.assert_nothing_refused();
}

#[test]
fn three_browsers_hear_and_see_each_other_over_udp() {
    three_meet("", "udp");
}

#[test]
fn three_browsers_hear_and_see_each_other_over_tcp_alone() {
    three_meet("&tcp=1", "tcp");
}

#[test]
fn three_browsers_hear_and_see_each_other_with_signalling_over_the_websocket() {
    three_meet("&dc=0", "udp");
}

#[test]
fn a_screen_with_sound_comes_goes_and_comes_again() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "");
    let colour = ann.state().colour();
    for round in 1..=2 {
        ann.eval("demo.share('test-screen')");
        bob.wait_for(&format!("the screen, round {round}"), |state| {
            state.hears(ANN.0, "screen-audio", SCREEN_TONE)
                && state.sees(ANN.0, "screen", "topLeft", colour)
                && state.sees(ANN.0, "screen", "bottomRight", WHITE)
        });
        ann.eval("demo.unpublish('screen')");
        bob.wait_for(&format!("the end of the screen, round {round}"), |state| {
            !state.has(ANN.0, "screen") && !state.has(ANN.0, "screen-audio")
        });
    }
    let state = bob.wait_for("ann's camera, still", |state| perceives(state, ANN, colour));
    assert_eq!(state.0["tracks"].as_array().map(Vec::len), Some(2), "{:#}", state.0);
    // Sections are used again: data channel, own voice and camera, and for each of the two rounds at most one more.
    let sections = state.0["transceivers"].as_array().map_or(0, Vec::len);
    assert!(sections <= 6, "{:#}", state.0["transceivers"]);
    demo.assert_nothing_refused();
}

/// The page has nothing to say at the moment.
fn settled(state: &State) -> bool {
    state.text("/signaling") == "stable" && state.0["negotiating"] == false
}

#[test]
fn a_camera_is_paused_and_seen_again_and_nothing_is_negotiated_for_it() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    let colour = ann.state().colour();
    bob.wait_for("ann's camera", |state| perceives(state, ANN, colour));
    let frames = |state: &State| {
        let tracks = state.tracks(ANN.0, "video");
        tracks.first().and_then(|track| track["stats"]["frames"].as_f64()).unwrap_or_default()
    };
    let colour_of_bob = bob.state().colour();
    ann.wait_for("bob, and all that is to be said", |state| perceives(state, BOB, colour_of_bob) && settled(state));
    let versions = ann.eval("demo.described()");
    for round in 1..=3 {
        ann.eval("demo.unpublish('video')");
        let before = frames(&bob.wait_for("the camera, still there", |state| state.has(ANN.0, "video")));
        ann.eval("demo.publish('video', 'picture')");
        bob.wait_for(&format!("the camera again, round {round}"), |state| {
            frames(state) > before + 10.0 && state.sees(ANN.0, "video", "topLeft", colour)
        });
    }
    assert_eq!(ann.eval("demo.described()"), versions, "nothing was negotiated");
    let cleo = enter(&browser, &demo, CLEO, "");
    cleo.wait_for("ann's camera, for a newcomer", |state| perceives(state, ANN, colour));
    demo.assert_nothing_refused();
}

#[test]
fn a_browser_with_an_rsa_certificate_is_let_in() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, "&rsa=1"), enter(&browser, &demo, BOB, ""));
    everyone_perceives_everyone(&[(&ann, ANN), (&bob, BOB)]);
    demo.assert_nothing_refused();
}

/// Three times the 53 sections of a large call: 800 KB of description. None of them is a track that anybody sends.
#[test]
fn who_offers_a_hundred_and_sixty_sections_that_are_sendrecv_can_still_speak_and_share() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, "&silent"), enter(&browser, &demo, BOB, ""));
    let colour = ann.state().colour();
    bob.wait_for("ann's camera", |state| state.sees(ANN.0, "video", "topLeft", colour));
    ann.eval("demo.crowd(160)");
    let sections = |state: &State| state.0["transceivers"].as_array().map_or(0, Vec::len);
    ann.wait_for("all sections", |state| sections(state) > 160 && settled(state));
    ann.eval("demo.publish('voice', 'tone')");
    bob.wait_for("ann's voice", |state| state.hears(ANN.0, "voice", ANN.1));
    ann.eval("demo.share('test-screen')");
    bob.wait_for("the screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
    demo.assert_nothing_refused();
}

/// Switches the microphone on behind our offer and before its answer: the browser then takes over our section, answers with
/// a track that it may not send, and never asks to negotiate.
const SPEAKS_IN_BETWEEN: &str = "const apply = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
    await apply.call(this, description);
    if (description.type !== 'offer' || window.between) return;
    window.between = true;
    demo.publish('voice', 'tone');
    while (!this.getSenders().some(({track}) => track?.kind === 'audio')) await new Promise((done) => setTimeout(done, 5));
  };";

#[test]
fn who_begins_to_speak_while_an_offer_of_ours_is_answered_is_heard() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let bob = enter(&browser, &demo, BOB, "");
    let ann = browser.open_with(&demo.url(&format!("name={}&tone={}&auto&silent", ANN.0, ANN.1)), SPEAKS_IN_BETWEEN);
    ann.wait_joined();
    bob.wait_for("ann's voice", |state| state.hears(ANN.0, "voice", ANN.1));
    assert_eq!(ann.eval("window.between"), true, "{:#}", ann.state().0);
    // Its first packets may be ahead of the answer that announces them.
    ann.wait_for("bob's voice", |state| state.hears(BOB.0, "voice", BOB.1));
}

/// An ordinary call of two with voice and camera: clocks of both reach the receiver, so that lips and voice stay together.
#[test]
fn voice_and_camera_of_a_participant_stay_in_sync() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    let colour = ann.state().colour();
    bob.wait_for("ann", |state| perceives(state, ANN, colour));
    let skew = |state: &State| {
        let estimated = |kind| state.tracks(ANN.0, kind).first().and_then(|track| track["stats"]["playout"].as_f64());
        Some((estimated("voice")? - estimated("video")?).abs())
    };
    let clocked = |state: &State| {
        let reports = |kind| state.tracks(ANN.0, kind).first().is_some_and(|track| track["stats"]["clock"] == true);
        reports("voice") && reports("video") && skew(state).is_some()
    };
    bob.wait_for("the clocks of both", clocked);
    bob.wait_for("both in sync", |state| skew(state).is_some_and(|milliseconds| milliseconds < 100.0));
    demo.assert_nothing_refused();
}

#[test]
fn muting_silences_a_participant_even_when_it_goes_on_sending() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "");
    bob.wait_for("ann's tone", |state| state.hears(ANN.0, "voice", ANN.1));
    // Only the message: the page goes on sending its tone.
    ann.eval("demo.signal('mute')");
    bob.wait_for("silence", |state| state.has(ANN.0, "voice") && state.is_silent(ANN.0, "voice"));
    ann.eval("demo.signal('unmute')");
    bob.wait_for("ann's tone again", |state| state.hears(ANN.0, "voice", ANN.1));
    demo.assert_nothing_refused();
}

#[test]
fn a_latecomer_gets_everything_at_once() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "");
    ann.eval("demo.share('test-screen')");
    bob.wait_for("the screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
    let colours = (ann.state().colour(), bob.state().colour());
    let cleo = enter(&browser, &demo, CLEO, "");
    cleo.wait_for("everything", |state| {
        perceives(state, ANN, colours.0)
            && perceives(state, BOB, colours.1)
            && state.hears(ANN.0, "screen-audio", SCREEN_TONE)
            && state.sees(ANN.0, "screen", "bottomRight", WHITE)
    });
    demo.assert_nothing_refused();
}

#[test]
fn whoever_leaves_takes_all_tracks_along() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "");
    let cleo = enter(&browser, &demo, CLEO, "");
    everyone_perceives_everyone(&[(&ann, ANN), (&bob, BOB), (&cleo, CLEO)]);
    ann.eval("demo.leave()");
    for page in [&bob, &cleo] {
        page.wait_for("ann to be gone", |state| {
            !state.has(ANN.0, "voice")
                && !state.has(ANN.0, "video")
                && state.0["tracks"].as_array().map(Vec::len) == Some(2)
        });
    }
    let again = enter(&browser, &demo, ANN, "");
    everyone_perceives_everyone(&[(&again, ANN), (&bob, BOB), (&cleo, CLEO)]);
}

#[test]
fn only_one_shares_a_screen_at_a_time() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "");
    ann.eval("demo.share('test-screen')");
    bob.wait_for("the screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
    bob.eval("demo.share('test-screen')");
    let state = ann.state();
    assert!(!state.has(BOB.0, "screen"), "{:#}", state.0);
    ann.eval("demo.unpublish('screen')");
    bob.wait_for("the end of the screen", |state| !state.has(ANN.0, "screen"));
    bob.eval("demo.share('test-screen')");
    ann.wait_for("bob's screen", |state| state.sees(BOB.0, "screen", "bottomRight", WHITE));
}

/// Firefox sends nothing to a server on 127.0.0.1, so both live in a network namespace with an address of its own.
#[test]
fn two_firefoxes_hear_and_see_each_other() {
    let _alone = alone();
    assert!(Firefox::is_installed(), "firefox-esr is missing");
    assert!(
        nix::unistd::geteuid().is_root(),
        "a network namespace needs root; tests/run leaves this test out without it"
    );
    namespace::with_a_network_of_its_own(|| {
        let demo = Demo::start_at(namespace::ADDRESS.into(), &["--allow-remote"]);
        // Firefox runs no audio context without a sound card, so its own fake microphone has to do for the tone.
        let enter = |name: &str| {
            let page = Firefox::open(&demo.url(&format!("name={name}&picture&auto")));
            page.wait_joined();
            page
        };
        let (ann, bob) = (enter(ANN.0), enter(BOB.0));
        let perceives = |state: &State, name: &str, colour: [f64; 3]| {
            let loud =
                |track: &&serde_json::Value| track["stats"]["energy"].as_f64().is_some_and(|energy| energy > 0.01);
            state.tracks(name, "voice").iter().any(loud) && state.sees(name, "video", "topLeft", colour)
        };
        let (of_ann, of_bob) = (ann.state().colour(), bob.state().colour());
        bob.wait_for("bob to perceive ann", |state| perceives(state, ANN.0, of_ann));
        ann.wait_for("ann to perceive bob", |state| perceives(state, BOB.0, of_bob));
    });
}

/// The page itself, while nothing answers: it comes with its policy and asks nobody else.
#[test]
fn the_page_is_self_contained_and_its_policy_is_strict() {
    let demo = Demo::start();
    for (path, kind) in
        [("/", "text/html"), ("/app.js", "text/javascript"), ("/base.css", "text/css"), ("/icon.svg", "image/svg+xml")]
    {
        let answer = rtcd_tests::http::request(demo.addr(), "GET", path, None, None).expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").is_some_and(|value| value.starts_with(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!answer.text().contains("https://"), "{path} names another site");
    }
}

#[test]
fn the_demo_plays_mattermost_against_a_daemon_elsewhere() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = daemon.dir().join("key");
    std::fs::write(&key, format!("{}\n", "k".repeat(40))).expect("the key file can be written");
    let key = key.display().to_string();
    let arguments = ["--connect", &daemon.url(), "--client-id", "elsewhere", "--auth-key-file", &key];
    for _ in 0..2 {
        let _demo = Demo::start_at(std::net::Ipv4Addr::LOCALHOST.into(), &arguments);
        wait_for("its connection", || daemon.metric("rtcd_ws_connections_total{clientID=\"elsewhere\"}") == 1.0);
    }
}

#[test]
fn the_demo_refuses_to_listen_beyond_this_machine_unless_told_to() {
    let output = Command::new(rtcd_tests::daemon::binary())
        .args(["demo", "--listen", "0.0.0.0:0"])
        .output()
        .expect("the demo runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"), "{output:?}");
}
