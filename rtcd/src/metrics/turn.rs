//! What TURN servers give us.
use super::register;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::time::Duration;

/// Allocations on TURN servers, by server and family.
#[derive(Debug)]
pub struct TurnMetrics {
    allocated: IntGaugeVec,
    round_trip: GaugeVec,
    failures: IntCounterVec,
    /// Peers that servers relay nothing to.
    pub denied: IntCounter,
    /// Packets that a TCP connection to a server did not take.
    pub dropped: IntCounter,
}

impl TurnMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let options = |name: &str, help: &str| Opts::new(format!("rtcd_turn_{name}"), help);
        let place = &["server", "family"];
        let help = "Whether the TURN server has given us an address";
        let allocated = IntGaugeVec::new(options("allocated", help), place);
        let help = "Round trip to the TURN server when it last gave us an address, in seconds";
        let round_trip = GaugeVec::new(options("round_trip_seconds", help), place);
        let help = "Allocations that were refused, or that have ended";
        let failures = IntCounterVec::new(options("failures_total", help), &["server", "family", "reason"]);
        let help = "Peers that a TURN server does not relay to";
        let denied = IntCounter::with_opts(options("denied_peers_total", help));
        let help = "Packets that a TCP connection to a TURN server did not take";
        let dropped = IntCounter::with_opts(options("dropped_total", help));
        Self {
            allocated: register(registry, allocated),
            round_trip: register(registry, round_trip),
            failures: register(registry, failures),
            denied: register(registry, denied),
            dropped: register(registry, dropped),
        }
    }

    /// An address is asked for.
    pub fn expect(&self, server: &str, family: &str) {
        self.allocated.with_label_values(&[server, family]).set(0);
    }

    /// It is there.
    pub fn allocated(&self, server: &str, family: &str, round_trip: Option<Duration>) {
        self.allocated.with_label_values(&[server, family]).set(1);
        if let Some(round_trip) = round_trip {
            self.round_trip.with_label_values(&[server, family]).set(round_trip.as_secs_f64());
        }
    }

    /// It was refused, or has ended.
    pub fn failed(&self, server: &str, family: &str, reason: &str) {
        self.allocated.with_label_values(&[server, family]).set(0);
        self.failures.with_label_values(&[server, family, reason]).inc();
    }

    /// Another configuration has other servers.
    pub fn forget(&self) {
        self.allocated.reset();
        self.round_trip.reset();
        self.failures.reset();
    }
}
