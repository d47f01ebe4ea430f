//! What is typed on a console. A serial line may be noisy, or somebody pastes into the wrong window: a key counts only when it
//! comes alone, and the factory reset only when its word is typed, letter by letter and nothing else.
use std::time::{Duration, Instant};

/// A key is one byte with this much silence around it. Fingers are slower, and what is pasted, an arrow key and noise are faster.
pub const SILENCE: Duration = Duration::from_millis(150);
/// How long the word may take.
pub const TO_CONFIRM: Duration = Duration::from_secs(30);
/// What is to be typed before everything is erased.
pub const WORD: &str = "erase";

/// What somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// `l`: a link for whoever cannot connect.
    Link,
    /// `e`: the last errors of the journal.
    Errors,
    /// `c`: what the health check has said.
    Check,
    /// Enter: the panel again.
    Panel,
    /// `r`: to be asked whether everything shall be erased.
    AskReset,
    /// The word and Enter: erase everything.
    Reset,
    /// It was not the word, or too late: nothing happens.
    KeepAll,
}

/// What has been typed on one console.
#[derive(Debug, Default)]
pub struct Keys {
    /// Bytes since the last silence; two stand for many.
    burst: Vec<u8>,
    last: Option<Instant>,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    until: Instant,
    typed: usize,
}

impl Keys {
    /// Whether the word is waited for.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// What came; the letters of the word that are right so far are to be echoed.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Option<Wish> {
        if self.is_asked() {
            return bytes.iter().find_map(|byte| self.confirm(now, *byte));
        }
        let more = 2usize.saturating_sub(self.burst.len()).min(bytes.len());
        self.burst.extend_from_slice(&bytes[..more]);
        self.last = Some(now);
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let quiet = self.last.map(|last| last + SILENCE);
        quiet.into_iter().chain(self.asked.as_ref().map(|asked| asked.until)).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Wish> {
        if self.asked.as_ref().is_some_and(|asked| now >= asked.until) {
            self.asked = None;
            return Some(Wish::KeepAll);
        }
        if self.last.is_none_or(|last| now < last + SILENCE) {
            return None;
        }
        self.last = None;
        let wish = match self.burst.as_slice() {
            b"l" => Some(Wish::Link),
            b"e" => Some(Wish::Errors),
            b"c" => Some(Wish::Check),
            b"r" => Some(Wish::AskReset),
            b"\r" | b"\n" | b"\r\n" => Some(Wish::Panel),
            _ => None,
        };
        self.burst.clear();
        if wish == Some(Wish::AskReset) {
            self.asked = Some(Asked { until: now + TO_CONFIRM, typed: 0 });
        }
        wish
    }

    /// Letters of the word that have been typed.
    pub fn typed(&self) -> &'static str {
        &WORD[..self.asked.as_ref().map_or(0, |asked| asked.typed)]
    }

    fn confirm(&mut self, now: Instant, byte: u8) -> Option<Wish> {
        let asked = self.asked.as_mut()?;
        let is_in_time = now < asked.until;
        if is_in_time && WORD.as_bytes().get(asked.typed) == Some(&byte) {
            asked.typed += 1;
            return None;
        }
        let is_word = asked.typed == WORD.len() && matches!(byte, b'\r' | b'\n');
        self.asked = None;
        Some(if is_in_time && is_word { Wish::Reset } else { Wish::KeepAll })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece comes at once, with the silence of a slow typist behind it.
    fn type_all(pieces: &[&[u8]], pause: Duration) -> Vec<Wish> {
        let mut now = Instant::now();
        let mut keys = Keys::default();
        let mut wishes = Vec::new();
        for piece in pieces {
            wishes.extend(keys.handle_bytes(now, piece));
            now += pause;
            wishes.extend(keys.handle_timeout(now));
        }
        wishes
    }

    const SLOW: Duration = Duration::from_millis(200);
    const FAST: Duration = Duration::from_millis(100);

    #[test]
    fn a_key_that_comes_alone_is_a_wish_and_others_are_nothing() {
        assert_eq!(type_all(&[b"l", b"x", b"e", b"L", b"c"], SLOW), [Wish::Link, Wish::Errors, Wish::Check]);
        assert_eq!(type_all(&[b"\r", b"\n", b"\r\n"], SLOW), [Wish::Panel; 3]);
        assert_eq!(type_all(&[b"\x1b[A", b"lll", b"\0", b"\x03", b"\xff"], SLOW), []);
        assert_eq!(type_all(&[b"l", b"e", b"c", b"r"], FAST), [], "quicker than fingers");
    }

    #[test]
    fn everything_is_erased_by_the_word_and_enter_alone() {
        let good: [&[u8]; 7] = [b"r", b"e", b"r", b"a", b"s", b"e", b"\r"];
        assert_eq!(type_all(&good, SLOW), [Wish::AskReset, Wish::Reset]);
        assert_eq!(type_all(&[b"r", b"erase\n"], SLOW), [Wish::AskReset, Wish::Reset]);
        for wrong in [&b"eraze\n"[..], b"erasE\n", b"eras\n", b"erase \n", b" erase\n", b"\r", b"eerase\n", b"\x1b[A"] {
            let wishes = type_all(&[b"r", wrong], SLOW);
            assert_eq!(wishes[..2], [Wish::AskReset, Wish::KeepAll], "{wrong:?}");
            assert!(!wishes.contains(&Wish::Reset), "{wrong:?}");
        }
        assert_eq!(type_all(&[b"rerase\n"], SLOW), [], "pasted");
        assert_eq!(type_all(&[b"erase\n"], SLOW), [], "never asked");
    }

    #[test]
    fn the_word_has_its_time() {
        let mut keys = Keys::default();
        let start = Instant::now();
        assert_eq!(keys.handle_bytes(start, b"r"), None);
        let asked = start + SILENCE;
        assert_eq!(keys.next_timeout(), Some(asked));
        assert_eq!(keys.handle_timeout(asked), Some(Wish::AskReset));
        assert_eq!(keys.handle_bytes(asked, b"eras"), None);
        assert_eq!((keys.typed(), keys.next_timeout()), ("eras", Some(asked + TO_CONFIRM)));
        assert_eq!(keys.handle_timeout(asked + TO_CONFIRM), Some(Wish::KeepAll));
        assert_eq!((keys.is_asked(), keys.next_timeout()), (false, None));
    }

    #[test]
    fn no_noise_erases_anything() {
        // A linear congruential generator: the same noise each time.
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let mut keys = Keys::default();
        let mut now = Instant::now();
        for _ in 0..200_000 {
            // Mostly letters that mean something.
            let byte = b"lercas\r\n\x1b\0\xff"[noise() % 11];
            let wish = keys.handle_bytes(now, &[byte]);
            assert_ne!(wish, Some(Wish::Reset));
            now += Duration::from_millis(noise() as u64 % 300);
            assert_ne!(keys.handle_timeout(now), Some(Wish::Reset));
        }
    }
}
