//! The demo's page as people meet it: who speaks, colours, messages, devices, keys, the end of a call, and how it fits.
use super::{ANN, BOB, CLEO, WHITE, alone, enter, perceives};
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::browser::{DemoPage, State};
use serde_json::{Value, json};

/// Its microphone is forbidden, its camera is missing.
const WITHOUT_DEVICES: &str = "navigator.mediaDevices.getUserMedia = async ({audio}) => {
  throw audio ? new DOMException('no', 'NotAllowedError') : new DOMException('none', 'NotFoundError');
};";

fn speaks(state: &State, name: &str) -> bool {
    state.0["speaking"].as_array().is_some_and(|all| all.contains(&json!(name)))
}

fn notices(page: &Page) -> Vec<String> {
    let state = page.state();
    state.0["notices"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn a_ring_shows_who_speaks_until_that_one_is_muted_or_pauses() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "&silent");
    let state = bob.wait_for("ann to speak", |state| speaks(state, ANN.0));
    assert!(!speaks(&state, BOB.0), "{:#}", state.0["speaking"]);
    let ring = "getComputedStyle(document.querySelector('.tile.speaking') ?? document.body, '::after').boxShadow";
    // It fades in.
    bob.wait_for("a ring", |_| bob.eval(ring).as_str().is_some_and(|ring| ring.contains("61, 220, 132")));
    ann.wait_for("ann to see that she is heard", |state| speaks(state, ANN.0));
    bob.wait_for("ann's pause", |state| !speaks(state, ANN.0));
    bob.wait_for("ann to speak again", |state| speaks(state, ANN.0));
    ann.eval("document.getElementById('mute').click()");
    bob.wait_for("the end of it", |state| !speaks(state, ANN.0));
    let state = bob.wait_for("silence", |state| state.is_silent(ANN.0, "voice"));
    assert!(!speaks(&state, ANN.0), "{:#}", state.0["speaking"]);
    // Longer than a round of the tone.
    ann.eval("new Promise((resolve) => setTimeout(resolve, 10000))");
    assert!(!speaks(&bob.state(), ANN.0), "who is muted does not speak");
    demo.assert_nothing_refused();
}

#[test]
fn there_are_as_many_colours_as_people_and_each_keeps_its_own() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "&silent");
    let Value::Array(all) = ann.eval("demo.colours(200)") else { panic!("no colours") };
    let apart = |one: &Value, other: &Value| {
        let channel = |colour: &Value, at: usize| colour[at].as_i64().expect("a number");
        (0..3).map(|at| (channel(one, at) - channel(other, at)).abs()).max().unwrap_or_default()
    };
    for (at, one) in all.iter().enumerate() {
        for (before, other) in all[..at].iter().enumerate() {
            let least = if at < 10 { 45 } else { 1 };
            assert!(apart(one, other) >= least, "seats {before} and {at}: {other} and {one}");
        }
    }
    let bob = enter(&browser, &demo, BOB, "&silent");
    let cleo = enter(&browser, &demo, CLEO, "&silent");
    let colours = [&ann, &bob, &cleo].map(|page| page.state().colour());
    for (name, colour) in [(ANN.0, colours[0]), (BOB.0, colours[1])] {
        cleo.wait_for(name, |state| state.sees(name, "video", "topLeft", colour));
        let face = format!("getComputedStyle(document.querySelector('.tile[data-name={name}] .face')).backgroundColor");
        assert_eq!(cleo.eval(&face), json!(format!("rgb({}, {}, {})", colour[0], colour[1], colour[2])));
    }
    // Who leaves and comes again has the same colour, and the others keep theirs.
    bob.eval("demo.leave()");
    cleo.wait_for("bob to be gone", |state| state.0["participants"].as_array().map(Vec::len) == Some(2));
    bob.eval("document.getElementById('again').click()");
    bob.wait_joined();
    assert_eq!([&ann, &bob, &cleo].map(|page| page.state().colour()), colours);
}

