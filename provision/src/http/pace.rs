//! How long an answer is waited for, and how often it is asked for.
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The times of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// One request, from the name to the last byte of the body.
    pub request: Duration,
    /// All requests of a fetch, with the pauses between them.
    pub total: Duration,
    /// The first pause; each one is twice as long as the one before.
    pub first_delay: Duration,
    /// No pause is longer.
    pub longest_delay: Duration,
}

impl Default for Pace {
    /// A metadata service answers in milliseconds or is not there yet; some need minutes after a cold start.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            total: Duration::from_secs(300),
            first_delay: Duration::from_millis(250),
            longest_delay: Duration::from_secs(10),
        }
    }
}

impl Pace {
    /// 0.25, 0.5, 1, 2, 4, 8, 10, 10, ... s, each a quarter shorter to a quarter longer, so that a thousand machines
    /// that boot at once do not ask at once.
    pub(crate) fn delays(&self) -> Delays {
        Delays { next: self.first_delay, longest: self.longest_delay, random: RandomState::new() }
    }
}

/// Pauses between attempts; an iterator without an end.
pub(crate) struct Delays {
    next: Duration,
    longest: Duration,
    random: RandomState,
}

impl Delays {
    pub(crate) fn next(&mut self) -> Duration {
        let delay = self.next.min(self.longest);
        self.next = delay * 2;
        // 0 to 511 thousandths: from 75 % to 126 %.
        let jitter = self.random.hash_one(delay) % 512;
        delay * (750 + jitter as u32) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_between_machines() {
        let pace = Pace::default();
        let expected = [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000].map(Duration::from_millis);
        let mut delays = pace.delays();
        for base in expected {
            let delay = delays.next();
            assert!(delay >= base * 3 / 4 && delay < base * 127 / 100, "{delay:?} is not around {base:?}");
        }
        let firsts: std::collections::HashSet<_> = (0..32).map(|_| pace.delays().next()).collect();
        assert!(firsts.len() > 8, "{firsts:?}");
    }
}
