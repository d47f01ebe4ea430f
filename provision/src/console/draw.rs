//! The panel on a screen, which is drawn over again, and on a serial line, which is a log: what was written stays.
use super::panel::{Panel, Row};
use super::state::State;
use super::text::{harmless, wrap};

/// Where the text of a row begins.
const LABEL: usize = 14;
/// The last line.
pub const KEYS: &str = "Keys: l link for whoever cannot connect, e errors, c check, r factory reset";
/// The same where what was written stays.
pub const LINE_KEYS: &str = "Keys: l link for whoever cannot connect, e errors, c check, r reset, Enter";

/// Columns and rows of a console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Size {
    /// What a terminal has that says nothing.
    pub const USUAL: Self = Self { columns: 80, rows: 24 };
}

/// For a serial line: everything, once.
pub fn log(panel: &Panel, columns: usize) -> String {
    let mut all = vec![String::new(), rule(columns), title(panel, columns)];
    all.extend(panel.rows.iter().chain(&panel.details).flat_map(|row| lines(row, columns)));
    all.extend(wrap(LINE_KEYS, columns, 2));
    all.push(rule(columns));
    log_lines(&all)
}

/// Lines for a serial line, whose driver adds the carriage returns.
pub fn log_lines(all: &[String]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

/// For a screen, from its upper left corner: nothing of before is left, and nothing flickers. `page` counts on for ever.
pub fn screen(panel: &Panel, size: Size, page: usize) -> String {
    let mut fixed: Vec<_> = panel.rows.iter().flat_map(|row| lines(row, size.columns)).collect();
    let mut details: Vec<_> = panel.details.iter().flat_map(|row| lines(row, size.columns)).collect();
    // Title and rule, rule and keys.
    let room = size.rows.saturating_sub(4).max(2);
    if fixed.len() + 2 > room {
        details.splice(..0, fixed.drain(..));
    }
    let room = room - fixed.len();
    if details.len() > room {
        let pages: Vec<_> = details.chunks(room - 1).collect();
        let number = page % pages.len();
        let mut shown = pages[number].to_vec();
        shown.resize(room - 1, String::new());
        shown.push(format!("{:LABEL$}(page {} of {}, a new one every 10 s)", "", number + 1, pages.len()));
        details = shown;
    }
    fixed.append(&mut details);
    fixed.resize(fixed.len().max(size.rows.saturating_sub(4)), String::new());
    let mut all = vec![title(panel, size.columns), rule(size.columns)];
    all.append(&mut fixed);
    all.extend([rule(size.columns), KEYS.to_owned()]);
    framed(&all, size, Some(panel.state))
}

/// An answer on a screen: its last lines, where there is not room for all.
pub fn answer(said: &[String], size: Size, last: &str) -> String {
    let all: Vec<_> = said.iter().flat_map(|line| wrap(line, size.columns, 4)).collect();
    let room = size.rows.saturating_sub(2).max(1);
    let mut all = all[all.len().saturating_sub(room)..].to_vec();
    all.extend([String::new(), last.to_owned()]);
    framed(&all, size, None)
}

fn framed(all: &[String], size: Size, state: Option<State>) -> String {
    let line = |(number, line): (usize, &String)| {
        let line: String = line.chars().take(size.columns).collect();
        match state.filter(|_| line.starts_with("State ")) {
            Some(state) => line.replacen(state.as_str(), &coloured(state), 1),
            None if number == 0 => format!("\x1b[1m{line}\x1b[0m"),
            None => line,
        }
    };
    let lines: Vec<_> = all.iter().take(size.rows).enumerate().map(line).collect();
    // No cursor; home; each line to its end; what is below.
    format!("\x1b[?25l\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

fn coloured(state: State) -> String {
    let colour = match state {
        State::Ready => 32,
        State::Starting | State::Draining | State::Updating => 33,
        State::Unconfigured | State::Failed | State::Unreachable => 31,
    };
    format!("\x1b[1;{colour}m{}\x1b[0m", state.as_str())
}

fn title(panel: &Panel, columns: usize) -> String {
    let gap = columns.saturating_sub(panel.title.len() + panel.host.len()).max(2);
    let whole = format!("{}{}{}", panel.title, " ".repeat(gap), panel.host);
    harmless(whole.trim_end()).chars().take(columns).collect()
}

fn rule(columns: usize) -> String {
    "-".repeat(columns)
}

fn lines(row: &Row, columns: usize) -> Vec<String> {
    let label = |number: usize| if number == 0 { row.label } else { "" };
    // Long texts of others get the width for themselves.
    let width = columns.saturating_sub(LABEL).max(8);
    let wrapped = row.lines.iter().flat_map(|line| wrap(line, width, 2));
    wrapped.enumerate().map(|(number, line)| format!("{:LABEL$}{line}", label(number)).trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::daemon::{Daemon, Told};
    use crate::console::facts::{Endpoint, Facts};
    use crate::status::Status;

    fn unescaped(drawn: &str) -> Vec<String> {
        let mut text = drawn.to_owned();
        for code in ["[?25l", "[H", "[K", "[J", "[1m", "[0m", "[1;31m", "[1;32m", "[1;33m"] {
            text = text.replace(&format!("\x1b{code}"), "");
        }
        assert!(text.bytes().all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')), "{text:?}");
        text.split("\r\n").map(str::to_owned).collect()
    }

    fn serving(addresses: usize) -> Panel {
        let told = |number| Told {
            protocol: "udp".into(),
            address: format!("[2001:db8:1234:5678:9abc:def0:1234:{number:x}]:8443"),
        };
        let daemon =
            Daemon { state: "serving".into(), advertised: (0..addresses).map(told).collect(), ..Daemon::default() };
        let api = Some(Endpoint { tls: false, host: None, port: 8045, is_open: true });
        let addresses = Some(vec![[10, 0, 0, 5].into()]);
        let version = "1.2.3".into();
        Panel::of(&Facts { version, host: "rtcd-1".into(), daemon: Some(daemon), api, addresses, ..Facts::default() })
    }

    fn mistaken(count: usize) -> Panel {
        let mistakes: String = (1..=count)
            .map(|line| {
                format!(
                    "\n  line {line}, column 5: rtcd.rtc.ice_prot_udp: unknown key; did you mean rtcd.rtc.ice_port_udp?"
                )
            })
            .collect();
        let error = Some(format!("user-data has {count} mistakes:{mistakes}"));
        Panel::of(&Facts { provisioned: Some(Status { error, ..Status::default() }), ..Facts::default() })
    }

    #[test]
    fn a_panel_fills_its_screen_and_not_a_column_more() {
        for (columns, rows) in [(80, 24), (80, 25), (80, 50), (128, 48), (40, 12), (20, 6)] {
            for panel in [serving(1), serving(9), mistaken(30)] {
                let size = Size { columns, rows };
                let all = unescaped(&screen(&panel, size, 0));
                assert_eq!(all.len(), rows, "{columns}x{rows}: {all:#?}");
                assert!(all.iter().all(|line| line.len() <= columns), "{all:#?}");
                assert!(all[rows - 1].starts_with("Keys: l link"), "{all:#?}");
            }
        }
        let all = unescaped(&screen(&serving(1), Size::USUAL, 0));
        assert!(
            all[0].starts_with("Mattermost Calls rtcd appliance 1.2.3 ") && all[0].ends_with(" rtcd-1"),
            "{all:#?}"
        );
        assert_eq!(all[2], "State         ready");
        assert_eq!(all[5], "Participants  are told udp [2001:db8:1234:5678:9abc:def0:1234:0]:8443");
    }

    #[test]
    fn what_has_no_room_is_shown_page_after_page() {
        let panel = mistaken(30);
        let size = Size::USUAL;
        let pages: Vec<_> = (0..8).map(|page| unescaped(&screen(&panel, size, page)).join("\n")).collect();
        for line in 1..=30 {
            assert!(pages.iter().any(|page| page.contains(&format!("line {line}, column 5:"))), "{line}");
        }
        assert!(pages.iter().all(|page| page.contains("unconfigured") && page.contains("correct the user data")));
        assert!(pages[0].contains("(page 1 of "));
        assert!(!unescaped(&screen(&mistaken(3), size, 0)).join("\n").contains("(page "));
    }

    #[test]
    fn a_serial_line_gets_everything_as_plain_text_within_its_columns() {
        let text = log(&mistaken(30), 80);
        assert!(!text.contains('\x1b'));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= 80), "{text}");
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for line in 1..=30 {
            assert!(joined.contains(&format!(
                "line {line}, column 5: rtcd.rtc.ice_prot_udp: unknown key; did you mean rtcd.rtc.ice_port_udp?"
            )));
        }
        assert!(log(&serving(2), 80).lines().count() <= 24);
    }

    #[test]
    fn an_answer_shows_its_end_where_it_is_too_long() {
        let said: Vec<_> = (0..40).map(|number| format!("error {number}")).collect();
        let all = unescaped(&answer(&said, Size::USUAL, "any key: back"));
        assert_eq!((all.len(), all[21].as_str(), all[23].as_str()), (24, "error 39", "any key: back"));
    }
}
