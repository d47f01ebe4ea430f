//! The pace towards one receiver: pictures come in bursts, and a burst in front of a thin way delays voice, or fills its
//! queue so that voice is lost there. Voice is never held; pictures wait, a bounded time, for the budget that is left.
use super::bandwidth::Bitrate;
use crate::footprint::{Footprint, flat_queue};
use crate::handover::Age;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pictures go out at so many times the estimate, since they come in bursts: frames, and key frames more so.
const PACE: f64 = 2.5;
/// What may go out at once: this much time at the pace, and at least so many full packets.
const BURST: Duration = Duration::from_millis(40);
const BURST_PACKETS: u64 = 12;
/// Where the estimate is known to be what limits, a burst only moves the queue in front of the way, where voice waits in it,
/// too: there pictures go out about as fast as the way takes them.
const LIMITED_PACE: f64 = 1.1;
/// On a thin way, where a packet takes tens of milliseconds, no faster.
const THIN: Bitrate = Bitrate::kbit(400);
const THIN_PACE: f64 = 1.0;
const LIMITED_BURST: Duration = Duration::from_millis(10);
const LIMITED_BURST_PACKETS: u64 = 2;
const FULL_PACKET: u64 = 1200;
/// Voice may take so many bursts in advance; what is beyond is forgiven, else pictures would never come again.
const MAX_DEBT_BURSTS: i64 = 4;
/// Packets that wait, of either kind. A key frame of 300 KB is 250 packets.
const MAX_WAITING: usize = 256;
/// A picture that has waited this long is not worth sending any more.
const MAX_AGE: Duration = Duration::from_millis(1500);
/// On a thin way a single key frame takes seconds.
const THIN_MAX_AGE: Duration = Duration::from_secs(6);
/// Nothing has waited for so long: the room for it is given back. A key frame in a while is what made it.
const RESTS_AFTER: Duration = Duration::from_secs(2);

/// A packet that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting<T> {
    what: T,
    since: Instant,
}

/// What to do with a packet that has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<T> {
    /// Send it now, and [charge](Pacer::charge) it.
    Send(T),
    /// It has waited too long; its picture is lost, and a key frame will be needed.
    Dropped(T),
}

/// The budget of one receiver and what waits for it. `T` says where a packet is found again.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Pacer<T> {
    pace: Bitrate,
    burst: i64,
    /// Octets that may go out; at the time that it was computed.
    budget: i64,
    #[serde_as(as = "Age")]
    at: Instant,
    max_age: Duration,
    #[serde(skip)]
    retransmissions: VecDeque<Waiting<T>>,
    #[serde(skip)]
    pictures: VecDeque<Waiting<T>>,
    /// When something last had to wait, while there is room left for it.
    #[serde(skip)]
    waited: Option<Instant>,
    dropped: u64,
}

impl<T: Copy> Pacer<T> {
    /// A pacer with a full budget.
    pub fn new(now: Instant, estimate: Bitrate) -> Self {
        let (pace, burst) = pace(estimate, false);
        let (retransmissions, pictures) = (VecDeque::new(), VecDeque::new());
        let (max_age, waited) = (MAX_AGE, None);
        Self { pace, burst, budget: burst, at: now, max_age, retransmissions, pictures, waited, dropped: 0 }
    }

    /// The estimate has changed, or what would be sent if there were room.
    pub fn set_rate(&mut self, now: Instant, estimate: Bitrate, wanted: Bitrate) {
        self.refill(now);
        (self.pace, self.burst) = pace(estimate, wanted > estimate);
        self.budget = self.budget.min(self.burst);
        self.max_age = if estimate < THIN { THIN_MAX_AGE } else { MAX_AGE };
        let rests = |waited| now.saturating_duration_since(waited) >= RESTS_AFTER;
        if self.is_idle() && self.waited.take_if(|waited| rests(*waited)).is_some() {
            (self.retransmissions, self.pictures) = (VecDeque::new(), VecDeque::new());
        }
    }

    fn refill(&mut self, now: Instant) {
        // All packets of a turn have the same time.
        if now <= self.at {
            return;
        }
        // Whole octets only: the rest of the time counts the next time.
        let octets = self.pace.octets_in(now.saturating_duration_since(self.at));
        if octets > 0 {
            self.budget = self.budget.saturating_add_unsigned(octets).min(self.burst);
            self.at = now;
        }
    }

