//! Real browsers as participants: Chromium over its DevTools pipe, Firefox over WebDriver BiDi, and the demo they visit.
pub mod chromium;
pub mod demo;
pub mod firefox;

use serde_json::Value;
use std::time::{Duration, Instant};

/// How long anything may take that browsers take part in: they share two cores.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Between two looks at a page.
const POLL: Duration = Duration::from_millis(100);

/// A page of the demo in some browser.
pub trait DemoPage {
    /// Evaluates an expression; a promise is awaited.
    fn eval(&self, expression: &str) -> Value;

    /// `demo.state()` of the page, `null` before its script has run.
    fn state(&self) -> State {
        State(self.eval("window.demo ? demo.state() : null"))
    }

    /// Waits until the state is as wanted and gives it back; fails with the state as it is then.
    fn wait_for(&self, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {:#}", state.0);
            std::thread::sleep(POLL);
        }
    }

    /// Waits until it is in the call.
    fn wait_joined(&self) -> State {
        self.wait_for("the data channel", |state| state.text("/connection") == "connected")
    }
}

/// What `demo.state()` gave.
#[derive(Debug, Clone)]
pub struct State(pub Value);

impl State {
    /// A text in it.
    pub fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
    /// The tracks that it receives of this participant and type.
    pub fn tracks(&self, name: &str, kind: &str) -> Vec<&Value> {
        let all = self.0["tracks"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|track| track["name"] == name && track["type"] == kind).collect()
    }
    /// Whether it receives one such track.
    pub fn has(&self, name: &str, kind: &str) -> bool {
        self.tracks(name, kind).len() == 1
    }
    /// Whether this participant's tone, or one of the given type, is the loudest that comes from there.
    pub fn hears(&self, name: &str, kind: &str, hertz: f64) -> bool {
        self.tracks(name, kind).iter().any(|track| {
            let (hz, db) = (track["peak"]["hz"].as_f64(), track["peak"]["db"].as_f64());
            // A bin of the analyser is 11.7 Hz wide.
            hz.is_some_and(|hz| (hz - hertz).abs() < 25.0) && db.is_some_and(|db| db > -60.0)
        })
    }
    /// Whether nothing is to be heard of it.
    pub fn is_silent(&self, name: &str, kind: &str) -> bool {
        self.tracks(name, kind).iter().all(|track| track["peak"]["db"].as_f64().is_none_or(|db| db < -80.0))
    }
    /// Whether the corner of its video (`topLeft`, `bottomRight`) has this colour.
    pub fn sees(&self, name: &str, kind: &str, corner: &str, colour: [f64; 3]) -> bool {
        self.tracks(name, kind).iter().any(|track| {
            let seen: Vec<f64> =
                track["corners"][corner].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
            // Video is not exact, and its colour space is not the canvas's.
            seen.len() == 3 && seen.iter().zip(colour).all(|(seen, wanted)| (seen - wanted).abs() < 40.0)
        })
    }
    /// The colour of the page's own participant.
    pub fn colour(&self) -> [f64; 3] {
        [0, 1, 2].map(|index| self.0["colour"][index].as_f64().unwrap_or(-1.0))
    }
}
