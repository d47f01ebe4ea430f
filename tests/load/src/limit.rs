//! The search for the limit: more and more participants or calls, until too much is lost or late.
use crate::api::Api;
use crate::cli::threads;
use crate::report::Report;
use crate::run::{Plan, run};
use anyhow::Result;
use serde::Serialize;
use std::fmt;

/// More than this is lost: people hear it.
const MAX_LOSS_PERCENT: f64 = 1.0;
/// One packet in a hundred is later than this: people talk over each other.
const MAX_P99_MS: f64 = 100.0;
/// A thread of this tool that is busier does not play any more, it queues.
const MAX_TOOL_PERCENT: f64 = 90.0;
/// A machine with less than this to spare has none to spare.
const MIN_IDLE_PERCENT: f64 = 3.0;
/// Each step is so much larger than the one before it: half as large again.
const GROWTH: (u32, u32) = (3, 2);
/// Steps between the last good one and the first bad one, each in the middle.
const REFINEMENTS: usize = 2;

/// A number of calls and participants.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Size {
    /// Calls.
    pub calls: u32,
    /// Participants of each.
    pub participants: u32,
}

/// A step that did not go well.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// How large.
    pub size: Size,
    /// Why.
    pub reason: String,
    /// This tool was the narrow place, and the server might carry more.
    pub tool_is_the_limit: bool,
}

/// What the search has found.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    /// The largest step that went well.
    pub good: Option<(Size, Report)>,
    /// The smallest one that did not.
    pub failed: Failed,
}

/// Grows the plan, calls if there are several of them, else participants.
pub fn find(api: impl Fn() -> Result<Api>, plan: &Plan, fixed_threads: bool, say: &dyn Fn(String)) -> Result<Limit> {
    let grows_calls = plan.calls > 1;
    let sized = |count: u32| {
        let mut plan = plan.clone();
        if grows_calls {
            plan.calls = count
        } else {
            plan.participants = count
        }
        if !fixed_threads {
            plan.threads = threads(plan.total());
        }
        plan
    };
    let size = |plan: &Plan| Size { calls: plan.calls, participants: plan.participants };
    let mut count = if grows_calls { plan.calls } else { plan.participants };
    let mut good: Option<(u32, (Size, Report))> = None;
    let mut bad: Option<(u32, Failed)> = None;
    let mut refinements = 0;
    loop {
        let plan = sized(count);
        say(format!("step: {} calls of {}", plan.calls, plan.participants));
        let (verdict, report) = match attempt(&api, &plan, say) {
            Ok((report, verdict)) => (verdict, Some(report)),
            // Nothing was reached yet: it is no question of size.
            Err(error) if good.is_none() => return Err(error),
            Err(error) => (Some((format!("{error:#}"), false)), None),
        };
        match (verdict, report) {
            (None, Some(report)) => good = Some((count, (size(&plan), report))),
            (verdict, report) => {
                let (reason, tool_is_the_limit) = verdict.unwrap_or_default();
                let failed = Failed { size: size(&plan), reason, tool_is_the_limit };
                // A packet that came to somebody else is no question of size either.
                if report.is_some_and(|report| report.wrong_receiver > 0) {
                    return Ok(Limit { good: good.map(|(_, good)| good), failed });
                }
                bad = Some((count, failed));
            }
        }
        let low = good.as_ref().map_or(0, |(count, _)| *count);
        let Some((high, failed)) = &bad else {
            count = (count * GROWTH.0 / GROWTH.1).max(count + 1);
            continue;
        };
        refinements += 1;
        if refinements > REFINEMENTS || high - low <= 1 || good.is_none() {
            return Ok(Limit { good: good.map(|(_, good)| good), failed: failed.clone() });
        }
        count = low + (high - low) / 2;
    }
}

/// A step that goes wrong once is played once more: something else may have wanted the machine for a moment.
fn attempt(
    api: &impl Fn() -> Result<Api>,
    plan: &Plan,
    say: &dyn Fn(String),
) -> Result<(Report, Option<(String, bool)>)> {
    let report = run(&api()?, plan, say)?;
    let verdict = judge(&report);
    if verdict.is_none() || report.wrong_receiver > 0 {
        return Ok((report, verdict));
    }
    say("once more".into());
    let report = run(&api()?, plan, say)?;
    let verdict = judge(&report);
    Ok((report, verdict))
}

/// Why a run did not go well, and whether that is this tool's fault.
fn judge(report: &Report) -> Option<(String, bool)> {
    let tool = report.tool.busiest_thread_percent;
    if tool > MAX_TOOL_PERCENT || report.tool.skipped > 0 {
        let why = format!(
            "this tool is the narrow place: a thread of it took {tool:.0} % of a core and left out {} packets; use more --threads \
             where there are free CPUs, or run it on a machine of its own",
            report.tool.skipped
        );
        return Some((why, true));
    }
    if let Some(fault) = report.fault() {
        return Some((fault, false));
    }
    let busy = match report.machine.idle_percent {
        Some(idle) if idle < MIN_IDLE_PERCENT => {
            let own = report.tool.cpu_us_per_packet * report.delivered_per_second / 1e4;
            format!("; all {} CPUs of this machine were busy, {own:.0} % of one with this tool", report.machine.cpus)
        }
        _ => String::new(),
    };
    let loss = report.loss.all.percent;
    if loss > MAX_LOSS_PERCENT {
        return Some((
            format!(
                "{loss:.1} % of the packets were lost (limit {MAX_LOSS_PERCENT} %), at {} participants{busy}",
                report.loss.all.participants
            ),
            false,
        ));
    }
    let p99 = report.latency_ms.all.p99;
    (p99 > MAX_P99_MS)
        .then(|| (format!("one packet in a hundred took {p99:.0} ms or more (limit {MAX_P99_MS:.0} ms){busy}"), false))
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.good {
            Some((size, report)) => {
                writeln!(f, "carried            {} calls of {} participants\n{report}", size.calls, size.participants)?;
            }
            None => writeln!(f, "carried            not even the first step")?,
        }
        let Size { calls, participants } = self.failed.size;
        write!(f, "not carried        {calls} calls of {participants}: {}", self.failed.reason)
    }
}