    /// Whether a picture's packet may go out now. One that comes while others wait has to [wait](Self::push), too.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.budget > 0
    }

    /// A packet of `len` octets has gone out, of whatever kind.
    pub fn charge(&mut self, now: Instant, len: usize) {
        self.refill(now);
        self.budget = (self.budget - len as i64).max(-MAX_DEBT_BURSTS * self.burst);
    }

    /// Whether nothing waits: only then padding is in place.
    pub fn is_idle(&self) -> bool {
        self.retransmissions.is_empty() && self.pictures.is_empty()
    }

    /// Packets that wait.
    pub fn waiting(&self) -> usize {
        self.retransmissions.len() + self.pictures.len()
    }

    /// Packets that have been dropped in place of being sent.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A picture's packet waits. Gives the oldest one if there are too many.
    pub fn push(&mut self, now: Instant, what: T) -> Option<T> {
        self.waited = Some(now);
        Self::push_to(&mut self.pictures, &mut self.dropped, now, what)
    }

    /// A packet to be sent again waits; it goes before pictures. Gives the oldest one if there are too many.
    pub fn push_retransmission(&mut self, now: Instant, what: T) -> Option<T> {
        self.waited = Some(now);
        Self::push_to(&mut self.retransmissions, &mut self.dropped, now, what)
    }

    fn push_to(queue: &mut VecDeque<Waiting<T>>, dropped: &mut u64, now: Instant, what: T) -> Option<T> {
        let oldest = if queue.len() >= MAX_WAITING { queue.pop_front() } else { None };
        *dropped += u64::from(oldest.is_some());
        queue.push_back(Waiting { what, since: now });
        oldest.map(|oldest| oldest.what)
    }

    /// Drops what waits of a track that is paused or has switched.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let before = self.waiting();
        self.retransmissions.retain(|waiting| keep(&waiting.what));
        self.pictures.retain(|waiting| keep(&waiting.what));
        self.dropped += (before - self.waiting()) as u64;
    }

    /// The next packet whose turn has come.
    pub fn pop(&mut self, now: Instant) -> Option<Turn<T>> {
        for queue in [&mut self.retransmissions, &mut self.pictures] {
            let Some(oldest) = queue.front().copied() else { continue };
            if now.saturating_duration_since(oldest.since) > self.max_age {
                queue.pop_front();
                self.dropped += 1;
                return Some(Turn::Dropped(oldest.what));
            }
        }
        if self.is_idle() || !self.has_room(now) {
            return None;
        }
        self.pop_for_probe().map(Turn::Send)
    }

    /// The next packet whether or not it is its turn: while a probe [is to be sent](super::bandwidth::Bandwidth::poll_padding),
    /// what waits is as good as padding. [Charge](Self::charge) it all the same.
    pub fn pop_for_probe(&mut self) -> Option<T> {
        let next = self.retransmissions.pop_front().or_else(|| self.pictures.pop_front());
        next.map(|next| next.what)
    }

    /// When to [`pop`](Self::pop) again; `None` while nothing waits.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let missing = u64::try_from(1 - self.budget).unwrap_or(0);
        // One microsecond more than the rounded down time, so that it is not still too early.
        let wait = if missing == 0 { Duration::ZERO } else { self.pace.time_for(missing) + Duration::from_micros(1) };
        Some((self.at + wait).max(now))
    }
}

fn pace(estimate: Bitrate, is_limited: bool) -> (Bitrate, i64) {
    let (factor, time, packets) = if is_limited {
        (if estimate < THIN { THIN_PACE } else { LIMITED_PACE }, LIMITED_BURST, LIMITED_BURST_PACKETS)
    } else {
        (PACE, BURST, BURST_PACKETS)
    };
    let pace = estimate.times(factor);
    (pace, pace.octets_in(time).max(packets * FULL_PACKET).min(i64::MAX as u64 / 8) as i64)
}

/// Which frames of a layer go out that does not fit: as many whole ones as a rate has room for.
#[serde_as]
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FrameBudget {
    rate: Bitrate,
    octets: i64,
    #[serde_as(as = "Age")]
    at: Instant,
}

impl FrameBudget {
    /// A budget that admits the first frame.
    pub fn new(now: Instant) -> Self {
        Self { rate: Bitrate::ZERO, octets: 1, at: now }
    }

    /// The rate has changed.
    pub fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        self.refill(now);
        self.rate = rate;
    }

    fn refill(&mut self, now: Instant) {
        let octets = self.rate.octets_in(now.saturating_duration_since(self.at));
        if octets > 0 || self.rate == Bitrate::ZERO {
            self.octets = self.octets.saturating_add_unsigned(octets).min(1);
            self.at = now;
        }
    }

    /// Whether a frame that begins now goes out: the ones before have been paid for.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.octets > 0
    }

    /// A packet of an admitted frame.
    pub fn charge(&mut self, len: usize) {
        self.octets = self.octets.saturating_sub_unsigned(len as u64);
    }
}

