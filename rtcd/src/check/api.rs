//! `GET /version`, `GET /system`, and the daemon's clock.
use super::connect::{Answer, Connector};
use super::fault::Fault;
use super::media::Server;
use super::report::Report;
use hyper::{StatusCode, header};
use std::io::Write;
use std::time::{Duration, SystemTime};

/// `Date` has whole seconds, and the answer took its time.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3);

/// `cpu_load` of a host that drains: more than 1000, which no idle time can give.
const DRAINING_LOAD: f64 = 1e6;

/// Less idle time than this leaves no room for another large call, in CPUs.
const LITTLE_IDLE: f64 = 0.5;

/// Less than this, and packets wait for their turn.
const NO_IDLE: f64 = 0.1;

/// Whose rtcd it is, if it is one; the rest of the API is worth a look only then.
pub async fn check(connector: &Connector, report: &mut Report<impl Write>) -> Option<Server> {
    const NOT_RTCD: &str = "is this the address of rtcd's API?";
    let (answer, json) = match json(connector, "/version").await {
        Ok(answer) => answer,
        Err(Bad::Fault(fault)) => {
            report.fail(
                "version",
                format!("{}: {fault}", connector.target.authority()),
                &fault.advice(connector.target.port),
            );
            return None;
        }
        Err(Bad::Answer(why)) => {
            report.fail("version", format!("{}: {why}", connector.target.authority()), NOT_RTCD);
            return None;
        }
    };
    let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty());
    let Some(version) = text("buildVersion").or(text("build_version")) else {
        report.fail("version", "the answer names no version", NOT_RTCD);
        return None;
    };
    // The reference names the release of Go that it was built with; ours the compiler that we were.
    let server =
        if text("goVersion").is_some_and(|go| go.starts_with("go")) { Server::Reference } else { Server::Ours };
    let whose = if server == Server::Reference { ", Mattermost's own rtcd" } else { "" };
    report.ok("version", format!("{version} ({}){whose}", text("buildHash").unwrap_or("unknown build")));
    match self::json(connector, "/system").await {
        Ok((_, json)) => load(json["cpu_load"].as_f64(), server, report),
        Err(error) => report.fail("API", format!("/system: {error}"), "look into rtcd's log"),
    }
    clock(&answer, SystemTime::now(), report);
    Some(server)
}

/// `cpu_load` is 1 / (idle CPUs): what is left is what an operator wants to know.
fn load(load: Option<f64>, server: Server, report: &mut Report<impl Write>) {
    const WHAT: &str = "load";
    const MORE: &str = "add a host or CPUs, and look at what else runs there";
    let idle = load.map(|load| 1.0 / load.max(f64::MIN_POSITIVE));
    match (load, idle) {
        (Some(load), _) if load >= DRAINING_LOAD => {
            report.warn(
                WHAT,
                "it drains: new calls are sent elsewhere, running ones go on",
                "nothing, if that was wanted",
            );
        }
        (_, Some(idle)) if idle < NO_IDLE => {
            report.warn(WHAT, "no CPU has been idle in the last second: calls stutter", MORE);
        }
        (_, Some(idle)) if idle < LITTLE_IDLE => {
            report.warn(WHAT, format!("high, {idle:.1} CPUs have been idle in the last second"), MORE);
        }
        (_, Some(idle)) => report.ok(WHAT, format!("{idle:.1} CPUs have been idle in the last second")),
        // It divides by nothing, and then prints nothing.
        (_, None) if server == Server::Reference => {
            report.warn(WHAT, "not told, as by Mattermost's own rtcd when no CPU is idle: calls stutter", MORE);
        }
        (_, None) => {
            report.fail(
                WHAT,
                "/system tells none",
                "Mattermost cannot choose a host without it: is a proxy in between?",
            );
        }
    }
}

/// Why there is no JSON.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error("{0}")]
    Fault(Fault),
    #[error("{0}")]
    Answer(String),
}

async fn json(connector: &Connector, path: &str) -> Result<(Answer, serde_json::Value), Bad> {
    let answer = connector.get(path).await.map_err(Bad::Fault)?;
    if answer.status != StatusCode::OK {
        return Err(Bad::Answer(format!("the answer has status {}", answer.status)));
    }
    match serde_json::from_slice(&answer.body) {
        Ok(json) => Ok((answer, json)),
        // The reference at full load answers 200 and nothing.
        Err(_) if path == "/system" && answer.body.is_empty() => Ok((answer, serde_json::Value::Null)),
        Err(_) => Err(Bad::Answer("the answer is no JSON".into())),
    }
}

fn clock(answer: &Answer, now: SystemTime, report: &mut Report<impl Write>) {
    const WHAT: &str = "clock";
    let date = answer.headers.get(header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(date) = date else {
        return report.warn(WHAT, "the answer has no readable date", "is a proxy in between?");
    };
    let (difference, direction) = match date.duration_since(now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let found = format!("the daemon is {:.0} s {direction} this machine", difference.as_secs_f64());
    if difference <= CLOCK_TOLERANCE {
        report.ok(WHAT, "both machines agree");
    } else {
        report.warn(WHAT, found, "synchronize both clocks: certificates and TURN credentials depend on them");
    }
}
