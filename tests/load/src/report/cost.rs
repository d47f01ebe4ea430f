//! What it cost the server, this tool and the machine.
use serde::Serialize;
use std::time::Duration;

/// What the server's process took in the window.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its process.
    pub pid: u32,
    /// User and system time.
    pub cpu: Duration,
    /// In so much time.
    pub lasted: Duration,
    /// The most memory that it ever had, in bytes.
    pub peak_rss: u64,
}

/// What the server cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerCost {
    /// Its process.
    pub pid: u32,
    /// Microseconds of CPU for each packet that arrived.
    pub cpu_us_per_packet: f64,
    /// Of one core.
    pub cpu_percent: f64,
    /// The most memory that it ever had, in bytes.
    pub peak_rss_bytes: u64,
}

/// What this tool cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ToolCost {
    /// Threads that played.
    pub threads: usize,
    /// Microseconds of CPU for each packet that arrived.
    pub cpu_us_per_packet: f64,
    /// Of a core, by the busiest of its threads: near 100 the tool is what is measured.
    pub busiest_thread_percent: f64,
    /// Packets of voice and pictures that were not sent because a thread was a second late.
    pub skipped: u64,
}

/// This machine in the window.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Machine {
    /// CPUs.
    pub cpus: usize,
    /// How much of all of them was idle.
    pub idle_percent: Option<f64>,
}

impl Machine {
    /// Between two readings of [`crate::process::machine`].
    pub fn between(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Self {
        let idle = before.zip(after).map(|(before, after)| {
            100.0 * (after.0.saturating_sub(before.0)) as f64 / (after.1.saturating_sub(before.1)).max(1) as f64
        });
        Self { cpus: std::thread::available_parallelism().map_or(1, usize::from), idle_percent: idle }
    }
}
