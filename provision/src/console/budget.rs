//! How often something may happen: a few times at once, then now and then.
use std::time::{Duration, Instant};

/// Tokens that come back with time.
#[derive(Debug)]
pub struct Budget {
    most: u32,
    every: Duration,
    left: u32,
    counted: Instant,
}

impl Budget {
    /// `most` at once, and one more each time that `every` has passed.
    pub fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self { most, every, left: most, counted: now }
    }

    /// Takes one if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        while self.left < self.most && now.duration_since(self.counted) >= self.every {
            self.left += 1;
            self.counted += self.every;
        }
        if self.left == self.most {
            self.counted = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_and_then_one_at_a_time() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut budget = Budget::new(3, 10 * second, start);
        let mut taken = |seconds: u32| budget.take(start + second * seconds);
        assert_eq!([0, 0, 0, 0, 9, 10, 11, 20].map(&mut taken), [true, true, true, false, false, true, false, true]);
        assert_eq!([1000, 1000, 1000, 1000].map(taken), [true, true, true, false]);
    }
}
