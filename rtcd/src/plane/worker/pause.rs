//! When a worker has its next turn.
use super::Worker;
use nix::sys::epoll::EpollTimeout;
use std::time::{Duration, Instant};

/// Longest sleep: the heartbeat must go on.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// Turns begin at least so far apart: what comes within this time is read at once. A worker that is woken less often is not held
/// up.
const TURN: Duration = Duration::from_millis(1);
/// The same for a worker whose peers send no media. Each receiver of pictures reports ten times a second what has arrived: read
/// one by one, these reports cost more in wake-ups than the pictures cost to send, and nobody waits for them. Media of other
/// workers ends this sooner.
const QUIET_TURN: Duration = Duration::from_millis(4);
/// Peers that have sent nothing for this long send no media: a voice pauses for 400 ms where it is not heard (DTX).
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// A sleep that lasts this much longer than it was to is that of a machine where others work, too. Beyond that the worker had to
/// wait for the processor, as in a container that has used up its part of it.
const OVERSLEPT: Duration = Duration::from_millis(4);

impl Worker {
    /// Lets things gather, after a turn whose work is noted.
    pub(super) fn pause(&mut self) {
        let begun = self.io.batch.now;
        let (due, ended) = (begun + TURN, Instant::now());
        let is_behind = self.switch.is_behind(ended);
        let (mut now, mut waited) = (ended, Duration::ZERO);
        if due > ended && !is_behind {
            std::thread::sleep(due - ended);
            now = Instant::now();
            waited = now.saturating_duration_since(due + OVERSLEPT);
        }
        self.switch.note_work(now, ended - begun + waited);
        if is_behind || self.switch.last_media().is_some_and(|at| begun < at + QUIET_AFTER) {
            return;
        }
        let inbox = self.io.shared.inbox(self.io.id);
        if inbox.begin_wait() {
            inbox.listen((begun + QUIET_TURN).saturating_duration_since(Instant::now()));
        }
        inbox.end_wait();
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
