//! Prometheus' text format of everything we count.
use super::{drops, process};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};
use std::fmt::Write;

pub(super) fn text(families: &[MetricFamily], plane: &[(&str, &str, u64)]) -> String {
    let mut out = Vec::with_capacity(16 * 1024);
    // Writing to memory fails only for families without metrics, which are not gathered.
    let _ = TextEncoder::new().encode(families, &mut out);
    let mut out = String::from_utf8(out).unwrap_or_default();
    for sample in process::samples() {
        write_sample(&mut out, &format!("process_{}", sample.name), sample.help, sample.kind, sample.value);
    }
    for sample in process::look_alikes() {
        let process::Sample { name, help, kind, value } = sample;
        // Infallible: a String grows.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    for (name, help, value) in plane {
        write_sample(&mut out, &format!("plane_{name}_total"), help, "counter", *value as f64);
    }
    let help = "Packets that did not get where they were meant to go, by reason";
    let _ = write!(out, "# HELP rtcd_drops_total {help}\n# TYPE rtcd_drops_total counter\n");
    for (reason, value) in drops::by_reason(plane) {
        let _ = writeln!(out, "rtcd_drops_total{{reason=\"{reason}\"}} {value}");
    }
    let help = "Log lines that were not written because their session or client, or all together, had said too much.";
    write_sample(&mut out, "log_suppressed_total", help, "counter", crate::logging::suppressed() as f64);
    let help = "Log lines that were lost because the console or the log file did not take them.";
    write_sample(&mut out, "log_dropped_total", help, "counter", crate::logging::dropped() as f64);
    out
}

fn write_sample(out: &mut String, name: &str, help: &str, kind: &str, value: f64) {
    // Infallible: a String grows.
    let _ = write!(out, "# HELP rtcd_{name} {help}\n# TYPE rtcd_{name} {kind}\nrtcd_{name} {value}\n");
}
