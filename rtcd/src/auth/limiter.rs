//! A limit on bcrypt work: a flood of logins must not take the CPU from media, nor the turns from other people.
use crate::source::Source;
use rtcd_media::token_bucket::TokenBucket;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// Checks a second and CPU. At some 50 ms each they leave a good part of every CPU alone.
const CHECKS_PER_SECOND_AND_CPU: u32 = 12;

/// How long a check may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Networks whose checks may wait at the same time: each waits for a turn of all others at most.
const MAX_SOURCES: usize = 256;

/// The queue is longer than [`PATIENCE`]: come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many checks are waiting")]
pub struct Busy;

/// What is known of somebody before the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The id of a client that is registered: every other turn is for these.
    Registered,
    /// No registered client, or no client id at all.
    Unknown,
}

/// Gives each check its turn: claims of both kinds by turns, of each kind a network after the other, within a network in
/// order.
#[derive(Debug)]
pub struct Limiter {
    /// Checks of one network and kind that may wait: half of what a turn comes for within [`PATIENCE`].
    line: usize,
    queues: Mutex<Queues>,
    /// Never more checks at the same time than CPUs.
    running: Arc<Semaphore>,
}

#[derive(Debug)]
struct Queues {
    /// A turn is a token; a quiet second leaves room for as many checks at once.
    turns: TokenBucket,
    waiting: [RoundRobin; 2],
    turn: usize,
    /// Somebody is giving turns.
    serving: bool,
}

type SourceQueue = (Source, VecDeque<oneshot::Sender<OwnedSemaphorePermit>>);

/// A line for each network; the first one is next.
#[derive(Debug, Default)]
struct RoundRobin(VecDeque<SourceQueue>);

impl RoundRobin {
    fn push(&mut self, source: Source, max: usize) -> Result<oneshot::Receiver<OwnedSemaphorePermit>, Busy> {
        let (turn, wait) = oneshot::channel();
        match self.0.iter().position(|(other, _)| *other == source) {
            Some(found) => {
                let line = &mut self.0[found].1;
                // Who has gone leaves room.
                if line.len() >= max {
                    line.retain(|waiting| !waiting.is_closed());
                }
                if line.len() >= max {
                    return Err(Busy);
                }
                line.push_back(turn);
            }
            None if self.0.len() >= MAX_SOURCES => return Err(Busy),
            None => self.0.push_back((source, [turn].into())),
        }
        Ok(wait)
    }

    fn pop(&mut self) -> Option<oneshot::Sender<OwnedSemaphorePermit>> {
        while let Some((source, mut line)) = self.0.pop_front() {
            let next = std::iter::from_fn(|| line.pop_front()).find(|waiting| !waiting.is_closed());
            if !line.is_empty() {
                self.0.push_back((source, line));
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Limiter {
    /// Twelve checks a second for each CPU of this machine (contract, section 1).
    pub fn for_this_machine() -> Arc<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    /// A limit for so many CPUs.
    pub fn new(cpus: usize) -> Arc<Self> {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX / CHECKS_PER_SECOND_AND_CPU).max(1);
        let per_second = CHECKS_PER_SECOND_AND_CPU * cpus;
        let turns = TokenBucket::new(f64::from(per_second), f64::from(per_second), Instant::now().into_std());
        let queues = Queues { turns, waiting: <[RoundRobin; 2]>::default(), turn: 0, serving: false };
        Arc::new(Self {
            line: (PATIENCE.as_secs() * u64::from(per_second) / 2) as usize,
            queues: Mutex::new(queues),
            running: Arc::new(Semaphore::new(cpus as usize)),
        })
    }

    /// Waits for a turn, which lasts until the permit is dropped; refuses at once when it would come too late.
    pub async fn wait(self: &Arc<Self>, source: Source, claim: Claim) -> Result<OwnedSemaphorePermit, Busy> {
        let wait = {
            let mut queues = self.queues();
            let wait = queues.waiting[claim as usize].push(source, self.line)?;
            if !std::mem::replace(&mut queues.serving, true) {
                tokio::spawn(self.clone().serve());
            }
            wait
        };
        timeout(PATIENCE, wait).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// Gives turns for as long as anybody waits.
    async fn serve(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let wait = self.queues().turns.time_until(now.into_std(), 1.0);
            sleep_until(now + wait).await;
            // Never closed.
            let Ok(mut permit) = self.running.clone().acquire_owned().await else { return };
            loop {
                let mut queues = self.queues();
                let Some(waiting) = queues.pop() else {
                    queues.serving = false;
                    return;
                };
                drop(queues);
                match waiting.send(permit) {
                    Ok(()) => break,
                    // Gone in this moment: somebody else takes the turn.
                    Err(back) => permit = back,
                }
            }
            self.queues().turns.charge(Instant::now().into_std(), 1.0);
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn pop(&mut self) -> Option<oneshot::Sender<OwnedSemaphorePermit>> {
        self.turn ^= 1;
        let [registered, unknown] = &mut self.waiting;
        let (first, second) = if self.turn == 1 { (registered, unknown) } else { (unknown, registered) };
        first.pop().or_else(|| second.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn source(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    async fn take(limiter: &Arc<Limiter>, from: u8, claim: Claim) -> Result<Instant, Busy> {
        limiter.wait(source(from), claim).await.map(|_| Instant::now())
    }

    #[test]
    fn a_provider_gives_a_customer_64_bits() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn twelve_checks_a_second_and_cpu_get_their_turn() {
        let limiter = Limiter::new(2);
        let start = Instant::now();
        for _ in 0..48 {
            take(&limiter, 1, Claim::Unknown).await.expect("a turn");
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(900) && took <= Duration::from_millis(1100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_address_is_refused_and_leaves_others_their_turns() {
        let limiter = Limiter::new(1);
        let start = Instant::now();
        let flood: Vec<_> = (0..1000)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move { take(&limiter, 1, Claim::Unknown).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(take(&limiter, 1, Claim::Unknown).await, Err(Busy), "at once");
        assert_eq!(start.elapsed(), Duration::ZERO);
        for (from, claim) in [(2, Claim::Unknown), (1, Claim::Registered), (3, Claim::Registered)] {
            let asked = Instant::now();
            take(&limiter, from, claim).await.expect("a turn");
            assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        }
        let mut granted = 0;
        for one in flood {
            granted += usize::from(one.await.expect("no panic").is_ok());
        }
        assert!((40..=75).contains(&granted), "{granted}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_gone_takes_no_turn() {
        let limiter = Limiter::new(1);
        for _ in 0..13 {
            take(&limiter, 1, Claim::Unknown).await.expect("the burst");
        }
        for _ in 0..50 {
            let wait = limiter.wait(source(1), Claim::Unknown);
            assert!(timeout(Duration::from_millis(1), wait).await.is_err());
        }
        let asked = Instant::now();
        take(&limiter, 1, Claim::Unknown).await.expect("a turn");
        assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
    }
}
