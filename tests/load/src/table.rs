//! The table: what a forwarded packet costs a server, beside another server and beside the raw floor.
use crate::floor::floor;
use crate::run::{Plan, run};
use crate::server::Server;
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the floor of a case is measured.
const FLOOR_LASTING: Duration = Duration::from_secs(5);

/// A server that does not let everybody in gets so many chances, then the round goes on without it; what went wrong is told under
/// the table.
const CHANCES: usize = 3;

/// Its name, calls, participants, voices, and whether a screen is shared.
const CASES: [(&str, u32, u32, u32, bool); 5] = [
    ("1 call x 100, screen 1.6 Mbit/s + voice", 1, 100, 1, true),
    ("1 call x 200, the same", 1, 200, 1, true),
    ("10 calls x 10, the same", 10, 10, 1, true),
    ("1 call x 100, two voices", 1, 100, 2, false),
    ("100 calls x 2, both speak", 100, 2, 2, false),
];

/// What is to be measured.
pub struct Table {
    /// Our daemon.
    pub daemon: PathBuf,
    /// Another one that takes the same variables.
    pub against: Option<PathBuf>,
    /// Each case so many times; the middle value counts.
    pub rounds: usize,
    /// One case alone, from 1.
    pub case: Option<usize>,
}

/// What one server was measured at in one case.
#[derive(Default)]
struct Figures {
    cpu_us: Vec<f64>,
    p99_ms: Vec<f64>,
    peak_mb: Vec<f64>,
    lost_percent: Vec<f64>,
}

impl Table {
    /// Measures and writes it, as Markdown. `plan` has durations and threads.
    pub fn run(&self, plan: &Plan, fixed_threads: bool, command: &str, say: &dyn Fn(String)) -> Result<String> {
        let servers: Vec<&Path> =
            [Some(self.daemon.as_path()), self.against.as_deref()].into_iter().flatten().collect();
        let cases: Vec<usize> = match self.case {
            None => (0..CASES.len()).collect(),
            Some(case @ 1..=5) => vec![case - 1],
            Some(case) => bail!("--case {case}: there are 1 to {}", CASES.len()),
        };
        let mut rows = Vec::new();
        let mut troubles = Vec::new();
        for case in cases {
            let plan = case_plan(plan, case, fixed_threads);
            let mut figures: Vec<Figures> = servers.iter().map(|_| Figures::default()).collect();
            let mut floors = Vec::new();
            for round in 0..self.rounds {
                // Who was first is second in the next round.
                let mut order: Vec<usize> = (0..servers.len()).collect();
                order.rotate_left(round % servers.len());
                for at in order {
                    say(format!(
                        "{}: round {} of {}, {}",
                        CASES[case].0,
                        round + 1,
                        self.rounds,
                        servers[at].display()
                    ));
                    measure(servers[at], &plan, &mut figures[at], &mut troubles, say)?;
                }
                say(format!("{}: round {} of {}, the floor", CASES[case].0, round + 1, self.rounds));
                floors.push(floor(&plan, FLOOR_LASTING)?);
            }
            rows.push((case, figures, floors));
        }
        Ok(self.write(plan, rows, command) + &troubles.concat())
    }

