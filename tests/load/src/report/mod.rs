//! What a run has shown, for people and as JSON.
mod cost;
mod losses;
mod text;

pub use cost::{Machine, Server, ServerCost, ToolCost};
pub use losses::Loss;

use crate::player::{Outcome, histogram};
use crate::run::Plan;
use crate::tally::Heard;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Times {
    pub count: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Times {
    fn of(histogram: &Histogram<u32>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let count = histogram.len();
        if count == 0 {
            return Self::default();
        }
        Self { count, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: histogram.max() as f64 / 1000.0 }
    }
}

/// The same for voices, for pictures and for both.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ByKind<T> {
    pub voice: T,
    pub video: T,
    pub all: T,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Calls.
    pub calls: u32,
    /// Participants, all calls together.
    pub participants: u32,
    /// How long it was measured, in seconds.
    pub seconds: f64,
    /// Over TCP.
    pub tcp: bool,
    /// Packets that arrived, each once for each receiver.
    pub delivered: u64,
    /// The same in a second.
    pub delivered_per_second: f64,
    /// What is missing.
    pub loss: ByKind<Loss>,
    /// From the sender's socket to the receiver's.
    pub latency_ms: ByKind<Times>,
    /// From join to the open data channel.
    pub join_ms: Times,
    /// From the announcement of a track to its first key frame.
    pub key_frame_ms: Times,
    /// Offers that the server did not answer, and that were made again.
    pub unanswered_offers: u64,
    /// Copies.
    pub duplicates: u64,
    /// Behind a later packet, and not because they were sent again.
    pub reordered: u64,
    /// Behind a later packet because they were sent again.
    pub repaired: u64,
    /// Packets of another call, or the receiver's own: must be 0.
    pub wrong_receiver: u64,
    /// Packets that no sender here has made: must be 0.
    pub unreadable: u64,
    /// Participants that fell out.
    pub failed: u32,
    /// Some of the reasons.
    pub failures: Vec<String>,
    /// With `--pid`.
    pub server: Option<ServerCost>,
    /// This tool.
    pub tool: ToolCost,
    /// This machine.
    pub machine: Machine,
}

impl Report {
    /// Adds up what threads have seen.
    pub fn new(
        plan: &Plan,
        outcomes: Vec<Outcome>,
        failed: u32,
        failures: Vec<String>,
        server: Option<Server>,
        machine: Machine,
    ) -> Self {
        let loss = losses::losses(plan, &outcomes);
        // The bounds are constants that are right.
        let Ok(empty) = histogram() else { unreachable!("bounds of a histogram") };
        let (mut voice, mut video, mut joins, mut keys) = (empty.clone(), empty.clone(), empty.clone(), empty);
        let mut unanswered_offers = 0;
        let (mut skipped, mut cpu, mut busiest) = (0, Duration::ZERO, Duration::ZERO);
        let threads = outcomes.len();
        let mut counts = [0u64; 5];
        for outcome in outcomes {
            let measured = &outcome.measured;
            for (sum, part) in [
                (&mut voice, &measured.voice),
                (&mut video, &measured.video),
                (&mut joins, &measured.joins),
                (&mut keys, &measured.key_frames),
            ] {
                // They have the same bounds.
                let _ = sum.add(part);
            }
            unanswered_offers += measured.unanswered;
            cpu += outcome.cpu;
            busiest = busiest.max(outcome.cpu);
            for played in &outcome.played {
                skipped += played.skipped;
                let of = |count: fn(&Heard) -> u64| played.tally.streams.iter().map(count).sum::<u64>();
                let found = [
                    of(|h| h.duplicates),
                    of(|h| h.reordered),
                    of(|h| h.repaired),
                    played.tally.wrong,
                    played.tally.unreadable,
                ];
                counts.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
            }
        }
        let mut all = voice.clone();
        let _ = all.add(&video);
        let delivered = all.len();
        let seconds = plan.lasting.as_secs_f64();
        let per_packet = |cpu: Duration| cpu.as_secs_f64() * 1e6 / delivered.max(1) as f64;
        let [duplicates, reordered, repaired, wrong_receiver, unreadable] = counts;
        Self {
            calls: plan.calls,
            participants: plan.total(),
            seconds,
            tcp: plan.tcp,
            delivered,
            delivered_per_second: delivered as f64 / seconds,
            loss,
            latency_ms: ByKind { voice: Times::of(&voice), video: Times::of(&video), all: Times::of(&all) },
            join_ms: Times::of(&joins),
            key_frame_ms: Times::of(&keys),
            unanswered_offers,
            duplicates,
            reordered,
            repaired,
            wrong_receiver,
            unreadable,
            failed,
            failures,
            server: server.map(|server| ServerCost {
                pid: server.pid,
                cpu_us_per_packet: per_packet(server.cpu),
                cpu_percent: 100.0 * server.cpu.as_secs_f64() / server.lasted.as_secs_f64(),
                peak_rss_bytes: server.peak_rss,
            }),
            tool: ToolCost {
                threads,
                cpu_us_per_packet: per_packet(cpu),
                busiest_thread_percent: 100.0 * busiest.as_secs_f64() / seconds,
                skipped,
            },
            machine,
        }
    }

    /// Why the run cannot pass, if so.
    pub fn fault(&self) -> Option<String> {
        if self.wrong_receiver > 0 {
            return Some(format!(
                "{} packets came to somebody they were not for: a fault of the server, please report it",
                self.wrong_receiver
            ));
        }
        if self.unreadable > 0 {
            return Some(format!(
                "{} packets came that nobody sent so: the server changes what it forwards",
                self.unreadable
            ));
        }
        if self.failed > 0 {
            return Some(format!("{} participants fell out: {}", self.failed, self.failures.join("; ")));
        }
        (self.delivered == 0)
            .then(|| "no packet arrived: does anybody send (--voices, --screens, --cameras)?".to_owned())
    }
}
