//! Facts that do not count: what runs, on what, and how it stands.
use super::register;
use crate::build_info;
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

/// Gauges that others set.
#[derive(Debug)]
pub struct About {
    draining: IntGauge,
    share: Gauge,
    /// Without labels, and without a series while there is no certificate.
    certificate: IntGaugeVec,
}

impl About {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| register(registry, IntGauge::with_opts(Opts::new(name, help)));
        let help = "What runs: 1, with its version and the commit that it was built from";
        let build = IntGaugeVec::new(Opts::new("rtcd_build_info", help), &["version", "hash"]);
        register(registry, build).with_label_values(&[build_info::VERSION, build_info::HASH]).set(1);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        gauge("rtcd_cpus", "Processors that it may use").set(i64::try_from(cpus).unwrap_or(i64::MAX));
        let help = "Part of screens and cameras that all workers have time for: less than 1 while one does not keep up";
        let share = register(registry, Gauge::with_opts(Opts::new("rtcd_pictures_share", help)));
        share.set(1.0);
        let help = "When the certificate of the API ends, in seconds since the epoch; without TLS there is none";
        let certificate = IntGaugeVec::new(Opts::new("rtcd_api_certificate_not_after_seconds", help), &[]);
        Self {
            draining: gauge("rtcd_draining", "1 while new calls are to go to other hosts"),
            share,
            certificate: register(registry, certificate),
        }
    }

    /// Whether new calls are to go elsewhere.
    pub fn set_draining(&self, draining: bool) {
        self.draining.set(i64::from(draining));
    }

    /// The least part of pictures that a worker has time for; 1 as a rule.
    pub fn set_share(&self, share: f64) {
        self.share.set(share);
    }

    /// When the certificate of the API ends, in seconds since the epoch.
    pub fn set_certificate(&self, not_after: Option<u64>) {
        match not_after.and_then(|seconds| i64::try_from(seconds).ok()) {
            Some(seconds) => self.certificate.with_label_values::<&str>(&[]).set(seconds),
            None => self.certificate.reset(),
        }
    }
}
