//! The unit of all that is estimated here.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::time::Duration;

/// Bits per second. Arithmetic saturates: what a peer claims may be any number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Bitrate(pub u64);

impl Bitrate {
    /// Nothing at all.
    pub const ZERO: Self = Self(0);

    /// So many thousand bit/s.
    pub const fn kbit(kbit: u64) -> Self {
        Self(kbit.saturating_mul(1000))
    }

    /// Octets in a time; zero for no time.
    pub fn of(octets: u64, time: Duration) -> Self {
        let bits = u128::from(octets) * 8 * 1_000_000;
        Self(bits.checked_div(time.as_micros()).unwrap_or(0).min(u128::from(u64::MAX)) as u64)
    }

    /// This many times as much; nothing for a negative factor.
    pub fn times(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor) as u64)
    }

    /// What is left of it.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Octets that pass in a time.
    pub fn octets_in(self, time: Duration) -> u64 {
        (u128::from(self.0) * time.as_micros() / 8_000_000).min(u128::from(u64::MAX)) as u64
    }

    /// How long so many octets take, an hour at most.
    pub fn time_for(self, octets: u64) -> Duration {
        const HOUR_US: u128 = 3_600_000_000;
        let micros = (u128::from(octets) * 8_000_000).checked_div(u128::from(self.0)).unwrap_or(HOUR_US);
        Duration::from_micros(micros.min(HOUR_US) as u64)
    }
}

impl Add for Bitrate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Bitrate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} kbit/s", self.0 / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_rates_and_times_are_three_views_of_one_thing() {
        let rate = Bitrate::of(12_500, Duration::from_millis(200));
        assert_eq!(rate, Bitrate::kbit(500));
        assert_eq!(rate.octets_in(Duration::from_millis(200)), 12_500);
        assert_eq!(rate.time_for(12_500), Duration::from_millis(200));
    }

    #[test]
    fn absurd_numbers_stay_numbers() {
        assert_eq!(Bitrate::of(5, Duration::ZERO), Bitrate::ZERO);
        assert_eq!(Bitrate(u64::MAX) + Bitrate(u64::MAX), Bitrate(u64::MAX));
        assert_eq!(Bitrate(u64::MAX).times(2.5), Bitrate(u64::MAX));
        assert_eq!(Bitrate::kbit(1).times(-1.0), Bitrate::ZERO);
        assert_eq!(Bitrate::ZERO.time_for(1), Duration::from_secs(3600));
        assert_eq!(Bitrate::kbit(1).less(Bitrate::kbit(2)), Bitrate::ZERO);
    }
}
