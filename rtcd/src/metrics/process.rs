//! What the kernel says of this process, under the names of Prometheus' process collector.
use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process};

pub(super) struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: &'static str,
    pub value: f64,
}

/// Empty where /proc cannot be read.
pub(super) fn samples() -> Vec<Sample> {
    let gauge = |name, help, value| Sample { name, help, kind: "gauge", value };
    let mut samples = Vec::new();
    let Ok(process) = Process::myself() else { return samples };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        samples.push(Sample {
            name: "cpu_seconds_total",
            help: "Total user and system CPU time spent in seconds.",
            kind: "counter",
            value: (stat.utime + stat.stime) as f64 / ticks,
        });
        let resident = stat.rss_bytes().get() as f64;
        samples.push(gauge("resident_memory_bytes", "Resident memory size in bytes.", resident));
        samples.push(gauge("virtual_memory_bytes", "Virtual memory size in bytes.", stat.vsize as f64));
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot as f64 + stat.starttime as f64 / ticks;
            samples.push(gauge(
                "start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                started,
            ));
        }
    }
    if let Ok(open) = process.fd_count() {
        samples.push(gauge("open_fds", "Number of open file descriptors.", open as f64));
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        samples.push(gauge("max_fds", "Maximum number of open file descriptors.", most as f64));
    }
    samples
}

/// What the published dashboard reads of a Go runtime: the nearest that we have.
pub(super) fn look_alikes() -> Vec<Sample> {
    let gauge = |name, help, value| Sample { name, help, kind: "gauge", value };
    let mut samples = Vec::new();
    let Ok(status) = Process::myself().and_then(|process| process.status()) else { return samples };
    let bytes = |kib: Option<u64>| kib.unwrap_or_default() as f64 * 1024.0;
    let (anonymous, stack) = (bytes(status.rssanon), bytes(status.vmstk));
    let help =
        "Resident memory that is no file's, without the stack; of no Go runtime, for dashboards that know the name.";
    samples.push(gauge("go_memstats_heap_inuse_bytes", help, (anonymous - stack).max(0.0)));
    let help = "Stack of the main thread; of no Go runtime, for dashboards that know the name.";
    samples.push(gauge("go_memstats_stack_inuse_bytes", help, stack));
    let tasks = tokio::runtime::Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks());
    let help = "Tasks and threads; of no Go runtime, for dashboards that know the name.";
    samples.push(gauge("go_goroutines", help, tasks as f64 + status.threads as f64));
    samples
}
