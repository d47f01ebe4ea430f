//! The last lines of the log, kept in memory for whoever has no other way to it: a machine without logins, a container without
//! a shell.
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept.
const MAX_LINES: usize = 500;
/// And bytes of them: 500 lines of 250 bytes are half of it.
const MAX_BYTES: usize = 256 * 1024;

/// The lines; clones share them.
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Recent {
    /// The lines as JSON ([`super::json`]), the oldest first.
    pub(super) fn lines(&self) -> Vec<Map<String, Value>> {
        // Not under the lock: whoever logs must not wait.
        let lines: Vec<_> = self.state().lines.iter().cloned().collect();
        lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Octets of the lines that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    fn push(&self, line: &[u8]) {
        // One that takes the place of all others helps nobody.
        if line.len() > MAX_BYTES / 8 {
            return;
        }
        let mut state = self.state();
        state.bytes += line.len();
        state.lines.push_back(line.into());
        while state.lines.len() > MAX_LINES || state.bytes > MAX_BYTES {
            let gone = state.lines.pop_front().map_or(0, |line| line.len());
            state.bytes -= gone;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The subscriber writes each line at once.
impl Write for Recent {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recent: &Recent) -> Vec<String> {
        recent.lines().iter().filter_map(|line| Some(line.get("msg")?.as_str()?.to_owned())).collect()
    }

    #[test]
    fn the_last_lines_are_kept_within_their_bounds() {
        let recent = Recent::default();
        for number in 0..10_000 {
            recent.push(format!(r#"{{"msg":"{number}"}}"#).as_bytes());
        }
        let lines = texts(&recent);
        assert_eq!((lines.len(), lines[0].as_str(), lines[499].as_str()), (500, "9500", "9999"));
        for number in 0..100 {
            recent.push(format!(r#"{{"msg":"{number}{}"}}"#, "x".repeat(10_000)).as_bytes());
        }
        let lines = texts(&recent);
        assert!((20..=26).contains(&lines.len()) && lines.last().is_some_and(|line| line.starts_with("99x")));
        recent.push(&[b'x'; MAX_BYTES]);
        recent.push(b"no JSON");
        assert_eq!(texts(&recent).len(), lines.len());
    }
}
