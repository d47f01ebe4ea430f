//! `cpu_load` of `/system`: 1 / (idle CPU seconds per wall second, all CPUs added up). A Mattermost server sends new
//! calls to the host with the lowest value. A host with a worker that does not keep up reports what one without idle time
//! does, whatever other CPUs it has: a call's packets are not moved to them.
use super::PlaneShares;
use crate::logging::Once;
use procfs::CurrentSI as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often the CPUs are looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Less idle time than this counts as this: the kernel counts in ticks of 10 ms, and the load must stay finite.
const LEAST_IDLE_SHARE: f64 = 0.001;

/// What a host without idle time reports.
const FULL_LOAD: f64 = 1.0 / LEAST_IDLE_SHARE;

/// Higher than any host can report that still takes calls (at most [`FULL_LOAD`]).
const DRAINING_LOAD: f64 = 1e9;

/// The last load, written once a second.
pub struct CpuLoad {
    bits: AtomicU64,
    /// Share of a processor that each worker of the plane has used.
    workers: Mutex<Vec<f64>>,
    /// The least part of pictures that a worker has time for: the bits of a number.
    share: AtomicU64,
    draining: AtomicBool,
}

impl CpuLoad {
    /// Before the first sample the host passes for idle.
    pub fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        Self {
            bits: AtomicU64::new((1.0 / cpus).to_bits()),
            workers: Mutex::default(),
            share: AtomicU64::new(1f64.to_bits()),
            draining: AtomicBool::new(false),
        }
    }

    /// `cpu_load` of `GET /system`, always finite; [`DRAINING_LOAD`] while new calls shall go elsewhere.
    pub fn get(&self) -> f64 {
        if self.draining.load(Ordering::Relaxed) {
            return DRAINING_LOAD;
        }
        let load = f64::from_bits(self.bits.load(Ordering::Relaxed));
        if self.share() < 1.0 { load.max(FULL_LOAD) } else { load }
    }

    /// The least part of pictures that a worker of the plane has time for; 1 as a rule.
    pub fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    fn set_share(&self, share: f64, overloaded: &Once) {
        self.share.store(share.to_bits(), Ordering::Relaxed);
        if share < 1.0 && overloaded.failed() {
            warn!(
                "the machine is too busy for its calls: participants get less of screens and cameras, new calls are sent elsewhere"
            );
        } else if share >= 1.0 && overloaded.works() {
            info!("the machine has time for its calls again");
        }
    }

    /// Share of a processor that each worker of the plane has used of late, by its number.
    pub fn workers(&self) -> Vec<f64> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether new calls shall go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether new calls shall go elsewhere from now on.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Takes a sample each second; never returns.
    pub async fn sample(&self, shares: &PlaneShares) {
        let ticks_per_second = procfs::ticks_per_second();
        let mut last: Option<(u64, Instant)> = None;
        let mut threads: Option<(Vec<u64>, Instant)> = None;
        let (unreadable, overloaded) = (Once::new(), Once::new());
        loop {
            let (used, now) = (worker_ticks(), Instant::now());
            if let Some((before, at)) = threads.take().filter(|(before, _)| before.len() == used.len()) {
                let seconds = (now - at).as_secs_f64().max(f64::MIN_POSITIVE) * ticks_per_second as f64;
                let share = |(now, before): (&u64, &u64)| now.saturating_sub(*before) as f64 / seconds;
                let shares = used.iter().zip(&before).map(share).collect();
                *self.workers.lock().unwrap_or_else(PoisonError::into_inner) = shares;
            }
            threads = Some((used, now));
            self.set_share(shares().into_iter().fold(1.0, f64::min), &overloaded);
            match procfs::KernelStats::current() {
                Ok(stats) => {
                    let (idle, now) = (stats.total.idle, Instant::now());
                    if let Some((before, at)) = last {
                        let idle = idle.saturating_sub(before) as f64 / ticks_per_second as f64;
                        self.bits.store(load(idle, now - at).to_bits(), Ordering::Relaxed);
                    }
                    last = Some((idle, now));
                    if unreadable.works() {
                        info!("the CPU load can be read again");
                    }
                }
                Err(error) => {
                    last = None;
                    if unreadable.failed() {
                        warn!(%error, "the CPU load cannot be read, GET /system tells the last one: is /proc mounted?");
                    }
                }
            }
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        }
    }
}

/// Processor time of the threads `plane-0`, `plane-1`, .. in ticks; empty where /proc cannot be read.
fn worker_ticks() -> Vec<u64> {
    let tasks = procfs::process::Process::myself().and_then(|process| process.tasks());
    let mut workers: Vec<(usize, u64)> = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| {
            let stat = task.ok()?.stat().ok()?;
            Some((stat.comm.strip_prefix("plane-")?.parse().ok()?, stat.utime + stat.stime))
        })
        .collect();
    workers.sort_unstable();
    workers.into_iter().map(|(_, ticks)| ticks).collect()
}

fn load(idle_seconds: f64, wall: Duration) -> f64 {
    let share = idle_seconds / wall.as_secs_f64().max(f64::MIN_POSITIVE);
    1.0 / share.max(LEAST_IDLE_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_one_over_the_idle_cpus_and_always_finite() {
        assert_eq!(load(2.0, Duration::from_secs(1)), 0.5);
        assert_eq!(load(1.0, Duration::from_secs(2)), 2.0);
        assert_eq!(load(0.0, Duration::from_secs(1)), 1000.0);
        assert!(load(0.0, Duration::ZERO).is_finite());
    }

    #[test]
    fn a_worker_that_does_not_keep_up_makes_a_full_host_until_it_does() {
        let (host, overloaded) = (CpuLoad::new(), Once::new());
        let before = host.get();
        host.set_share(0.7, &overloaded);
        assert_eq!((host.get(), host.share()), (load(0.0, Duration::from_secs(1)), 0.7));
        assert!(overloaded.is_failing());
        host.set_share(1.0, &overloaded);
        assert_eq!(host.get(), before);
    }

    #[test]
    fn a_draining_host_reports_more_than_any_busy_one() {
        let host = CpuLoad::new();
        let before = host.get();
        host.set_draining(true);
        assert!(host.get() > load(0.0, Duration::from_secs(1)) && host.get().is_finite());
        host.set_draining(false);
        assert_eq!(host.get(), before);
    }
}
