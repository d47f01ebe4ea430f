//! `provision retry`: when the first run of a boot has failed, the next ones, for as long as the machine lives. A service
//! that was down, a disc that was late, a portal in between: each heals by itself, and nobody is there to start it again.
use crate::exit_code::ExitCode;
use crate::http::Pace;
use std::time::Duration;

/// The time for one attempt: the next one follows anyway.
pub const ATTEMPT: Pace = Pace {
    request: Duration::from_secs(10),
    total: Duration::from_secs(60),
    first_delay: Duration::from_millis(500),
    longest_delay: Duration::from_secs(10),
};

/// 5, 10, 20, .. s and at last five minutes between two attempts.
const BETWEEN: Pace = Pace { first_delay: Duration::from_secs(5), longest_delay: Duration::from_secs(300), ..ATTEMPT };

/// Attempts and sleeps in turn until an attempt succeeds.
pub fn until_done(mut attempt: impl FnMut() -> ExitCode, mut sleep: impl FnMut(Duration)) {
    let mut delays = BETWEEN.delays();
    loop {
        let delay = delays.next();
        tracing::info!(seconds = delay.as_secs(), "the next attempt follows");
        sleep(delay);
        if attempt() == ExitCode::Success {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_go_on_with_growing_pauses_until_one_succeeds() {
        let mut left = vec![ExitCode::Source; 40];
        let mut pauses = Vec::new();
        until_done(|| left.pop().unwrap_or(ExitCode::Success), |pause| pauses.push(pause));
        assert_eq!(pauses.len(), 41);
        assert!(pauses[0] < Duration::from_secs(7) && pauses[3] > pauses[0] * 3, "{pauses:?}");
        assert!(pauses[40] > Duration::from_secs(200) && pauses[40] < Duration::from_secs(400), "{pauses:?}");
    }
}