impl<T> Footprint for Pacer<T> {
    fn heap_bytes(&self) -> usize {
        flat_queue(&self.retransmissions) + flat_queue(&self.pictures)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pictures_leave_at_the_pace_and_voice_when_it_comes() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, Bitrate::kbit(1000));
        (0..100).for_each(|at| assert_eq!(pacer.push(start, at), None));
        let (mut now, mut left) = (start, Vec::new());
        while let Some(due) = pacer.next_timeout(now) {
            assert!(due > now || left.is_empty(), "each wake-up sends something");
            now = due;
            while let Some(turn) = pacer.pop(now) {
                let Turn::Send(at) = turn else { panic!("{turn:?} after {:?}", now - start) };
                pacer.charge(now, 1200);
                left.push((at, now - start));
            }
        }
        assert!(left.iter().map(|(at, _)| *at).eq(0..100));
        assert_eq!(left.iter().filter(|(_, at)| at.is_zero()).count(), 12, "a burst");
        let took = left.last().map(|(_, at)| *at).unwrap_or_default();
        // 87 packets of 1200 octets at 2.5 Mbit/s.
        assert!(took > 320 * MS && took < 350 * MS, "{took:?}");
        (0..50).for_each(|_| pacer.charge(now, 1200));
        assert!(!pacer.has_room(now), "whatever voice has taken is missing");
        assert!(!pacer.has_room(now + 170 * MS));
        assert!(pacer.has_room(now + 190 * MS), "but not for ever");
    }

    #[test]
    fn a_way_that_limits_gets_no_burst_but_for_a_probe() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, Bitrate::kbit(120));
        pacer.set_rate(start, Bitrate::kbit(120), Bitrate::kbit(540));
        (0..10).for_each(|at| assert_eq!(pacer.push(start, at), None));
        let mut send = |now: Instant| {
            let turn = pacer.pop(now);
            turn.inspect(|_| pacer.charge(now, 1200)).is_some()
        };
        assert_eq!((0..10).filter(|_| send(start)).count(), 2);
        assert!(!send(start), "15 octets a millisecond");
        assert!(send(start + MS));
        assert!(!send(start + 80 * MS));
        assert!(send(start + 82 * MS));
        assert!(!send(start + 82 * MS));
        assert_eq!(pacer.pop_for_probe(), Some(4));
    }

    #[test]
    fn what_has_waited_too_long_or_is_too_much_is_dropped_and_counted() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, Bitrate::kbit(100));
        let pushed_out: Vec<_> = (0..258).filter_map(|at| pacer.push(start, at)).collect();
        assert_eq!((pushed_out, pacer.dropped()), (vec![0, 1], 2));
        assert_eq!(pacer.push_retransmission(start + MAX_AGE, 1000), None);
        let late = start + MAX_AGE + MS;
        let dropped = std::iter::from_fn(|| pacer.pop(late).filter(|turn| matches!(turn, Turn::Dropped(_)))).count();
        assert_eq!((dropped, pacer.dropped()), (256, 258));
    }

    #[test]
    fn what_is_sent_again_goes_first_and_padding_last() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now, Bitrate::kbit(1000));
        assert!(pacer.is_idle());
        pacer.push(now, "picture");
        pacer.push(now, "other picture");
        pacer.push_retransmission(now, "again");
        pacer.retain(|what| *what != "other picture");
        assert_eq!((pacer.is_idle(), pacer.waiting()), (false, 2));
        assert_eq!(pacer.pop(now), Some(Turn::Send("again")));
        assert_eq!(pacer.pop(now), Some(Turn::Send("picture")));
        assert_eq!((pacer.pop(now), pacer.is_idle(), pacer.next_timeout(now)), (None, true, None));
    }

    #[test]
    fn room_for_what_waits_is_given_back_when_nothing_has_waited_for_a_while() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, Bitrate::kbit(1000));
        let decide = |pacer: &mut Pacer<u8>, now| pacer.set_rate(now, Bitrate::kbit(1000), Bitrate::ZERO);
        (0..40).for_each(|at| assert_eq!(pacer.push(start, at), None));
        pacer.push_retransmission(start, 40);
        decide(&mut pacer, start + RESTS_AFTER);
        assert_eq!(pacer.waiting(), 41, "it waits still");
        while pacer.pop_for_probe().is_some() {}
        pacer.push(start + RESTS_AFTER, 41);
        pacer.pop_for_probe();
        decide(&mut pacer, start + 2 * RESTS_AFTER - MS);
        assert!(pacer.heap_bytes() > 0, "the next ones may be near");
        decide(&mut pacer, start + 2 * RESTS_AFTER);
        assert_eq!(pacer.heap_bytes(), 0);
    }

    #[test]
    fn as_many_frames_as_fit_go_out_whole() {
        let start = Instant::now();
        let mut budget = FrameBudget::new(start);
        budget.set_rate(start, Bitrate::kbit(100));
        // Five frames of 12,500 octets a second are 500 kbit/s.
        let frames = (0..50).filter(|at| {
            let admitted = budget.admits(start + *at * 200 * MS);
            (0..10).filter(|_| admitted).for_each(|_| budget.charge(1250));
            admitted
        });
        assert_eq!(frames.count(), 10, "one a second");
    }
}
