//! One run: everybody joins, the server settles, a window is measured, everybody leaves.
mod plan;
mod shared;

pub use plan::Plan;
pub use shared::Shared;

use crate::api::{self, Api};
use crate::clock;
use crate::link::local_address;
use crate::node::{self, Say};
use crate::participant::Spec;
use crate::player::{Mailbox, Order, Outcome, Player};
use crate::process;
use crate::report::{Machine, Report, Server};
use crate::signal::Who;
use anyhow::{Context as _, Result, anyhow, bail};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What was sent last may still be under way so long after the window.
const LATE: Duration = Duration::from_secs(1);
/// The window begins a little later than it is announced, so that all threads know of it.
const ANNOUNCED: Duration = Duration::from_millis(100);
/// How long all together may take to get in: a participant has a patience of its own.
const EVERYBODY: Duration = Duration::from_secs(180);
/// How long the goodbyes may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// Plays it. `say` is told each second how it goes.
pub fn run(api: &Api, plan: &Plan, say: &dyn Fn(String)) -> Result<Report> {
    plan::check(plan)?;
    raise_open_files(plan)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let socket = runtime.block_on(api.connect())?;
    let local = match plan.local {
        Some(local) => local,
        None => local_address(api.address()?).context("no address of this machine leads to the server")?,
    };
    let shared = Arc::new(Shared::new(plan.total()));
    let (said, to_say) = mpsc::channel(node::MAX_WAITING);
    let mut mailboxes = Vec::new();
    let mut threads = Vec::new();
    for number in 0..plan.threads {
        let (thread, mailbox) = Player::start(number, shared.clone(), said.clone())?;
        mailboxes.push(mailbox);
        threads.push(thread);
    }
    let node = runtime.spawn(node::carry(api.clone(), socket, to_say, mailboxes.clone(), shared.clone()));
    let measured = play(plan, local, &shared, &mailboxes, say);

    for mailbox in &mailboxes {
        let _ = mailbox.send(Order::End);
    }
    let mut outcomes = Vec::new();
    for thread in threads {
        let outcome = thread.join().map_err(|_| anyhow!("a thread of this tool panicked"))?;
        outcomes.push(outcome?);
    }
    let _ = said.try_send(Say::End);
    runtime.block_on(async {
        let _ = tokio::time::timeout(GOODBYE, node).await;
        api.disconnect().await
    })?;
    let (server, machine) = measured?;
    Ok(report(plan, outcomes, &shared, server, machine))
}

fn report(plan: &Plan, outcomes: Vec<Outcome>, shared: &Shared, server: Option<Server>, machine: Machine) -> Report {
    let (failed, failures) = shared.failures();
    Report::new(plan, outcomes, failed, failures, server, machine)
}

/// From the first join to the end of the window.
fn play(
    plan: &Plan,
    local: IpAddr,
    shared: &Shared,
    mailboxes: &[Mailbox],
    say: &dyn Fn(String),
) -> Result<(Option<Server>, Machine)> {
    let run = api::random(4)?;
    for number in 0..plan.total() {
        // Senders of all calls first, so that those who come later hear something at once.
        let (call, place) = (number % plan.calls, number / plan.calls);
        let call_id = format!("load-{run}-{call}");
        let session_id = format!("{call_id}-{place}");
        let who = Who { user_id: format!("user-of-{session_id}"), call_id, session_id };
        let sections = plan.sections(place);
        let spec = Spec { call, number, who: Arc::new(who), sections, tcp: plan.tcp, local };
        mailboxes[number as usize % mailboxes.len()].send(Order::Join(Box::new(spec)))?;
    }
    wait_ready(plan, shared, say)?;
    let mut churn = Churn { per_second: plan.churn, next: Instant::now(), turn: 0 };
    churn.sleep(Instant::now() + plan.warm_up, mailboxes, |_| say_flow(shared, "warming up", say))?;

    let start = Instant::now() + ANNOUNCED;
    let end = start + plan.lasting;
    shared.end.store(clock::nanos(end), Ordering::Relaxed);
    shared.start.store(clock::nanos(start), Ordering::Relaxed);
    churn.sleep(start, mailboxes, |_| {})?;
    let cpu = plan.pid.map(process::cpu).transpose()?;
    let idle = process::machine();
    let begun = Instant::now();
    churn.sleep(end, mailboxes, |left| say_flow(shared, &format!("measuring, {} s left", left.as_secs()), say))?;
    let lasted = begun.elapsed();
    let machine = Machine::between(idle, process::machine());
    let server = match plan.pid.zip(cpu) {
        None => None,
        Some((pid, before)) => Some(Server {
            pid,
            cpu: process::cpu(pid)?.saturating_sub(before),
            lasted,
            peak_rss: process::peak_rss(pid)?,
        }),
    };
    std::thread::sleep(LATE);
    Ok((server, machine))
}

fn wait_ready(plan: &Plan, shared: &Shared, say: &dyn Fn(String)) -> Result<()> {
    let deadline = Instant::now() + EVERYBODY;
    let mut next = Instant::now() + Duration::from_secs(1);
    loop {
        let (opened, ready) = (shared.opened.load(Ordering::Relaxed), shared.ready.load(Ordering::Relaxed));
        if ready >= plan.total() {
            return Ok(());
        }
        let (failed, words) = shared.failures();
        if failed > 0 {
            bail!("{failed} of {} participants did not get in: {}", plan.total(), words.join("; "));
        }
        if Instant::now() > deadline {
            bail!(
                "after {} s {opened} of {} participants were in and {ready} sent what they should; the server is too slow, or \
                 answers no offers: look at its log",
                EVERYBODY.as_secs(),
                plan.total()
            );
        }
        if next <= Instant::now() {
            next += Duration::from_secs(1);
            say(format!("joining: {opened} of {} are in", plan.total()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn say_flow(shared: &Shared, what: &str, say: &dyn Fn(String)) {
    let (failed, _) = shared.failures();
    let delivered = shared.delivered.load(Ordering::Relaxed);
    let lost = if failed > 0 { format!(", {failed} participants lost") } else { String::new() };
    say(format!("{what}: {} in, {delivered} packets measured{lost}", shared.opened.load(Ordering::Relaxed)));
}

/// Who goes and who comes while time passes.
struct Churn {
    per_second: f64,
    next: Instant,
    turn: usize,
}

impl Churn {
    /// Sleeps; calls `each` once a second with what is left.
    fn sleep(&mut self, until: Instant, mailboxes: &[Mailbox], each: impl Fn(Duration)) -> Result<()> {
        let mut tick = Instant::now() + Duration::from_secs(1);
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            if tick <= now {
                tick += Duration::from_secs(1);
                each(until - now);
            }
            if self.per_second > 0.0 && self.next <= now {
                self.next = now + Duration::from_secs_f64(1.0 / self.per_second);
                self.turn += 1;
                mailboxes[self.turn % mailboxes.len()].send(Order::Churn)?;
            }
            let wake = if self.per_second > 0.0 { until.min(tick).min(self.next) } else { until.min(tick) };
            std::thread::sleep(wake.saturating_duration_since(now));
        }
    }
}

/// Each participant has a socket.
fn raise_open_files(plan: &Plan) -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = u64::from(plan.total()) + 64;
    if hard < wanted {
        bail!("{} participants need {wanted} open files, and the limit is {hard}: raise it (ulimit -Hn)", plan.total());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(wanted.max(1 << 16)), hard)?;
    Ok(())
}