    fn write(&self, plan: &Plan, rows: Vec<(usize, Vec<Figures>, Vec<f64>)>, command: &str) -> String {
        let two = self.against.is_some();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names: Vec<String> =
            [Some(self.daemon.as_path()), self.against.as_deref()].into_iter().flatten().map(name).collect();
        let mut out = String::from("| case |");
        for what in ["us of CPU a packet", "p99 ms", "peak MB", "lost %"] {
            for name in &names {
                let _ = write!(out, " {name}: {what} |");
            }
            if what.starts_with("us") {
                out.push_str(" raw floor: us |");
            }
        }
        let columns = if two { 10 } else { 6 };
        let _ = writeln!(out, "\n|---|{}", "--:|".repeat(columns - 1));
        for (case, mut figures, mut floors) in rows {
            let _ = write!(out, "| {} |", CASES[case].0);
            let mut cell = |values: &mut [f64], decimals| {
                let _ = match median(values) {
                    Some(middle) => write!(out, " {middle:.decimals$} |"),
                    None => write!(out, " - |"),
                };
            };
            figures.iter_mut().for_each(|figures| cell(&mut figures.cpu_us, 2));
            cell(&mut floors, 2);
            figures.iter_mut().for_each(|figures| cell(&mut figures.p99_ms, 1));
            figures.iter_mut().for_each(|figures| cell(&mut figures.peak_mb, 0));
            figures.iter_mut().for_each(|figures| cell(&mut figures.lost_percent, 2));
            out.push('\n');
        }
        let (cpu, cores, kernel) = machine();
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
        let _ = write!(
            out,
            "\n{date}; {cpu}, {cores} cores, Linux {kernel}, all on this machine over loopback; the middle of {} rounds of {} s after \
             {} s; the floor opens, seals and sends the same packets in the same rhythm and nothing else: `{command}`",
            self.rounds,
            plan.lasting.as_secs(),
            plan.warm_up.as_secs()
        );
        out
    }
}

fn case_plan(plan: &Plan, case: usize, fixed_threads: bool) -> Plan {
    let (_, calls, participants, voices, screen) = CASES[case];
    let mut plan =
        Plan { calls, participants, voices, screen, cameras: 0, simulcast: false, churn: 0.0, ..plan.clone() };
    if !fixed_threads {
        plan.threads = crate::cli::threads(plan.total());
    }
    plan
}

fn measure(
    program: &Path,
    plan: &Plan,
    figures: &mut Figures,
    troubles: &mut Vec<String>,
    say: &dyn Fn(String),
) -> Result<()> {
    let mut left = CHANCES;
    let report = loop {
        let server = Server::start(program)?;
        let plan = Plan { pid: Some(server.pid()), ..plan.clone() };
        let trouble = match run(&server.api()?, &plan, say) {
            Ok(report) => match report.fault() {
                None => break report,
                Some(fault) if report.wrong_receiver > 0 => bail!("{}: {fault}", program.display()),
                Some(fault) => fault,
            },
            Err(error) => format!("{error:#}"),
        };
        left -= 1;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let (next, what) =
            if left > 0 { ("once more", "Measured anew") } else { ("given up", "Not measured in a round") };
        say(format!("  {trouble}; {next}"));
        troubles.push(format!("\n\n{what} ({} calls x {}), {name}: {trouble}", plan.calls, plan.participants));
        if left == 0 {
            return Ok(());
        }
    };
    let cost = report.server.context("no figures of the server")?;
    figures.cpu_us.push(cost.cpu_us_per_packet);
    figures.p99_ms.push(report.latency_ms.all.p99);
    figures.peak_mb.push(cost.peak_rss_bytes as f64 / 1e6);
    figures.lost_percent.push(report.loss.all.percent);
    say(format!(
        "  {:.2} us, p99 {:.1} ms, {:.0} MB, {:.2} % lost; this tool {:.0} % of a core",
        cost.cpu_us_per_packet,
        report.latency_ms.all.p99,
        cost.peak_rss_bytes as f64 / 1e6,
        report.loss.all.percent,
        report.tool.busiest_thread_percent
    ));
    Ok(())
}

/// The middle value, if there is any; of two the larger one.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn machine() -> (String, usize, String) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (model.unwrap_or("an unknown CPU").to_owned(), cores, kernel.trim().to_owned())
}

/// The daemon that is meant when none is named: beside this program, else where the shell would find it.
pub fn default_daemon() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("rtcd")));
    match beside {
        Some(path) if path.exists() => path,
        _ => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let found = std::env::split_paths(&path).map(|dir| dir.join("rtcd")).find(|path| path.exists());
            found.unwrap_or_else(|| "rtcd".into())
        }
    }
}
