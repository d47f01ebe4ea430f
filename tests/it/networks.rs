//! What a participant with a real browser gets out of a call: over a bad network, and over none to speak of. The bounds leave
//! room for a machine that does other things beside: what is printed is what to look at.
use crate::browser::{ANN, BOB, address, alone, enter, perceives};
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::browser::{DemoPage as _, State};
use rtcd_tests::lossy::{Conditions, LossyRoad};
use serde_json::Value;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// From the join until a call is judged: estimates and jitter buffers have settled.
const SETTLING: Duration = Duration::from_secs(10);

/// How long a call over a bad network is judged; `RTCD_NETWORK_SECONDS` sets another time.
fn judged() -> Duration {
    let seconds = std::env::var("RTCD_NETWORK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// The statistics of a page by type and kind, as the standard names them (W3C webrtc-stats).
struct Statistics(Vec<Value>);

impl Statistics {
    fn of(page: &Page) -> Self {
        let Value::Array(all) = page.eval("demo.statistics()") else { panic!("no statistics") };
        Self(all)
    }
    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |one| one["type"] == "inbound-rtp" && one["kind"] == kind)
    }
    /// The sum over all that is received of this kind.
    fn received(&self, kind: &str, name: &str) -> f64 {
        self.all(kind).filter_map(|one| one[name].as_f64()).sum()
    }
    /// One entry for each layer that is sent of a screen.
    fn layer(&self, rid: &str) -> Option<&Value> {
        self.0.iter().find(|one| one["type"] == "outbound-rtp" && one["rid"] == rid)
    }
}

/// What a receiver got of a call of two while it was judged. More of it is printed.
#[derive(Debug)]
struct Perceived {
    /// Pictures per second that were decoded.
    rate: f64,
    /// Share of what was played of the voice that the decoder had to make up.
    concealed: f64,
}

/// Ann is on loopback, Bob behind a road with this loss and half of this round trip each way. He judges her.
fn perceived_behind(loss: f64, round_trip: Duration, seed: u64) -> Perceived {
    let _alone = alone();
    let demo = Demo::start();
    let runtime = Runtime::new().expect("a runtime");
    let conditions = Conditions::of(loss, round_trip);
    let road = runtime.block_on(LossyRoad::under(demo.media(), conditions, conditions, seed)).expect("a road");
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let colour = ann.state().colour();
    let bob = browser.open_via(&address(&demo, BOB, ""), road.entry);
    bob.wait_joined();
    let joined = Instant::now();
    bob.wait_for("ann", |state| perceives(state, ANN, colour));
    let state = bob.wait_for("statistics", |state| !state.0["transport"].is_null());
    assert_eq!(state.text("/transport/address"), road.entry.to_string(), "by this road and no other");
    let begin = sample_at(&bob, joined + SETTLING);
    let end = sample_at(&bob, joined + SETTLING + judged());
    bob.wait_for("ann, still", |state| perceives(state, ANN, colour));
    let grown = |kind: &str, name: &str| end.1.received(kind, name) - begin.1.received(kind, name);
    let seconds = (end.0 - begin.0).as_secs_f64();
    let made_up = grown("audio", "concealedSamples") - grown("audio", "silentConcealedSamples");
    let perceived = Perceived {
        rate: grown("video", "framesDecoded") / seconds,
        concealed: made_up / grown("audio", "totalSamplesReceived"),
    };
    println!("{loss} loss each way, round trip {round_trip:?}, {seconds:.0} s: {perceived:?}");
    let missing = grown("audio", "packetsLost");
    let missing = missing / (missing + grown("audio", "packetsReceived"));
    let requests = ["audio", "video"].map(|kind| grown(kind, "nackCount"));
    println!("{missing} of the voice's packets never came; requests for voice and picture: {requests:?}");
    let (frozen, freezes) = (grown("video", "totalFreezesDuration") / seconds, grown("video", "freezeCount"));
    let repaired = grown("video", "retransmittedPacketsReceived");
    println!("the picture stood still {frozen} of the time in {freezes} freezes; {repaired} of its packets came later");
    let crossed = f64::from(road.lost() + road.carried());
    let lost = f64::from(road.lost()) / crossed;
    assert!((lost - loss).abs() < 0.03, "{lost} of {crossed} datagrams got lost");
    perceived
}

