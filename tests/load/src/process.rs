//! What /proc tells of a server and of this machine.
use anyhow::{Context as _, Result, bail};
use std::time::Duration;

/// CPU time is counted in these: USER_HZ, which is 100 on all that Linux runs on here.
const TICK: Duration = Duration::from_millis(10);

/// User and system time that a process has taken so far.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("--pid {pid}: no such process here"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("no process name")?.1.split_whitespace().collect();
    let [user, system] = [11, 12].map(|at| fields.get(at).and_then(|ticks| ticks.parse::<u32>().ok()));
    match user.zip(system) {
        Some((user, system)) => Ok(TICK * (user + system)),
        None => bail!("{path} cannot be read"),
    }
}

/// The most memory that a process has had so far, in bytes.
pub fn peak_rss(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("--pid {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmHWM")?;
    Ok(kib * 1024)
}

/// Idle and all CPU time of the machine so far, in ticks.
pub fn machine() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
    // idle and iowait; guest time is part of user time.
    Some((ticks.get(3)? + ticks.get(4)?, ticks.iter().take(8).sum()))
}
