//! Notices that the process stood still, or that a worker does not keep up with what comes.
use rtcd_media::sfu::switch::Age;
use std::time::{Duration, Instant};

/// A worker that makes no turn for this long stood still: it sleeps half a second at most.
const STALL: Duration = Duration::from_secs(1);
/// What comes by connections and from other workers is taken for old until then.
const CATCHING_UP: Duration = Duration::from_millis(100);
/// What has lain unread for this long is late: a socket that is not read empty in all this time is one that more comes to than
/// there is time for, and pictures go first.
pub const LATE: Duration = Duration::from_millis(250);
/// And then everything: nobody waits longer for a voice.
pub const STALE: Duration = Duration::from_millis(800);

/// Notices that the process stood still (a debugger, a frozen container, a machine that was moved). Media that has lain
/// unread meanwhile must not go out in a burst: nobody wants to hear it, and it is in the way of what is said now.
#[derive(Debug)]
pub struct Stalls {
    last: Instant,
    /// Sockets that have not been read empty since.
    behind: Vec<bool>,
    /// Since when they have not been, each turn anew.
    unread: Vec<Option<Instant>>,
    until: Option<Instant>,
}

/// What media is worth that nobody has looked at since.
pub fn age_since(now: Instant, since: Instant) -> Age {
    match now.saturating_duration_since(since) {
        lain if lain > STALE => Age::Stale,
        lain if lain > LATE => Age::Late,
        _ => Age::Fresh,
    }
}

impl Stalls {
    /// For a worker without sockets.
    pub fn new(now: Instant) -> Self {
        Self { last: now, behind: Vec::new(), unread: Vec::new(), until: None }
    }

    /// A socket that has nothing yet; all before it are known.
    pub fn add(&mut self, socket: usize) {
        match self.behind.get_mut(socket) {
            Some(_) => self.caught_up(socket),
            None => {
                self.behind.push(false);
                self.unread.push(None);
            }
        }
    }

    /// A turn begins.
    pub fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) > STALL {
            self.behind.fill(true);
            self.until = Some(now + CATCHING_UP);
        }
        self.last = now;
    }

    /// What media of this socket is worth.
    pub fn age(&self, now: Instant, socket: usize) -> Age {
        if self.is_behind(now, socket) {
            return Age::Stale;
        }
        self.unread.get(socket).copied().flatten().map_or(Age::Fresh, |since| age_since(now, since))
    }

    /// The socket has more than was read in this turn.
    pub fn left_unread(&mut self, now: Instant, socket: usize) {
        if let Some(unread) = self.unread.get_mut(socket) {
            unread.get_or_insert(now);
        }
    }

    /// Whether what this socket has is from before.
    fn is_behind(&self, now: Instant, socket: usize) -> bool {
        // A socket that had nothing then has nothing old later.
        self.until.is_some_and(|until| now < until + STALL) && self.behind.get(socket).copied().unwrap_or_default()
    }

    /// The socket has been read empty.
    pub fn caught_up(&mut self, socket: usize) {
        if let Some(behind) = self.behind.get_mut(socket) {
            *behind = false;
        }
        if let Some(unread) = self.unread.get_mut(socket) {
            *unread = None;
        }
    }

    /// Whether what other ways bring may be from before.
    pub fn is_catching_up(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_stall_each_socket_is_behind_until_it_has_been_read_empty() {
        let start = Instant::now();
        let mut stalls = Stalls::new(start);
        (0..2).for_each(|socket| stalls.add(socket));
        for at in 0..10 {
            stalls.turn(start + Duration::from_millis(500 * at));
            assert!(!stalls.is_behind(start, 0));
        }
        let woken = start + Duration::from_secs(60);
        stalls.turn(woken);
        assert!(stalls.is_behind(woken, 0) && stalls.is_behind(woken, 1) && stalls.is_catching_up(woken));
        stalls.caught_up(0);
        stalls.turn(woken + CATCHING_UP);
        assert!(!stalls.is_behind(woken, 0) && stalls.is_behind(woken, 1));
        assert!(!stalls.is_catching_up(woken + CATCHING_UP));
        assert!(!stalls.is_behind(woken + 3 * STALL, 1), "what comes this late is new");
    }

    #[test]
    fn a_socket_that_is_never_read_empty_has_late_media_and_then_stale_ones() {
        let start = Instant::now();
        let mut stalls = Stalls::new(start);
        (0..2).for_each(|socket| stalls.add(socket));
        let ages = [0, 200, 300, 700, 900].map(|ms| {
            let now = start + Duration::from_millis(ms);
            stalls.left_unread(now, 0);
            stalls.age(now, 0)
        });
        assert_eq!(ages, [Age::Fresh, Age::Fresh, Age::Late, Age::Late, Age::Stale]);
        assert_eq!(stalls.age(start + STALL, 1), Age::Fresh, "another socket");
        stalls.caught_up(0);
        assert_eq!(stalls.age(start + STALL, 0), Age::Fresh);
    }
}
