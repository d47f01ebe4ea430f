//! When a worker has its next turn.
use super::Worker;
use nix::sys::epoll::EpollTimeout;
use std::time::{Duration, Instant};

/// Longest sleep: the heartbeat must go on.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// Who waits no longer has found something.
const AT_ONCE: Duration = Duration::from_micros(30);
/// Turns of a worker whose peers send no media are so far apart where pauses pay. Each receiver of pictures reports ten times a
/// second what has arrived: read one by one, these reports cost more in wake-ups than the pictures cost to send, and nobody waits
/// for them. Media of other workers ends this sooner.
const QUIET_TURN: Duration = Duration::from_millis(4);
/// Peers that have sent nothing for this long send no media: a voice pauses for 400 ms where it is not heard (DTX).
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// A sleep that lasts this much longer than it was to is that of a machine where others work, too. Beyond that the worker had to
/// wait for the processor, as in a container that has used up its part of it.
const OVERSLEPT: Duration = Duration::from_millis(4);

impl Worker {
    /// Lets things gather where that pays, after a turn whose work is noted; whether it did.
    pub(super) fn pause(&mut self) -> bool {
        let begun = self.io.batch.now;
        let (due, ended) = (begun + self.pace.turn(), Instant::now());
        let is_behind = self.switch.is_behind(ended);
        let (mut now, mut waited) = (ended, Duration::ZERO);
        let pauses = self.pace.pauses() && !is_behind;
        if due > ended && pauses {
            std::thread::sleep(due - ended);
            now = Instant::now();
            waited = now.saturating_duration_since(due + OVERSLEPT);
        }
        self.switch.note_work(now, ended - begun + waited);
        if !pauses || !self.is_quiet(begun) {
            return pauses;
        }
        let inbox = self.io.shared.inbox(self.io.id);
        if inbox.begin_wait() {
            inbox.listen((begun + QUIET_TURN).saturating_duration_since(Instant::now()));
        }
        inbox.end_wait();
        true
    }

    /// A turn begins, after a pause until then, if there was one: was it good for something, or would it have been? Mail in the
    /// worker's box `has_waited`.
    pub(super) fn note_pace(&mut self, now: Instant, paused_until: Option<Instant>, has_waited: bool) {
        let has_gathered = match paused_until {
            Some(until) => has_waited || now < until + AT_ONCE,
            None => now < self.io.batch.now + if self.is_quiet(now) { QUIET_TURN } else { self.pace.turn() },
        };
        self.pace.note(has_gathered);
    }

    /// Its peers send no media.
    fn is_quiet(&self, now: Instant) -> bool {
        self.switch.last_media().is_none_or(|at| now >= at + QUIET_AFTER)
    }

    /// How long it sleeps when nothing wakes it.
    pub(super) fn sleep(&self) -> EpollTimeout {
        if !self.waiting_events.is_empty() || self.suspending.is_some() {
            return EpollTimeout::from(5u8);
        }
        let connections = self.acceptor.next_timeout(&self.io.connections);
        let others = [connections, self.io.relays.next_timeout(), self.keep.next_timeout()];
        let next = self.switch.next_timeout().into_iter().chain(others.into_iter().flatten()).min();
        let until = next.map_or(MAX_SLEEP, |at| at.saturating_duration_since(Instant::now()));
        // Rounded up, or the loop would spin through the last millisecond.
        let millis = until.min(MAX_SLEEP).as_micros().div_ceil(1000) as u16;
        EpollTimeout::from(millis)
    }
}
