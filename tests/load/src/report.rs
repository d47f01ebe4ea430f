//! What a run has shown, for people and as JSON.
use crate::player::{Outcome, histogram};
use crate::run::Plan;
use crate::tally::Heard;
use crate::traffic::Sent;
use crate::trailer::StreamKey;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
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

/// Packets that should have come, and did not.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Loss {
    /// Sent in the window, once for each who should get it.
    pub expected: u64,
    /// Did not come within a second.
    pub lost: u64,
    /// Of what was expected.
    pub percent: f64,
    /// Participants that something did not come to.
    pub participants: u32,
}

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
        let loss = losses(plan, &outcomes);
        // The bounds are constants that are right.
        let Ok(empty) = histogram() else { unreachable!("bounds of a histogram") };
        let (mut voice, mut video, mut joins, mut keys) = (empty.clone(), empty.clone(), empty.clone(), empty);
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

/// What participants who were there all the time should have got of streams in one encoding is what was sent; of others it is
/// what lies between the packets that came.
fn losses(plan: &Plan, outcomes: &[Outcome]) -> ByKind<Loss> {
    let mut sent: HashMap<u32, Vec<(StreamKey, Sent)>> = HashMap::new();
    for played in outcomes.iter().flat_map(|outcome| &outcome.played) {
        sent.entry(played.call).or_default().extend(&played.sent);
    }
    let (mut voice, mut video, mut all) = (Loss::default(), Loss::default(), Loss::default());
    for played in outcomes.iter().flat_map(|outcome| &outcome.played) {
        let before = (voice.lost, video.lost);
        let heard = |key: StreamKey| played.tally.streams.iter().find(|heard| heard.key == key);
        for (key, sent) in sent.get(&played.call).into_iter().flatten() {
            if key.sender == played.number {
                continue;
            }
            let received = heard(*key).map_or(0, |heard| heard.received);
            // Who came later, in place of another one, may still wait for a first picture when the window begins.
            let founder = played.number < plan.total();
            let expected = if played.whole && founder && key.layer == 0 {
                u64::from(sent.count)
            } else {
                heard(*key).map_or(0, |heard| heard.expected)
            };
            let loss = if key.kind.is_video() { &mut video } else { &mut voice };
            loss.expected += expected;
            loss.lost += expected.saturating_sub(received);
        }
        voice.participants += u32::from(voice.lost > before.0);
        video.participants += u32::from(video.lost > before.1);
        all.participants += u32::from((voice.lost, video.lost) != before);
    }
    let done = |loss: Loss| Loss { percent: 100.0 * loss.lost as f64 / loss.expected.max(1) as f64, ..loss };
    (all.expected, all.lost) = (voice.expected + video.expected, voice.lost + video.lost);
    ByKind { voice: done(voice), video: done(video), all: done(all) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.tcp { "TCP" } else { "UDP" };
        writeln!(f, "participants       {} in {} calls, media over {way}", self.participants, self.calls)?;
        writeln!(
            f,
            "delivered          {} packets in {:.0} s, {:.0}/s",
            self.delivered, self.seconds, self.delivered_per_second
        )?;
        for (name, loss, times) in
            [("voice", self.loss.voice, self.latency_ms.voice), ("pictures", self.loss.video, self.latency_ms.video)]
        {
            if loss.expected > 0 {
                writeln!(
                    f,
                    "{name:<18} {:.3} % lost ({} of {}, at {} participants); latency p50 {:.2}, p95 {:.2}, p99 {:.2}, max {:.1} ms",
                    loss.percent,
                    loss.lost,
                    loss.expected,
                    loss.participants,
                    times.p50,
                    times.p95,
                    times.p99,
                    times.max
                )?;
            }
        }
        writeln!(
            f,
            "order              {} reordered, {} repaired, {} copies, {} for somebody else",
            self.reordered, self.repaired, self.duplicates, self.wrong_receiver
        )?;
        writeln!(
            f,
            "join               p50 {:.0}, p99 {:.0} ms to the open data channel",
            self.join_ms.p50, self.join_ms.p99
        )?;
        if self.key_frame_ms.count > 0 {
            writeln!(f, "first picture      p50 {:.0}, p99 {:.0} ms", self.key_frame_ms.p50, self.key_frame_ms.p99)?;
        }
        if let Some(server) = &self.server {
            writeln!(
                f,
                "server             {:.2} us of CPU a delivered packet, {:.0} % of a core, peak memory {:.0} MB",
                server.cpu_us_per_packet,
                server.cpu_percent,
                server.peak_rss_bytes as f64 / 1e6
            )?;
        }
        write!(
            f,
            "this tool          {:.2} us of CPU a delivered packet, busiest of {} threads {:.0} % of a core",
            self.tool.cpu_us_per_packet, self.tool.threads, self.tool.busiest_thread_percent
        )?;
        if let Some(idle) = self.machine.idle_percent {
            write!(f, "\nmachine            {} CPUs, {idle:.0} % idle", self.machine.cpus)?;
        }
        Ok(())
    }
}