/// The statistics at that time, and when they were taken.
fn sample_at(page: &Page, time: Instant) -> (Instant, Statistics) {
    sleep(time.saturating_duration_since(Instant::now()));
    (Instant::now(), Statistics::of(page))
}

#[test]
fn of_a_voice_that_loses_ten_percent_hardly_anything_is_made_up() {
    let perceived = perceived_behind(0.1, Duration::from_millis(100), 1);
    assert!(perceived.rate > 10.0, "{perceived:#?}");
    assert!(perceived.concealed < 0.08, "{perceived:#?}");
}

#[test]
fn twenty_percent_of_loss_on_a_long_way_do_not_end_a_call() {
    let perceived = perceived_behind(0.2, Duration::from_millis(300), 2);
    assert!(perceived.rate > 10.0, "{perceived:#?}");
    assert!(perceived.concealed < 0.16, "{perceived:#?}");
}

/// Layer `l` has 5 frames/s, `h` has 20; both have the same size.
#[test]
fn a_shared_screen_reaches_its_high_layer_and_twenty_frames_a_second() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    let colours = (ann.state().colour(), bob.state().colour());
    bob.wait_for("ann", |state| perceives(state, ANN, colours.0));
    ann.wait_for("bob", |state| perceives(state, BOB, colours.1));
    ann.eval("demo.share('test-screen')");
    let shared = Instant::now();
    let rate = |state: &State| {
        let screens = state.tracks(ANN.0, "screen");
        screens.first().and_then(|track| track["stats"]["fps"].as_f64()).unwrap_or_default()
    };
    // No picture of `l` comes near this rate, one of `h` that is a moment late does.
    bob.wait_for("the high layer", |state| rate(state) >= 15.0);
    let took = shared.elapsed();
    let state = bob.wait_for("twenty frames a second", |state| rate(state) >= 19.0);
    let sent = Statistics::of(&ann);
    let of_high = sent.layer("h").and_then(|layer| layer["framesPerSecond"].as_f64());
    println!("h after {took:?}; {} frames/s of {of_high:?} that are sent", rate(&state));
    assert!(took < Duration::from_secs(20), "{took:?}");
    demo.assert_nothing_refused();
}

/// From the canvas of one page to the screen of another, through encoder, daemon, jitter buffer and decoder.
#[test]
fn a_picture_is_seen_a_moment_after_it_was_taken() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let script = include_str!("stamped.js");
    let ann = browser.open_with(&demo.url("name=ann&tone=500&auto"), script);
    let bob = browser.open_with(&demo.url("name=bob&tone=900&auto"), script);
    for page in [&ann, &bob] {
        page.wait_joined();
    }
    ann.eval("demo.publish('video', 'camera')");
    bob.wait_for("moving pictures", |state| {
        let tracks = state.tracks(ANN.0, "video");
        tracks.first().is_some_and(|track| track["stats"]["frames"].as_f64().is_some_and(|frames| frames > 100.0))
    });
    let Value::Array(seen) = bob.eval("ages(document.querySelector('video'), 300)") else { panic!("no ages") };
    let mut ages: Vec<f64> = seen.iter().filter_map(Value::as_f64).collect();
    ages.sort_by(f64::total_cmp);
    let at = |share: f64| ages[(ages.len() as f64 * share) as usize];
    println!("{} pictures, {} read; p50 {} ms, p95 {} ms", seen.len(), ages.len(), at(0.5), at(0.95));
    assert!(ages.len() * 10 >= seen.len() * 9, "{seen:?}");
    assert!(at(0.95) < 400.0, "{ages:?}");
}
