//! Whether TURN servers give us an address.
use super::report::Report;
use crate::config::Rtc;
use crate::net::relays::probe;
use std::io::Write;

/// Asks each TURN server of the configuration for an address, as the daemon does, and gives it back.
pub async fn check(rtc: &Rtc, report: &mut Report<impl Write>) {
    for (server, result) in probe::probe(rtc).await {
        match result {
            Ok(probe::Allocated { relayed, round_trip }) => {
                let time = round_trip.map_or(String::new(), |time| format!(" in {:.1} ms", time.as_secs_f64() * 1000.0));
                report.ok("TURN", format!("{server}: credentials accepted{time}, participants would reach us at {relayed}"));
            }
            Err(why) => report.fail(
                "TURN",
                format!("{server}: {why}"),
                "see rtc.ice_servers and rtc.turn.static_auth_secret, and the log of the TURN server; calls that need no relay work",
            ),
        }
    }
}
