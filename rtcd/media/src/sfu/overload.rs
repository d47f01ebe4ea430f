//! What a worker does when it has more to send than it has time for: it sends receivers less of pictures, and voice goes on.
//! What is left out is chosen as on a narrow way: higher layers, then cameras, then whole frames of screens.
//!
//! Receivers do not get the same part: some are left with less before others are, always the same ones, so that a little more
//! or less time changes what a few of them see. If all changed their layer at once, the load would swing between far too
//! much and far too little, and voice would suffer with each swing.
use std::time::{Duration, Instant};

/// How long a worker's load is looked at.
const WINDOW: Duration = Duration::from_millis(200);
/// So many windows in a row are no accident: a machine that stood still for a moment, a hundred handshakes at once.
const SUSTAINED: u32 = 2;
/// Part of the time in work from which on a worker does not keep up, and up to which there is room for more.
const TOO_MUCH: f64 = 0.95;
const ROOM: f64 = 0.8;
/// Weight of the newest window in what is said of the load: two seconds count, not the handshakes of a hundred newcomers.
const LATELY: f64 = 0.1;
/// What is left of pictures when it is too much, and windows until that has shown: receivers' layers are chosen five times a
/// second, and what had gathered is sent first.
const DECREASE: f64 = 0.7;
const SHOWS_AFTER: u32 = 3;
/// What comes back with each window that has room: a tenth in a second, and where it has been too much again after it had come
/// back, a tenth in ten seconds. A hundred newcomers at once are forgotten sooner than that.
const INCREASE: f64 = 0.02;
const INCREASE_NEAR: f64 = 0.002;
const NEAR: std::ops::Range<f64> = 0.85..1.1;
/// Less than this is no picture.
const LEAST: f64 = 0.02;
/// How much less of what it wants the first receiver is left with than the last one, when both want the same: with a lower
/// layer of a fifth, what all of them get together is just the share.
const SPREAD: f64 = 0.8;
/// The golden ratio's multiples are spread evenly, however many there are.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// The load of one worker, and what follows from it.
#[derive(Debug)]
pub struct Overload {
    since: Instant,
    worked: Duration,
    /// The part of its time that it has worked lately.
    load: f64,
    /// Windows in a row that were too much, and those until the last decrease has shown.
    hot: u32,
    waits: u32,
    share: f64,
    /// The share that was too much the last time, whether some has come back since, and whether it was too much again after that.
    ceiling: f64,
    rises: bool,
    comes_again: bool,
}

impl Overload {
    /// A worker that has time.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            worked: Duration::ZERO,
            load: 0.0,
            hot: 0,
            waits: 0,
            share: 1.0,
            ceiling: 1.0,
            rises: false,
            comes_again: false,
        }
    }

    /// The part of what pictures would take that there is time for, above 0 and up to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The part of what it wants that the receiver in this place gets.
    pub fn share_of(&self, place: usize) -> f64 {
        let rank = (place as f64 * GOLDEN).fract();
        (self.share / (1.0 - SPREAD * rank)).min(1.0)
    }

    /// The part of its time that the worker has worked lately.
    pub fn load(&self) -> f64 {
        self.load
    }

    /// Whether there is not time for everything.
    pub fn is_on(&self) -> bool {
        self.share < 1.0
    }

    /// Until `now` the worker has worked for so long since it last said so, with what it had to wait for the processor.
    #[inline]
    pub fn note(&mut self, now: Instant, worked: Duration) {
        self.worked += worked;
        let window = now.saturating_duration_since(self.since);
        if window >= WINDOW {
            let load = self.worked.as_secs_f64() / window.as_secs_f64();
            self.load += (load - self.load) * LATELY;
            self.judge(load);
            (self.since, self.worked) = (now, Duration::ZERO);
        }
    }

    fn judge(&mut self, load: f64) {
        self.waits = self.waits.saturating_sub(1);
        if load >= TOO_MUCH {
            self.hot += 1;
            if self.hot >= SUSTAINED && self.waits == 0 {
                self.ceiling = self.share;
                self.comes_again |= std::mem::take(&mut self.rises);
                self.share = (self.share * DECREASE).max(LEAST);
                self.waits = SHOWS_AFTER;
            }
            return;
        }
        self.hot = 0;
        if load < ROOM {
            let is_near = self.comes_again && NEAR.contains(&(self.share / self.ceiling));
            self.share = (self.share + if is_near { INCREASE_NEAR } else { INCREASE }).min(1.0);
            self.rises = self.share < 1.0;
            self.comes_again &= self.rises;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many turns of 10 ms, each with so much work.
    fn turns(overload: &mut Overload, now: &mut Instant, count: u32, worked: Duration) -> f64 {
        for _ in 0..count {
            *now += 10 * MS;
            overload.note(*now, worked);
        }
        overload.share()
    }

    #[test]
    fn a_moment_is_no_overload_and_what_lasts_leaves_less_and_less() {
        let mut now = Instant::now();
        let mut overload = Overload::new(now);
        assert_eq!(turns(&mut overload, &mut now, 100, 9 * MS), 1.0);
        assert_eq!(turns(&mut overload, &mut now, 20, 10 * MS), 1.0, "an accident");
        assert_eq!(turns(&mut overload, &mut now, 40, 7 * MS), 1.0);
        assert!(!overload.is_on());
        assert_eq!(turns(&mut overload, &mut now, 40, 10 * MS), DECREASE, "after 0.4 s");
        assert_eq!(turns(&mut overload, &mut now, 40, 10 * MS), DECREASE, "it has not shown yet");
        assert!(turns(&mut overload, &mut now, 20, 10 * MS) < DECREASE);
        assert_eq!(turns(&mut overload, &mut now, 1000, 10 * MS), LEAST);
    }

    #[test]
    fn a_little_less_time_is_less_for_a_few() {
        let overload = |share| Overload { share, ..Overload::new(Instant::now()) };
        let whole = |share: f64| (0..100).filter(|place| overload(share).share_of(*place) >= 1.0).count();
        assert_eq!(whole(1.0), 100);
        assert!(whole(0.2) <= 1);
        for percent in 21..100 {
            let (less, more) = (whole(f64::from(percent - 1) / 100.0), whole(f64::from(percent) / 100.0));
            assert!((less..=less + 3).contains(&more), "{percent} %: {less} {more}");
        }
    }

    #[test]
    fn it_comes_back_slowly_and_only_while_there_is_room() {
        let mut now = Instant::now();
        let mut overload = Overload::new(now);
        let low = turns(&mut overload, &mut now, 100, 10 * MS);
        assert!((0.4..0.5).contains(&low), "{low}");
        assert_eq!(turns(&mut overload, &mut now, 200, 9 * MS), low, "just enough");
        assert_eq!(turns(&mut overload, &mut now, 700, 5 * MS), 1.0, "that was a crowd");
        turns(&mut overload, &mut now, 100, 10 * MS);
        turns(&mut overload, &mut now, 200, 5 * MS);
        turns(&mut overload, &mut now, 60, 10 * MS);
        let near = turns(&mut overload, &mut now, 200, 5 * MS);
        let more = turns(&mut overload, &mut now, 500, 5 * MS);
        assert!(more - near < 0.06, "it was too much again: {near} {more}");
        assert!(turns(&mut overload, &mut now, 1500, 5 * MS) > near + 0.2, "it goes beyond that");
        assert_eq!(turns(&mut overload, &mut now, 1000, 5 * MS), 1.0);
    }
}
