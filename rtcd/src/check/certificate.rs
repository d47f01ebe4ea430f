//! Whether the API's port answers, and under TLS whether its certificate is good and for how long.
use super::connect::{Connector, lookup};
use super::fault::not_after;
use super::report::Report;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

const DAY: u64 = 24 * 60 * 60;
/// Days that leave time to act: automatic renewals happen 30 days ahead.
const SOON: u64 = 14;

/// Connects; whether going on makes sense.
pub async fn check(connector: &Connector, report: &mut Report<impl Write>) -> bool {
    let what = if connector.target.tls { "TLS" } else { "connection" };
    let connection = match connector.connect().await {
        Ok(connection) => connection,
        Err(fault) => {
            let place = place(connector).await;
            report.fail(what, format!("{place}: {fault}"), &fault.advice(connector.target.port));
            return false;
        }
    };
    let Some(certificate) = connection.certificate else {
        report.ok(what, format!("{}, not encrypted", connector.target.authority()));
        return true;
    };
    match not_after(&certificate).map(|end| end.duration_since(SystemTime::now()).unwrap_or_default().as_secs() / DAY) {
        Some(days) if days < SOON => {
            report.warn(
                what,
                format!("the certificate is valid for {days} more days"),
                "renew it, then reload rtcd (SIGHUP)",
            );
        }
        Some(days) => report.ok(what, format!("the certificate is valid for {days} more days")),
        None => report.warn(what, "valid, but its end cannot be read", "look at it with openssl x509"),
    }
    true
}

/// The host and the port, and what a name stands for.
async fn place(connector: &Connector) -> String {
    let target = &connector.target;
    let addresses = match target.host.parse::<IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => lookup(&target.host, target.port).await.unwrap_or_default(),
    };
    if addresses.is_empty() {
        return target.authority();
    }
    let addresses: BTreeSet<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    format!("{} ({})", target.authority(), addresses.into_iter().collect::<Vec<_>>().join(", "))
}
