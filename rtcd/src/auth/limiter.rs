//! A limit on bcrypt work: a flood of logins must not take the CPU from media.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Checks a second and CPU. At some 50 ms each they leave a good part of every CPU alone.
const CHECKS_PER_SECOND_AND_CPU: u32 = 12;

/// How long a check may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The queue is longer than [`PATIENCE`]: come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many checks are waiting")]
pub struct Busy;

/// Gives each check its turn. The queue is a point in time, so a flood costs no memory.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    /// A quiet second leaves room for as many checks at once.
    burst: Duration,
    next: Mutex<Instant>,
    /// Never more checks at the same time than CPUs.
    running: Arc<Semaphore>,
}

impl Limiter {
    /// The contract's limit.
    pub fn for_this_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    /// A limit for so many CPUs.
    pub fn new(cpus: usize) -> Self {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX / CHECKS_PER_SECOND_AND_CPU).max(1);
        let burst = Duration::from_secs(1);
        Self {
            interval: burst / (CHECKS_PER_SECOND_AND_CPU * cpus),
            burst,
            next: Mutex::new(Instant::now() - burst),
            running: Arc::new(Semaphore::new(cpus as usize)),
        }
    }

    /// Waits for a turn, which lasts until the permit is dropped; refuses at once when it would come too late.
    pub async fn wait(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let turn = self.reserve(Instant::now())?;
        tokio::time::sleep_until(turn).await;
        let running = tokio::time::timeout(PATIENCE, self.running.clone().acquire_owned()).await;
        running.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    fn reserve(&self, now: Instant) -> Result<Instant, Busy> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now - self.burst);
        if turn > now + PATIENCE {
            return Err(Busy);
        }
        *next = turn + self.interval;
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn twelve_checks_a_second_and_cpu_get_their_turn() {
        let limiter = Limiter::new(2);
        let now = Instant::now();
        let turns: Vec<_> = (0..48).map(|_| limiter.reserve(now).unwrap()).collect();
        assert_eq!(turns.iter().filter(|turn| **turn <= now).count(), 25);
        assert!(turns[47] <= now + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_flood_is_refused_when_the_queue_reaches_ten_seconds() {
        let limiter = Limiter::new(1);
        let now = Instant::now();
        let granted = (0..1000).take_while(|_| limiter.reserve(now).is_ok()).count();
        assert!((132..=134).contains(&granted), "{granted}");
        assert_eq!(limiter.reserve(now), Err(Busy));
        assert!(limiter.reserve(now + Duration::from_secs(1)).is_ok());
    }
}
