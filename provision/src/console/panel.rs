//! From facts to what the panel says: rows, still without a size.
use super::facts::Facts;
use super::state::{self, State};
use super::{text, units};

/// What stands there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panel {
    /// `Mattermost Calls rtcd appliance 1.2.3`
    pub title: String,
    /// The machine's name.
    pub host: String,
    /// For its colour.
    pub state: State,
    /// In the order of their weight: always in sight.
    pub rows: Vec<Row>,
    /// What may be long: errors and notices. Where there is no room, page after page.
    pub details: Vec<Row>,
}

/// A label and its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// One or two words.
    pub label: &'static str,
    /// Harmless.
    pub lines: Vec<String>,
    /// It changes all the time, or is old news: a serial line does not get the panel anew for it.
    pub is_counter: bool,
}

/// How many notices are shown.
const MAX_NOTICES: usize = 12;
/// Lines of one text, and characters of a line: whatever others write, a panel has an end.
const MAX_LINES: usize = 80;
const MAX_LINE: usize = 1000;

impl Row {
    fn new(label: &'static str, said: &str) -> Self {
        let mut lines = text::lines(said);
        lines.iter_mut().for_each(|line| line.truncate(MAX_LINE));
        if lines.len() > MAX_LINES {
            let more = lines.len() - MAX_LINES;
            lines.truncate(MAX_LINES);
            lines.push(format!("and {more} more lines"));
        }
        Self { label, lines, is_counter: false }
    }
}

impl Panel {
    /// What there is to say.
    pub fn of(facts: &Facts) -> Self {
        let state = State::of(facts);
        let mut rows = vec![Row::new("State", state.as_str()), Row::new("Next", &state::next(state, facts))];
        if let Some(daemon) = &facts.daemon {
            let told = daemon.advertised.iter().map(|told| format!("{} {}", told.protocol, told.address));
            let told = told.collect::<Vec<_>>().join(", ");
            let told = if told.is_empty() { "no address" } else { &told };
            rows.push(Row::new("Participants", &format!("are told {told}")));
        }
        if let Some(url) = state::url(facts) {
            rows.push(Row::new("Mattermost", &format!("is told {url}")));
        }
        if let Some(said) = now(facts) {
            rows.push(Row { is_counter: true, ..Row::new("Now", &said) });
        }
        rows.push(Row::new("Updates", &updates(facts)));
        Self {
            title: format!("Mattermost Calls rtcd appliance {}", text::harmless(&facts.version)),
            host: text::harmless(&facts.host),
            state,
            rows,
            details: details(state, facts),
        }
    }

    /// Nothing new has been heard for long.
    pub fn is_old(&mut self) {
        self.details
            .insert(0, Row::new("Notice", "the machine does not answer this panel: what stands here may be old"));
    }

    /// What a serial line gets the panel anew for.
    pub fn essence(&self) -> impl PartialEq + use<> {
        let all = self.rows.iter().chain(&self.details).filter(|row| !row.is_counter);
        (self.title.clone(), self.host.clone(), all.cloned().collect::<Vec<_>>())
    }
}

fn now(facts: &Facts) -> Option<String> {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    if let Some(daemon) = &facts.daemon {
        return Some(format!("{}, {}", count(daemon.calls(), "call"), count(daemon.sessions(), "session")));
    }
    let rtcd = facts.unit(units::RTCD);
    (rtcd.runs() && !rtcd.status.is_empty()).then_some(rtcd.status)
}

fn updates(facts: &Facts) -> String {
    match &facts.updates {
        Some(window) => format!("by itself, {window}"),
        None => "off".into(),
    }
}

fn details(state: State, facts: &Facts) -> Vec<Row> {
    let mut all = Vec::new();
    let told = facts.provisioned.as_ref();
    let journal = &facts.journal;
    let error = match (state, told.and_then(|told| told.error.as_ref())) {
        (State::Unconfigured | State::Starting, Some(why)) => Row::new("Error", why),
        (State::Unconfigured | State::Starting, None) => Row::new("Error", &journal.provision.join("\n")),
        (State::Failed, _) if !journal.rtcd.is_empty() => Row::new("Error", &journal.rtcd.join("\n")),
        (State::Failed, _) => Row::new("Error", &why_failed(facts)),
        _ => Row { lines: vec![], ..Row::new("Error", "") },
    };
    if error.lines.is_empty() {
        let last = journal.last.as_deref().unwrap_or("none since the start");
        all.push(Row { is_counter: true, ..Row::new("Last error", last) });
    } else {
        all.push(error);
    }
    if facts.unit(units::ROLLBACK).active == "activating" {
        all.push(Row::new(
            "Notice",
            "this version does not serve: the machine restarts, and goes back to the one before",
        ));
    }
    if !journal.check.is_empty() {
        all.push(Row::new("Notice", &format!("the health check of this start failed:\n{}", journal.check.join("\n"))));
    }
    if let Some(told) = told {
        let before = told.using_last_good.iter().map(|why| format!("{why}\nrtcd runs with what was said before"));
        all.extend(before.chain(told.network_instead.clone()).map(|said| Row::new("Notice", &said)));
    }
    let of_rtcd =
        facts.daemon.iter().flat_map(|daemon| &daemon.notices).map(|one| format!("{}: {}", one.topic, one.text));
    let of_rtcd: Vec<_> = of_rtcd.collect();
    let left = facts.left.iter().map(|(topic, said)| format!("{topic}: {said}"));
    // rtcd reads the same files.
    let left: Vec<_> = left.filter(|said| !of_rtcd.contains(&said.trim_end().to_owned())).collect();
    let provisioning = told.map(|told| told.notices.clone()).unwrap_or_default();
    let notices: Vec<_> = left.into_iter().chain(of_rtcd).chain(provisioning).collect();
    all.extend(notices.iter().take(MAX_NOTICES).map(|said| Row::new("Notice", said)));
    if notices.len() > MAX_NOTICES {
        let more = notices.len() - MAX_NOTICES;
        all.push(Row::new("Notice", &format!("and {more} more, in the journal and on rtcd's status page")));
    }
    all
}

