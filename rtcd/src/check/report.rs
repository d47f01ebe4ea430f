//! The lines of `rtcd check`.
use std::fmt::Display;
use std::io::Write;

/// Prints results and remembers whether one was bad.
pub struct Report<W> {
    out: W,
    failed: bool,
}

impl<W: Write> Report<W> {
    /// A report without lines; it fails once a line does.
    pub fn new(out: W) -> Self {
        Self { out, failed: false }
    }
    /// A line of what works.
    pub fn ok(&mut self, what: &str, found: impl Display) {
        self.line("ok  ", what, found, "");
    }
    /// It works, but somebody should look at it.
    pub fn warn(&mut self, what: &str, found: impl Display, advice: &str) {
        self.line("warn", what, found, advice);
    }
    /// It does not work.
    pub fn fail(&mut self, what: &str, found: impl Display, advice: &str) {
        self.failed = true;
        self.line("FAIL", what, found, advice);
    }
    /// Whether something does not work.
    pub fn failed(&self) -> bool {
        self.failed
    }

    fn line(&mut self, verdict: &str, what: &str, found: impl Display, advice: &str) {
        let arrow = if advice.is_empty() { "" } else { " -> " };
        // What a peer says must not move the cursor of whoever reads this.
        let found: String = found.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // A reader that has gone need not be told.
        let _ = writeln!(self.out, "{verdict} {what}: {found}{arrow}{advice}");
    }
}
