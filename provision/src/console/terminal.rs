//! One console with what is shown on it and what is typed there.
use super::budget::Budget;
use super::draw::{answer, log, log_lines, screen};
use super::keys::{Keys, Wish};
use super::panel::Panel;
use super::tty::Tty;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// A screen is drawn anew after this time: messages of the kernel may be all over it.
const AGAIN: Duration = Duration::from_secs(60);
/// How long an answer stays on a screen.
const ANSWER_STAYS: Duration = Duration::from_secs(60);
/// A page of what has no room.
const PAGE: Duration = Duration::from_secs(10);

/// How a console is written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Drawn over.
    Screen,
    /// Whoever is at the other end may keep all of it: the panel is written when something has changed that is no counter.
    Line,
}

/// A console that is there.
#[derive(Debug)]
pub struct Terminal {
    kind: Kind,
    tty: Tty,
    keys: Keys,
    opened: Instant,
    /// What stands there, and since when: the drawing of a screen, the panel of a line.
    drawn: Option<(Instant, String)>,
    written: Option<Panel>,
    answer_until: Option<Instant>,
    /// Until when an answer that is being looked for may come, and its number.
    awaits: Option<(Instant, u64)>,
    /// What changes to and fro must not fill somebody's log.
    panels: Budget,
    answers: Budget,
}

impl Terminal {
    /// Opens it.
    pub fn open(path: &Path, kind: Kind, now: Instant) -> io::Result<Self> {
        Ok(Self {
            kind,
            tty: Tty::open(path, now)?,
            keys: Keys::default(),
            opened: now,
            drawn: None,
            written: None,
            answer_until: None,
            awaits: None,
            panels: Budget::new(12, Duration::from_secs(60), now),
            answers: Budget::new(8, Duration::from_secs(15), now),
        })
    }

    /// For poll(2), and whether it has something to write.
    pub fn tty(&self) -> (&Tty, bool) {
        (&self.tty, !self.tty.is_idle())
    }

    /// Shows the panel if that is due. A console that takes nothing waits for a later one.
    pub fn show(&mut self, now: Instant, panel: &Panel) -> io::Result<()> {
        if self.tty.is_idle() && !self.keys.is_asked() && self.answer_until.is_none() {
            match self.kind {
                Kind::Screen => self.draw(now, panel)?,
                Kind::Line => self.write(now, panel)?,
            }
        }
        if !self.tty.flush(now)? {
            (self.drawn, self.written) = (None, None);
        }
        Ok(())
    }

    fn draw(&mut self, now: Instant, panel: &Panel) -> io::Result<()> {
        let page = now.duration_since(self.opened).as_secs() / PAGE.as_secs();
        let text = screen(panel, self.tty.size(), usize::try_from(page).unwrap_or_default());
        let is_due = self.drawn.as_ref().is_none_or(|(at, before)| *before != text || now >= *at + AGAIN);
        if is_due {
            self.tty.set_modes()?;
            self.tty.say(now, &text);
            self.drawn = Some((now, text));
        }
        Ok(())
    }

    fn write(&mut self, now: Instant, panel: &Panel) -> io::Result<()> {
        let is_due = self.written.as_ref().is_none_or(|before| before.essence() != panel.essence());
        if is_due && self.panels.take(now) {
            self.tty.set_modes()?;
            self.tty.say(now, &log(panel, self.tty.size().columns));
            self.written = Some(panel.clone());
        }
        Ok(())
    }

    /// Reads what was typed; what is wished for that is not answered at once.
    pub fn read(&mut self, now: Instant) -> io::Result<Option<Wish>> {
        let typed = self.tty.typed()?;
        if typed.is_empty() {
            return Ok(None);
        }
        if self.answer_until.take().is_some() {
            self.drawn = None;
        }
        let before = self.keys.typed();
        let wish = self.keys.handle_bytes(now, &typed);
        let more = self.keys.typed().strip_prefix(before).unwrap_or_default();
        self.tty.say(now, more);
        Ok(wish)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let awaits = self.awaits.map(|(until, _)| until);
        self.keys.next_timeout().into_iter().chain(awaits).chain(self.answer_until).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Wish> {
        if self.awaits.is_some_and(|(until, _)| now >= until) {
            self.awaits = None;
            self.answer(now, &["There was no answer in time.".to_owned()]);
        }
        self.answer_until = self.answer_until.filter(|until| now < *until);
        self.keys.handle_timeout(now)
    }

    /// Whether something may be asked for now; then its answer is awaited under this number.
    pub fn may_ask(&mut self, now: Instant, number: u64, patience: Duration) -> bool {
        let may = self.awaits.is_none() && self.answers.take(now);
        if may {
            self.awaits = Some((now + patience, number));
        }
        may
    }

    /// The answer under this number has come; one that is too late is not shown.
    pub fn answered(&mut self, now: Instant, number: u64, said: &[String]) {
        if self.awaits.is_some_and(|(_, awaited)| awaited == number) {
            self.awaits = None;
            self.answer(now, said);
        }
    }

    /// Shows some lines: on a screen in place of the panel.
    pub fn answer(&mut self, now: Instant, said: &[String]) {
        let size = self.tty.size();
        let is_asked = self.keys.is_asked();
        match self.kind {
            Kind::Screen => {
                let last = if is_asked { "> " } else { "Any key: back to the panel" };
                self.tty.say(now, &answer(said, size, last));
                self.answer_until = Some(now + ANSWER_STAYS);
                self.drawn = None;
            }
            Kind::Line => {
                // Whole lines: an address that is broken cannot be copied.
                let end = if is_asked { "> " } else { "" };
                self.tty.say(now, &format!("\n{}{end}", log_lines(said)));
            }
        }
    }

    /// Shows the panel again.
    pub fn again(&mut self) {
        (self.drawn, self.written, self.answer_until) = (None, None, None);
    }
}
