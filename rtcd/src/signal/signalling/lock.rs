//! The signalling lock (contract, section 3.4): later offers come from either side and never cross. Pure.
use rtcd_media::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::time::{Duration, Instant};

/// How long we wait for the lock before that is counted; we go on waiting.
pub const GRAB_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an offer of ours waits for its answer, and how long a participant may hold the lock.
pub const HOLD_TIMEOUT: Duration = Duration::from_secs(10);

#[serde_as]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Holder {
    Nobody,
    Peer {
        #[serde_as(as = "Age")]
        since: Instant,
    },
    Us {
        #[serde_as(as = "Age")]
        since: Instant,
    },
}

/// The signalling lock of one session (contract, section 3): held by one side while it offers.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct SignalingLock {
    holder: Holder,
    /// We want it, since when; counted as late or not.
    #[serde_as(as = "Option<(Age, _)>")]
    wanted: Option<(Instant, bool)>,
    /// It was taken from the participant, who does not know yet and may still give it back.
    taken_back: bool,
}

/// What an Unlock means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unlock {
    /// It is free again.
    Free {
        /// For how long it was held.
        held: Duration,
    },
    /// It had been taken from the participant: nothing wrong.
    TakenBack,
    /// The participant did not hold it.
    NotHeld,
}

/// What a passing deadline means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockTimeout {
    /// We have waited too long; said once per wait.
    Grab,
    /// The participant has held it too long: it is free again.
    Peer {
        /// For how long it was held.
        held: Duration,
    },
    /// Our offer got no answer: it is free again.
    Answer {
        /// For how long it was held.
        held: Duration,
    },
}

impl Default for SignalingLock {
    fn default() -> Self {
        Self { holder: Holder::Nobody, wanted: None, taken_back: false }
    }
}

impl SignalingLock {
    /// The participant asks for it; the answer to send back.
    pub fn request(&mut self, now: Instant) -> bool {
        let free = self.holder == Holder::Nobody;
        if free {
            self.holder = Holder::Peer { since: now };
            self.taken_back = false;
        }
        free
    }

    /// The participant gives it back.
    pub fn unlock(&mut self, now: Instant) -> Unlock {
        let Holder::Peer { since } = self.holder else {
            let known = std::mem::take(&mut self.taken_back);
            return if known { Unlock::TakenBack } else { Unlock::NotHeld };
        };
        self.holder = Holder::Nobody;
        Unlock::Free { held: now - since }
    }

    /// What the participant wanted it for has been refused: it is free again. `None` when the participant did not hold it.
    pub fn take_back(&mut self, now: Instant) -> Option<Duration> {
        let Holder::Peer { since } = self.holder else { return None };
        self.holder = Holder::Nobody;
        self.taken_back = true;
        Some(now - since)
    }

    /// We want to offer: `Some` with the time waited when the lock is ours now; else ask again when it is free.
    pub fn grab(&mut self, now: Instant) -> Option<Duration> {
        let (since, _) = *self.wanted.get_or_insert((now, false));
        if self.holder != Holder::Nobody {
            return None;
        }
        self.wanted = None;
        self.holder = Holder::Us { since: now };
        Some(now - since)
    }

    /// Our offer is answered. `None` when we did not hold it.
    pub fn release(&mut self, now: Instant) -> Option<Duration> {
        let Holder::Us { since } = self.holder else { return None };
        self.holder = Holder::Nobody;
        Some(now - since)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let hold = match self.holder {
            Holder::Nobody => None,
            Holder::Peer { since } | Holder::Us { since } => Some(since + HOLD_TIMEOUT),
        };
        let grab = self.wanted.filter(|(_, late)| !late).map(|(since, _)| since + GRAB_TIMEOUT);
        [hold, grab].into_iter().flatten().min()
    }

    /// What has run out by `now`; call until `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<LockTimeout> {
        if let Some((since, late)) = &mut self.wanted
            && !*late
            && now >= *since + GRAB_TIMEOUT
        {
            *late = true;
            return Some(LockTimeout::Grab);
        }
        let (timeout, since) = match self.holder {
            Holder::Peer { since } => (LockTimeout::Peer { held: now - since }, since),
            Holder::Us { since } => (LockTimeout::Answer { held: now - since }, since),
            Holder::Nobody => return None,
        };
        if now < since + HOLD_TIMEOUT {
            return None;
        }
        self.taken_back |= matches!(self.holder, Holder::Peer { .. });
        self.holder = Holder::Nobody;
        Some(timeout)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    #[test]
    fn one_side_at_a_time_holds_the_lock() {
        let now = Instant::now();
        let mut lock = SignalingLock::default();
        assert!(lock.request(now));
        assert!(!lock.request(now), "it is held already");
        assert_eq!(lock.grab(now), None);
        let later = now + Duration::from_secs(1);
        assert_eq!(lock.unlock(later), Unlock::Free { held: Duration::from_secs(1) });
        assert_eq!(lock.grab(later), Some(Duration::from_secs(1)));
        assert!(!lock.request(later));
        assert_eq!(lock.unlock(later), Unlock::NotHeld, "nobody unlocks what is ours");
        assert_eq!(lock.release(later), Some(Duration::ZERO));
        assert!(lock.request(later));
    }

    #[test]
    fn a_lock_that_was_taken_back_is_free_and_its_late_unlock_no_fault() {
        let now = Instant::now();
        let mut lock = SignalingLock::default();
        assert_eq!(lock.take_back(now), None);
        assert!(lock.request(now));
        assert_eq!(lock.take_back(now), Some(Duration::ZERO));
        assert_eq!(lock.unlock(now), Unlock::TakenBack);
        assert_eq!(lock.unlock(now), Unlock::NotHeld);
        assert!(lock.request(now));
    }

    #[test]
    fn a_participant_that_never_unlocks_loses_the_lock() {
        let now = Instant::now();
        let mut lock = SignalingLock::default();
        assert!(lock.request(now));
        assert_eq!(lock.grab(now), None);
        assert_eq!(lock.next_timeout(), Some(now + GRAB_TIMEOUT));
        assert_eq!(lock.handle_timeout(now + GRAB_TIMEOUT), Some(LockTimeout::Grab));
        assert_eq!(lock.handle_timeout(now + GRAB_TIMEOUT), None, "said once");
        assert_eq!(lock.handle_timeout(now + HOLD_TIMEOUT), Some(LockTimeout::Peer { held: HOLD_TIMEOUT }));
        assert_eq!(lock.grab(now + HOLD_TIMEOUT), Some(HOLD_TIMEOUT));
        assert_eq!(lock.handle_timeout(now + HOLD_TIMEOUT * 2), Some(LockTimeout::Answer { held: HOLD_TIMEOUT }));
        assert_eq!(lock.next_timeout(), None);
    }
}
