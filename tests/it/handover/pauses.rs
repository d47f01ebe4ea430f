//! How long media pause.
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Pauses of each kind of stream. They are printed, never judged.
#[derive(Default)]
pub struct Pauses(BTreeMap<String, Vec<Duration>>);

impl Pauses {
    /// The longest pause of one stream in one round.
    pub fn note(&mut self, kind: &str, pause: Duration) {
        self.0.entry(kind.to_owned()).or_default().push(pause);
    }
}

impl fmt::Display for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, pauses) in &self.0 {
            let mut sorted = pauses.clone();
            sorted.sort_unstable();
            let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_millis();
            let count = sorted.len();
            writeln!(
                f,
                "{count} pauses of {kind}: p50 {} ms, p95 {} ms, p99 {} ms, the longest {} ms",
                at(50),
                at(95),
                at(99),
                at(100)
            )?;
        }
        Ok(())
    }
}
