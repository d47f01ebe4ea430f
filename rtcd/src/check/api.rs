//! `GET /version`, `GET /system`, and the daemon's clock.
use super::connect::{Answer, Connector};
use super::report::Report;
use hyper::{StatusCode, header};
use std::io::Write;
use std::time::{Duration, SystemTime};

/// `Date` has whole seconds, and the answer took its time.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3);

/// Whether this is an rtcd at all; the rest of the API is worth a look only then.
pub async fn check(connector: &Connector, report: &mut Report<impl Write>) -> bool {
    const NOT_RTCD: &str = "is this the address of rtcd's API?";
    let answer = match json(connector, "/version").await {
        Ok((answer, json)) => match json["buildVersion"].as_str().or(json["build_version"].as_str()) {
            Some(version) => {
                report.ok("version", format!("{version} ({})", json["buildHash"].as_str().unwrap_or("unknown build")));
                answer
            }
            None => {
                report.fail("version", "the answer names no version", NOT_RTCD);
                return false;
            }
        },
        Err(error) => {
            report.fail("version", error, NOT_RTCD);
            return false;
        }
    };
    match json(connector, "/system").await {
        Ok((_, json)) => match json["cpu_load"].as_f64() {
            Some(load) => report.ok("API", format!("load {load:.3} (1 / idle CPUs)")),
            None => {
                report.fail("API", "/system tells no load", "Mattermost cannot choose a host without it: update rtcd")
            }
        },
        Err(error) => report.fail("API", format!("/system: {error}"), "look into rtcd's log"),
    }
    clock(&answer, SystemTime::now(), report);
    true
}

async fn json(connector: &Connector, path: &str) -> Result<(Answer, serde_json::Value), String> {
    let answer = connector.get(path).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("status {}", answer.status));
    }
    let json = serde_json::from_slice(&answer.body).map_err(|_| "the answer is no JSON".to_owned())?;
    Ok((answer, json))
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
