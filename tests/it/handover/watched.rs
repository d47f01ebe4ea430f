//! A call of browsers, and what becomes of their connections.
use super::pauses::Pauses;
use crate::browser::{ANN, BOB, address, perceives};
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::browser::{DemoPage, State};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const WATCHED: &str = include_str!("../watched.js");
const CLEO: (&str, f64) = ("cleo", 1300.0);
pub const WHITE: [f64; 3] = [255.0; 3];

pub fn enter(browser: &Chromium, demo: &Demo, who: (&str, f64), more: &str) -> Page {
    let page = browser.open_with(&address(demo, who, more), WATCHED);
    page.wait_joined();
    page
}

pub fn report(page: &Page) -> Value {
    serde_json::from_str(page.eval("watch.report()").as_str().expect("JSON")).expect("JSON")
}

/// Three in a call, of whom ann shares her screen; everything that becomes of their connections is noted.
pub struct Call {
    pub pages: Vec<(Page, (&'static str, f64))>,
    pub described: Vec<Value>,
}

impl Call {
    pub fn begin(browser: &Chromium, demo: &Demo, more: &str) -> Self {
        let pages = [ANN, BOB, CLEO].map(|who| (enter(browser, demo, who, more), who)).into();
        let mut call = Self { pages, described: Vec::new() };
        call.pages[0].0.eval("demo.share('test-screen')");
        call.everybody_goes_on();
        call.described = call.pages.iter().map(|(page, _)| page.eval("demo.described()")).collect();
        call.on_all("watch.begin()");
        call
    }

    pub fn on_all(&self, script: &str) {
        self.pages.iter().for_each(|(page, _)| drop(page.eval(script)));
    }

    /// Everybody hears and sees everybody, and ann's screen.
    pub fn everybody_goes_on(&self) {
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
    pub fn note_pauses(&self, pauses: &mut Pauses) {
        for (page, _) in &self.pages {
            let lap: Value = serde_json::from_str(page.eval("watch.lap()").as_str().expect("JSON")).expect("JSON");
            for stream in lap.as_array().into_iter().flatten() {
                let longest = stream["longest"].as_f64().expect("a number");
                pauses.note(stream["kind"].as_str().expect("a kind"), Duration::from_secs_f64(longest / 1e3));
            }
        }
    }

    /// Pictures of each track that have been shown at each.
    pub fn pictures(&self) -> Vec<Pictures> {
        self.pages.iter().map(|(page, _)| pictures(&page.state())).collect()
    }

    /// More of all of them than `before`.
    pub fn wait_pictures(&self, before: Vec<Pictures>, round: usize) {
        for ((page, who), before) in self.pages.iter().zip(before) {
            let what = format!("new pictures of all at {}, round {round}", who.0);
            page.wait_for(&what, |state| {
                let now = pictures(state);
                before.iter().all(|(track, count)| now.get(track).is_some_and(|now| *now > count + 3.0))
            });
        }
    }
}

pub type Pictures = BTreeMap<(String, String), f64>;

/// Pictures of each track that have been shown.
pub fn pictures(state: &State) -> Pictures {
    let tracks = state.0["tracks"].as_array().into_iter().flatten();
    let shows = |track: &&Value| track["type"] == "video" || track["type"] == "screen";
    let pictures = tracks.filter(shows).filter_map(|track| {
        let text = |key: &str| track[key].as_str().unwrap_or_default().to_owned();
        Some(((text("name"), text("type")), track["stats"]["frames"].as_f64()?))
    });
    pictures.collect()
}
