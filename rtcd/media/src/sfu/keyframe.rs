//! Key frame requests to a sender: at most one a second per stream, none lost, none after it has been answered.
use std::time::{Duration, Instant};

/// Least time between two requests for the same stream (contract, section 5).
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The requests for one incoming stream.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyframeRequests {
    last_sent: Option<Instant>,
    wanted: bool,
}

impl KeyframeRequests {
    /// Somebody needs a key frame. Whether to ask for it now; else it is asked for as soon as it may be.
    pub fn request(&mut self, now: Instant) -> bool {
        self.wanted = true;
        self.poll(now)
    }

    /// Whether a request that had to wait is to be sent now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let send = self.wanted && self.last_sent.is_none_or(|last| now >= last + INTERVAL);
        if send {
            self.last_sent = Some(now);
            // Stays wanted until it comes: a request or its frame may be lost.
        }
        send
    }

    /// A key frame has come.
    pub fn fulfilled(&mut self) {
        self.wanted = false;
    }

    /// When to [`poll`](Self::poll).
    pub fn next_timeout(&self) -> Option<Instant> {
        self.last_sent.filter(|_| self.wanted).map(|last| last + INTERVAL)
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
}
