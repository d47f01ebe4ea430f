//! Key frame requests to a sender: at most one a second per stream, none lost, none after it has been answered.
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// Least time between two requests for the same stream (contract, section 5).
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The requests for one incoming stream.
#[serde_as]
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub struct KeyframeRequests {
    #[serde_as(as = "Option<Age>")]
    last_sent: Option<Instant>,
    /// Since when somebody has needed one.
    #[serde_as(as = "Option<Age>")]
    wanted: Option<Instant>,
}

impl KeyframeRequests {
    /// Somebody needs a key frame: [`poll`](Self::poll) says when it is to be asked for.
    pub fn want(&mut self, now: Instant) {
        self.wanted.get_or_insert(now);
    }

    /// Somebody needs a key frame. Whether to ask for it now; else it is asked for as soon as it may be.
    pub fn request(&mut self, now: Instant) -> bool {
        self.want(now);
        self.poll(now)
    }

    /// Whether a request is to be sent now: whoever asks this sends it.
    pub fn poll(&mut self, now: Instant) -> bool {
        let send = self.next_timeout().is_some_and(|due| due <= now);
        if send {
            self.last_sent = Some(now);
            // Stays wanted until it comes: a request or its frame may be lost.
        }
        send
    }

    /// A key frame has come.
    pub fn fulfilled(&mut self) {
        self.wanted = None;
    }

    /// When to [`poll`](Self::poll).
    pub fn next_timeout(&self) -> Option<Instant> {
        let wanted = self.wanted?;
        Some(self.last_sent.map_or(wanted, |last| wanted.max(last + INTERVAL)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    #[test]
    fn at_most_one_request_a_second_and_none_is_lost() {
        let now = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(requests.request(now));
        assert!(!requests.request(now + Duration::from_millis(300)));
        assert_eq!(requests.next_timeout(), Some(now + INTERVAL));
        assert!(requests.poll(now + INTERVAL));
        requests.fulfilled();
        assert_eq!(requests.next_timeout(), None);
        assert!(!requests.request(now + INTERVAL + Duration::from_millis(1)));
        assert!(requests.poll(now + 2 * INTERVAL));
    }

    #[test]
    fn a_wish_that_nobody_could_send_yet_is_due_at_once() {
        let now = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(!requests.poll(now), "nobody wants one");
        requests.want(now);
        assert_eq!(requests.next_timeout(), Some(now));
        assert!(requests.poll(now));
    }
}
