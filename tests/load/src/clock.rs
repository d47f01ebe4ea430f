//! The one clock of the tool: nanoseconds since it started, monotonic, the same in all of its threads.
use std::sync::OnceLock;
use std::time::{Duration, Instant};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// When the tool started; the first caller sets it.
fn origin() -> Instant {
    *ORIGIN.get_or_init(Instant::now)
}

/// Nanoseconds between the start of the tool and this moment.
pub fn nanos(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(origin()).as_nanos()).unwrap_or(u64::MAX)
}

/// The moment so many nanoseconds behind the start of the tool.
pub fn at(nanos: u64) -> Instant {
    origin() + Duration::from_nanos(nanos)
}

/// CPU time of the calling thread; zero where the kernel does not tell.
pub fn thread_cpu() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