#[test]
fn messages_stay_beside_each_other_until_each_has_been_dismissed() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    ann.eval("demo.share('test-screen')");
    let bob = browser.open_with(&demo.url("name=bob&auto"), WITHOUT_DEVICES);
    bob.wait_joined();
    bob.wait_for("ann's screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
    bob.eval("demo.publish('video', 'camera')");
    bob.eval("demo.share('test-screen')");
    bob.eval("demo.share('test-screen')");
    let all = notices(&bob);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].contains("not allowed to use the microphone"), "{all:?}");
    assert!(all[1].contains("No camera was found"), "{all:?}");
    assert!(all[2].contains("ann shares a screen already"), "{all:?}");
    assert_eq!(bob.eval("document.querySelectorAll('.notice[role=alert]').length"), json!(3));
    assert_eq!(bob.eval("document.querySelector('.notice:last-child .times').textContent"), json!("2 times"));
    bob.eval("document.querySelector('.notice:nth-child(2) [aria-label]').click()");
    let left = notices(&bob);
    assert_eq!(left, [all[0].clone(), all[2].clone()]);
    // Without a microphone one still hears.
    bob.wait_for("ann", |state| state.hears(ANN.0, "voice", ANN.1));
}

#[test]
fn devices_are_exchanged_during_the_call_and_nothing_is_negotiated_for_it() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    let (colour, colour_of_bob) = (ann.state().colour(), bob.state().colour());
    bob.wait_for("ann", |state| perceives(state, ANN, colour));
    ann.wait_for("bob", |state| perceives(state, BOB, colour_of_bob) && super::settled(state));
    let described = ann.eval("demo.described()");
    ann.eval("document.getElementById('devices').click()");
    let names = "[...document.querySelectorAll('#choose-video option')].map((one) => one.textContent)";
    ann.wait_for("the list", |_| ann.eval(names).as_array().is_some_and(|names| names.len() > 2));
    let choose = |id: &str, value: &str| {
        ann.eval(&format!(
            "(() => {{ const select = document.getElementById('{id}');
              select.value = '{value}'; select.dispatchEvent(new Event('change')); }})()"
        ));
    };
    choose("choose-video", "camera");
    bob.wait_for("the camera", |state| state.has(ANN.0, "video") && !state.sees(ANN.0, "video", "topLeft", colour));
    choose("choose-voice", "microphone");
    // The beeps of the browser's own device.
    bob.wait_for("the microphone", |state| state.has(ANN.0, "voice") && !state.hears(ANN.0, "voice", ANN.1));
    choose("choose-video", "picture");
    choose("choose-voice", "tone");
    bob.wait_for("ann as before", |state| perceives(state, ANN, colour));
    assert_eq!(ann.eval("demo.described()"), described, "nothing was negotiated");
    assert_eq!(notices(&ann), Vec::<String>::new());
    demo.assert_nothing_refused();
}

#[test]
fn keys_do_what_the_list_of_keys_says_unless_they_are_switched_off() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, "&silent"));
    let muted = |state: &State| {
        state.0["participants"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == ANN.0 && one["muted"] == true))
    };
    let press = |key: &str| {
        ann.eval(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
        ));
    };
    bob.wait_for("ann's tone", |state| state.hears(ANN.0, "voice", ANN.1));
    press("m");
    bob.wait_for("ann to be muted", muted);
    press("m");
    bob.wait_for("ann's tone again", |state| !muted(state) && state.hears(ANN.0, "voice", ANN.1));
    press("?");
    assert_eq!(ann.eval("document.getElementById('keys').open"), json!(true));
    ann.eval("document.getElementById('keys').close()");
    ann.eval("document.getElementById('keys-on').click()");
    press("m");
    press("v");
    bob.wait_for("ann, as before", |state| state.hears(ANN.0, "voice", ANN.1) && !muted(state));
    assert_eq!(ann.eval("document.getElementById('camera').textContent"), json!("Stop video"));
    // Every button says what it is to those who do not see it.
    let nameless = "[...document.querySelectorAll('button')]
        .filter((one) => !one.textContent.trim() && !one.getAttribute('aria-label')).length";
    assert_eq!(ann.eval(nameless), json!(0));
}

