//! How much of something may be done in the long run, and how much at once.
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// A token bucket: it starts full, and what does not fit is lost. What a token stands for (a packet, a byte, a second of
/// work) is the caller's.
#[serde_as]
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TokenBucket {
    /// Tokens a second.
    rate: f64,
    /// Tokens that fit.
    burst: f64,
    /// Negative after [`charge`](Self::charge): a debt.
    tokens: f64,
    #[serde_as(as = "Age")]
    at: Instant,
}

impl TokenBucket {
    /// A full bucket: `rate` tokens come in each second, `burst` fit.
    pub const fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, at: now }
    }

    /// From now on so many tokens come in each second, and so many fit.
    pub fn set_rate(&mut self, now: Instant, rate: f64, burst: f64) {
        self.charge(now, 0.0);
        (self.rate, self.burst) = (rate, burst);
    }

    /// Takes one token; `false`, and none is taken, when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let granted = self.balance(now) >= 1.0;
        if granted {
            self.charge(now, 1.0);
        }
        granted
    }

    /// Takes tokens that have been used already, be they there or not.
    pub fn charge(&mut self, now: Instant, tokens: f64) {
        self.tokens = self.balance(now) - tokens;
        // An older `now` must not let the time in between count twice.
        self.at = self.at.max(now);
    }

    /// Tokens that are there; negative when more have been used than there were.
    pub fn balance(&self, now: Instant) -> f64 {
        (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * self.rate).min(self.burst)
    }

    /// Tokens that are missing in a full bucket: what has been used of late.
    pub fn used(&self, now: Instant) -> f64 {
        self.burst - self.balance(now)
    }

    /// How long until so many tokens are there; [`Duration::MAX`] when they never will be.
    pub fn time_until(&self, now: Instant, tokens: f64) -> Duration {
        let missing = tokens - self.balance(now);
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        if tokens > self.burst {
            return Duration::MAX;
        }
        Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a moment to start from")]
mod tests {
    use super::*;

    fn taken(bucket: &mut TokenBucket, now: Instant) -> usize {
        (0..1000).take_while(|_| bucket.take(now)).count()
    }

    #[test]
    fn a_burst_passes_and_then_what_the_rate_allows() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(10.0, 5.0, now);
        assert_eq!(taken(&mut bucket, now), 5);
        assert_eq!(bucket.time_until(now, 1.0), Duration::from_millis(100));
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(301)), 3);
        assert_eq!(taken(&mut bucket, now + Duration::from_secs(60)), 5, "what does not fit is lost");
    }

    #[test]
    fn a_debt_is_paid_before_anything_passes() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(2.0, 4.0, now);
        bucket.charge(now, 10.0);
        assert_eq!((bucket.balance(now), bucket.used(now)), (-6.0, 10.0));
        assert_eq!(bucket.time_until(now, 0.0), Duration::from_secs(3));
        assert!(!bucket.take(now + Duration::from_secs(3)));
        assert!(bucket.take(now + Duration::from_millis(3500)));
    }

    #[test]
    fn time_counts_once_whatever_order_it_is_told_in() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(1.0, 3.0, now);
        let later = now + Duration::from_secs(10);
        assert_eq!(taken(&mut bucket, later), 3);
        assert!(!bucket.take(now) && !bucket.take(later));
    }

    #[test]
    fn what_never_comes_is_never_due() {
        let now = Instant::now();
        let mut still = TokenBucket::new(0.0, 1.0, now);
        assert!(still.take(now));
        assert_eq!(still.time_until(now, 1.0), Duration::MAX);
        assert_eq!(TokenBucket::new(1.0, 1.0, now).time_until(now, 2.0), Duration::MAX);
    }
}
