//! Participants made of pion, behind the vendor's own client: a Go program, `tests/pion`, which is built for that.
use super::crash::{crash, crashes};
use super::keeper::Keeper;
use super::*;
use rtcd_tests::daemon::wait_for;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

struct Pion {
    child: Child,
    words: ChildStdin,
    /// The last that was said, by participant.
    said: Arc<Mutex<Value>>,
}

/// The program; modules come from wherever Go gets them.
fn program() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pion");
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&program).arg(".").current_dir("pion").env("CGO_ENABLED", "0");
    let output = command.output().expect("go is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

impl Pion {
    fn start(api: &str) -> Self {
        let mut command = Command::new(program());
        let mut child =
            command.arg(api).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it has just been built");
        let words = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said: Arc<Mutex<Value>> = Arc::default();
        let last = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let state = serde_json::from_str(&line).expect("JSON");
                *last.lock().unwrap_or_else(PoisonError::into_inner) = state;
            }
        });
        Self { child, words, said }
    }

    fn say(&mut self, words: &str) {
        writeln!(self.words, "{words}").expect("it listens");
    }

    fn state(&self) -> Value {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let is_so = || is_so(&self.state());
        wait_for(&format!("{what}; at first {:#}", self.state()), is_so);
    }

    /// `names` hear each other from now on, and what they say on their channels is answered.
    fn wait_all(&self, what: &str, names: &[&str]) {
        let before = self.state();
        self.wait(what, |state| {
            names.iter().all(|name| {
                let number = |state: &Value, of: &str| state[name][of].as_u64().unwrap_or(0);
                let packets = |state: &Value, from: &str| state[name]["packets"][from].as_u64().unwrap_or(0);
                let others = names.iter().filter(|from| from != &name);
                others.into_iter().all(|from| packets(state, from) > packets(&before, from) + 10)
                    && number(state, "pongs") > number(&before, "pongs") + 2
            })
        });
    }

    fn note_pauses(&self, names: &[&str], pauses: &mut Pauses) {
        let state = self.state();
        let of_names = names.iter().filter_map(|name| state[name]["pause_ms"].as_object());
        for pause in of_names.flatten().filter_map(|(_, pause)| pause.as_u64()) {
            pauses.note("audio", Duration::from_millis(pause));
        }
    }
}

impl Drop for Pion {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing of theirs is lost in a restart; a kill loses what was under way. Whoever comes afterwards is offered over the
/// channels that were there before.
#[test]
fn participants_of_pion_go_on_over_restarts_and_kills() {
    let _alone = alone();
    let keeper = Keeper::new();
    let mut relay = Relay::start_by(DaemonConfig::new(), |config| keeper.start_ready(config));
    let mut pion = Pion::start(&relay.daemon.url());
    pion.say("join ann");
    pion.say("join bob");
    let mut names = vec!["ann", "bob"];
    pion.wait_all("ann and bob at first", &names);
    let negotiated = |pion: &Pion| names_of(&pion.state(), "negotiated");
    let known = negotiated(&pion);
    let mut pauses = Pauses::default();
    for round in 1..=restarts() {
        pion.say("lap");
        relay.hand_over_with(&keeper);
        pion.wait_all(&format!("all after restart {round}"), &names);
        pion.note_pauses(&names, &mut pauses);
    }
    println!("restarts: {pauses}");
    pion.wait("all answers but those under way", |state| {
        names_of(state, "pings").iter().zip(names_of(state, "pongs")).all(|(pings, pongs)| pongs + 1 >= *pings)
    });
    let mut pauses = Pauses::default();
    for round in 1..=crashes() {
        pion.say("lap");
        // Five that die within a second of their start end all calls.
        let started = Instant::now();
        wait_for("the daemon to have lived for a while", || started.elapsed() > Duration::from_millis(1100));
        crash(&keeper, &relay.config, &mut relay.daemon);
        pion.wait_all(&format!("all after kill {round}"), &names);
        pion.note_pauses(&names, &mut pauses);
    }
    println!("kills: {pauses}{:#}", pion.state());
    assert_eq!(negotiated(&pion), known, "nothing was negotiated");
    names.push("cleo");
    pion.say("join cleo");
    pion.wait_all("cleo with them", &names);
    for name in names {
        let state = &pion.state()[name];
        assert_eq!((&state["connection"], &state["channel"]), (&"connected".into(), &"open".into()), "{name}");
        assert_eq!(state["closed"], false, "{name}");
    }
}

/// A number of each participant, by their names.
fn names_of(state: &Value, of: &str) -> Vec<u64> {
    let all = state.as_object().into_iter().flatten();
    all.map(|(_, participant)| participant[of].as_u64().unwrap_or(0)).collect()
}