#[test]
fn statistics_are_plotted_for_each_track_that_comes_or_goes() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    ann.eval("demo.share('test-screen')");
    bob.wait_for("the screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE));
    bob.eval("document.getElementById('stats').click()");
    // Cards and their plots, with what these say now.
    let plots = "Object.fromEntries([...document.querySelectorAll('.track')].map((track) =>
        [track.querySelector('h3').textContent, [...track.querySelectorAll('figure')].map((one) =>
          [one.textContent, one.querySelector('.line').getAttribute('d').split('L').length])]))";
    bob.wait_for("plots of the screen", |_| {
        let screen = &bob.eval(plots)["ann: Screen"];
        let labels: Vec<_> = screen.as_array().into_iter().flatten().filter_map(|one| one[0].as_str()).collect();
        let drawn = screen.as_array().is_some_and(|all| all.iter().all(|one| one[1].as_u64() > Some(2)));
        let expected = ["Bit rate", "Frames", "Jitter", "Loss"];
        drawn && labels.len() == 4 && labels.iter().zip(expected).all(|(label, begin)| label.starts_with(begin))
    });
    let shown = bob.eval(plots);
    for title in ["ann: Voice", "ann: Camera", "ann: Sound of the screen", "You send: sound", "You send: pictures"] {
        assert!(shown[title].is_array(), "{title}: {shown:#}");
    }
    let layers = "[...document.querySelectorAll('.track .hint')].map((one) => one.textContent).join()";
    ann.eval("document.getElementById('stats').click()");
    ann.wait_for("the layers of the screen", |_| {
        ann.eval(layers).as_str().is_some_and(|text| text.contains("layer l"))
    });
}

/// Set `RTCD_SCREENSHOTS` to a directory to see what it looks like.
#[test]
fn every_view_fits_phones_tablets_and_desks_in_both_themes() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let bob = enter(&browser, &demo, BOB, "");
    let cleo = enter(&browser, &demo, ("Cleopatra Featherstonehaugh-Cholmondeley", 1300.0), "&silent");
    let start = browser.open(&demo.url("call=demo"));
    bob.wait_for("everybody", |state| state.0["participants"].as_array().map(Vec::len) == Some(3));
    fits(&start, "start");
    fits(&bob, "grid");
    ann.eval("demo.share('test-screen')");
    bob.wait_for("the screen", |state| state.sees(ANN.0, "screen", "bottomRight", WHITE) && speaks(state, ANN.0));
    fits(&bob, "screen");
    for id in ["devices", "show-keys", "share"] {
        bob.eval(&format!("document.getElementById('{id}').click()"));
        fits(&bob, id);
        bob.eval("document.querySelectorAll('dialog').forEach((one) => one.close())");
    }
    bob.eval("document.getElementById('share-menu').hidePopover(); document.getElementById('stats').click()");
    bob.wait_for("plots", |_| bob.eval("document.querySelectorAll('.track').length").as_u64() > Some(4));
    fits(&bob, "stats");
    cleo.eval("demo.leave()");
    fits(&cleo, "ended");
}

/// Nothing is cut off, and what is to be touched can be.
fn fits(page: &Page, what: &str) {
    let dir = std::env::var_os("RTCD_SCREENSHOTS");
    for theme in ["light", "dark"] {
        page.set_dark(theme == "dark");
        for size in [(360, 740), (768, 1024), (1280, 760)] {
            page.resize(size);
            if let Some(dir) = &dir {
                let path = std::path::Path::new(dir).join(format!("{what}-{theme}-{}.png", size.0));
                page.capture(&path);
            }
            let at = format!("{what} in {theme} at {}", size.0);
            let overflow = page.eval("document.documentElement.scrollWidth - innerWidth");
            assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{at}: {overflow} pixels too wide");
            let small = page.eval(
                "[...document.querySelectorAll('button, .button, select, input:not([type=checkbox])')]
                   .map((one) => [one.id || one.textContent, one.getBoundingClientRect()])
                   .filter(([, {width, height}]) => width && (width < 43.5 || height < 43.5)).map(([id]) => id)",
            );
            assert_eq!(small, json!([]), "{at}: too small to touch");
            let outside = page.eval(
                "[...document.querySelectorAll('#bar button')].map((one) => [one.id, one.getBoundingClientRect()])
                   .filter(([, {left, right, bottom}]) => left < 0 || right > innerWidth || bottom > innerHeight)
                   .map(([id]) => id)",
            );
            assert_eq!(outside, json!([]), "{at}: outside of the window");
        }
    }
}