fn why_failed(facts: &Facts) -> String {
    let rtcd = facts.unit(units::RTCD);
    match rtcd.active.as_str() {
        _ if rtcd.fails() => format!("rtcd has ended: {}, exit status {}", rtcd.result, rtcd.exit),
        "active" => "rtcd runs and does not answer".into(),
        _ => "rtcd does not run".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::daemon::{Daemon, Notice, Told};
    use crate::status::Status;

    fn said(panel: &Panel) -> String {
        let all = panel.rows.iter().chain(&panel.details);
        all.map(|row| format!("{}: {}\n", row.label, row.lines.join(" / "))).collect()
    }

    #[test]
    fn a_machine_that_serves_says_where_and_how_much() {
        let told = Told { protocol: "udp".into(), address: "192.0.2.1:8443".into() };
        let notice = Notice { topic: "kernel".into(), text: "UDP buffers are small".into() };
        let daemon =
            Daemon { state: "serving".into(), advertised: vec![told], notices: vec![notice], ..Daemon::default() };
        let left = vec![("kernel".into(), "UDP buffers are small\n".into()), ("disk".into(), "made anew".into())];
        let mut facts = Facts { version: "1.2.3".into(), daemon: Some(daemon), left, ..Facts::default() };
        let panel = Panel::of(&facts);
        assert_eq!(panel.title, "Mattermost Calls rtcd appliance 1.2.3");
        assert_eq!(
            said(&panel),
            "State: ready\nNext: nothing\nParticipants: are told udp 192.0.2.1:8443\nNow: 0 calls, 0 sessions\nUpdates: off\n\
             Last error: none since the start\nNotice: disk: made anew\nNotice: kernel: UDP buffers are small\n"
        );
        // Counters and old errors are no reason to say it all again.
        let before = panel.essence();
        facts.daemon.as_mut().expect("there").calls = serde_json::from_str("[{\"sessions\": [1, 2]}]").expect("JSON");
        facts.journal.last = Some("an error".into());
        let panel = Panel::of(&facts);
        assert!(said(&panel).contains("Now: 1 call, 2 sessions\n") && before == panel.essence());
        facts.left.clear();
        assert!(before != Panel::of(&facts).essence());
    }

    #[test]
    fn all_mistakes_are_there_and_none_of_them_plays_with_the_console() {
        let mistakes: String = (1..=30).map(|line| format!("\n  line {line}: key\u{1b}[2J: unknown\u{9b}")).collect();
        let error = Some(format!("user-data has 30 mistakes:{mistakes}"));
        let provisioned = Some(Status { error, ..Status::default() });
        let panel = Panel::of(&Facts { provisioned, host: "rtcd\u{1b}c\r\n".into(), ..Facts::default() });
        assert_eq!((panel.state, panel.details[0].label), (State::Unconfigured, "Error"));
        assert_eq!(panel.details[0].lines.len(), 31);
        assert!(panel.details[0].lines[30].starts_with("  line 30: key?[2J"));
        assert!(said(&panel).bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        assert_eq!(panel.host, "rtcd?c? ");
    }

    #[test]
    fn a_text_without_end_is_shown_to_its_limit() {
        let error = Some("a very long line ".repeat(1000) + &"\nanother".repeat(1000));
        let provisioned = Some(Status { error, ..Status::default() });
        let lines = &Panel::of(&Facts { provisioned, ..Facts::default() }).details[0].lines;
        assert_eq!((lines.len(), lines[0].len(), lines[80].as_str()), (81, 1000, "and 921 more lines"));
    }

    #[test]
    fn notices_have_an_end() {
        let left = (0..50).map(|number| (format!("n{number}"), "text".to_owned())).collect();
        let panel = Panel::of(&Facts { left, ..Facts::default() });
        assert_eq!(panel.details.len(), 1 + MAX_NOTICES + 1);
        assert!(said(&panel).contains("and 38 more"));
    }
}
