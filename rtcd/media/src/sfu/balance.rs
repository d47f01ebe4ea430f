//! How many sessions each worker has. The kernel spreads them by a hash of their addresses: of 200 one worker gets 107 as a rule,
//! another 93, and the first is full while the second has room. Whoever hears a newcomer first gives it away when it has more than
//! another; what comes for it afterwards is handed over until the kernel knows where it belongs. The members of a small call go to
//! one worker: each of their packets then wakes one worker and not all.
use crate::sfu::command::{Home, WorkerId};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many sessions more than another's are as good as even: whoever comes stays where the kernel has brought it.
const EVEN: u32 = 4;
/// The same where the others of a small call are: one that grows is not torn apart by those that begin after it.
const EVEN_AT_HOME: u32 = 192;
/// A small call begins on the first worker that has not so many more than another one, so that a few calls wake one worker and not
/// all. The first one, as calls that begin at the same time are to come to the same.
const GATHERED: u32 = 96;
/// A worker that works for more than this part of its time is to be given nobody while another one does not.
const BUSY: f32 = 0.3;

/// What all workers know of each other.
#[derive(Debug)]
pub struct Balance {
    sessions: Box<[AtomicU32]>,
    /// The part of its time that each has worked lately: the bits of a number.
    loads: Box<[AtomicU32]>,
    /// Workers that nobody is to be given to, a bit for each.
    withdrawn: AtomicU64,
}

impl Balance {
    /// Of so many workers, which have no sessions yet.
    pub fn new(workers: usize) -> Self {
        let zeros = || (0..workers).map(|_| AtomicU32::new(0)).collect();
        Self { sessions: zeros(), loads: zeros(), withdrawn: AtomicU64::new(0) }
    }

    /// How many sessions a worker has, and the part of its time that it works.
    pub fn note(&self, worker: WorkerId, sessions: usize, load: f64) {
        let at = usize::from(worker.0);
        if let (Some(count), Some(known)) = (self.sessions.get(at), self.loads.get(at)) {
            count.store(u32::try_from(sessions).unwrap_or(u32::MAX), Relaxed);
            known.store((load as f32).to_bits(), Relaxed);
        }
    }

    /// The worker cannot answer at all our addresses: it keeps whom it hears, and is given nobody.
    pub fn withdraw(&self, worker: WorkerId) {
        self.withdrawn.fetch_or(1 << worker.0, Relaxed);
    }

    /// Who is to take a newcomer that `worker` has heard: the worker that the others of its call are on, if it has a
    /// [`Home`], or one that has not too many.
    pub fn place(&self, worker: WorkerId, home: Option<&Home>) -> WorkerId {
        match home {
            Some(home) => {
                let home = home.worker().unwrap_or_else(|| home.settle(self.gathering(worker)));
                self.even(worker, home, EVEN_AT_HOME)
            }
            None => self.even(worker, worker, EVEN),
        }
    }

    /// Where a call begins of which `worker` hears the first one.
    fn gathering(&self, worker: WorkerId) -> WorkerId {
        let Some(fewest) = self.takers().map(|of| self.count(of)).min() else { return worker };
        self.takers().find(|of| self.count(*of) <= fewest.saturating_add(GATHERED)).unwrap_or(worker)
    }

    fn count(&self, worker: WorkerId) -> u32 {
        self.sessions.get(usize::from(worker.0)).map_or(0, |count| count.load(Relaxed))
    }

    fn is_busy(&self, worker: WorkerId) -> bool {
        let load = self.loads.get(usize::from(worker.0)).map_or(0, |load| load.load(Relaxed));
        f32::from_bits(load) > BUSY
    }

    /// Those that somebody may be given to.
    fn takers(&self) -> impl Iterator<Item = WorkerId> {
        let withdrawn = self.withdrawn.load(Relaxed);
        let able = move || (0..self.sessions.len() as u8).filter(move |of| withdrawn >> of & 1 == 0).map(WorkerId);
        let are_all_busy = able().all(|of| self.is_busy(of));
        able().filter(move |of| are_all_busy || !self.is_busy(*of))
    }

    /// The wanted one, if it may be given somebody, and does not have so many more than the one that has fewest.
    fn even(&self, worker: WorkerId, wanted: WorkerId, even: u32) -> WorkerId {
        let Some(lightest) = self.takers().min_by_key(|of| self.count(*of)) else { return worker };
        let is_even = self.count(wanted) <= self.count(lightest).saturating_add(even);
        let taker = if is_even && self.may_have(worker, wanted) { wanted } else { lightest };
        if taker != worker {
            // It notes its sessions by itself when it has the newcomer; until then others are to know.
            self.sessions[usize::from(taker.0)].fetch_add(1, Relaxed);
        }
        taker
    }

    /// Who cannot answer at all our addresses can answer whom it hears.
    fn may_have(&self, worker: WorkerId, wanted: WorkerId) -> bool {
        wanted == worker && !self.is_busy(wanted) || self.takers().any(|of| of == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_go_elsewhere_only_when_a_worker_has_many_more() {
        let balance = Balance::new(2);
        let mut sessions = [0, 0];
        // A hash that likes one worker better.
        for newcomer in 0..400 {
            let heard_by = WorkerId(u8::from(newcomer % 3 == 0));
            let taker = balance.place(heard_by, None);
            sessions[usize::from(taker.0)] += 1;
            (0..2).for_each(|worker| balance.note(WorkerId(worker), sessions[usize::from(worker)], 0.0));
            if newcomer == 5 {
                assert_eq!(sessions, [4, 2], "a few stay where the kernel has put them");
            }
        }
        assert!(sessions[0].abs_diff(sessions[1]) <= 11, "{sessions:?}");
    }

    #[test]
    fn who_gives_many_away_at_once_does_not_wait_to_hear_of_them() {
        let balance = Balance::new(3);
        balance.note(WorkerId(0), 30, 0.0);
        let taken: Vec<_> = (0..60).map(|_| balance.place(WorkerId(0), None).0).collect();
        let by = |worker| taken.iter().filter(|taker| **taker == worker).count();
        assert!((24..=30).contains(&by(1)) && (24..=30).contains(&by(2)), "{taken:?}");
        balance.withdraw(WorkerId(1));
        assert!((0..60).all(|_| balance.place(WorkerId(0), None) != WorkerId(1)), "it cannot answer everybody");
        assert_eq!(Balance::new(1).place(WorkerId(0), None), WorkerId(0));
    }

    #[test]
    fn the_members_of_a_small_call_go_to_one_worker_until_that_has_too_many() {
        let balance = Balance::new(2);
        let (call, other) = (Home::default(), Home::default());
        let places = |home: &Home, heard_by: u8| balance.place(WorkerId(heard_by), Some(home)).0;
        assert_eq!([1, 0, 1, 0].map(|heard_by| places(&call, heard_by)), [0; 4]);
        assert_eq!([0, 1].map(|heard_by| places(&other, heard_by)), [0; 2], "the next call wakes nobody else");
        balance.note(WorkerId(0), 96, 0.0);
        assert_eq!(places(&Home::default(), 0), 0);
        balance.note(WorkerId(0), 97, 0.0);
        assert_eq!(places(&Home::default(), 0), 1, "another begins where there is room");
        assert_eq!(places(&call, 1), 0, "and it stays together");
        balance.note(WorkerId(0), 200, 0.0);
        assert_eq!([0, 1].map(|heard_by| places(&call, heard_by)), [1; 2], "nobody is to be late for that");
        balance.note(WorkerId(0), 0, 0.0);
        balance.withdraw(WorkerId(0));
        assert_eq!([0, 1].map(|heard_by| places(&call, heard_by)), [0, 1], "who hears them can answer them");
    }

    #[test]
    fn a_busy_worker_is_given_nobody_while_another_has_time() {
        let balance = Balance::new(2);
        let call = Home::default();
        balance.note(WorkerId(0), 10, 0.1);
        assert_eq!(balance.place(WorkerId(1), Some(&call)).0, 0);
        balance.note(WorkerId(0), 11, 0.9);
        for home in [Some(&call), Some(&Home::default()), None] {
            balance.note(WorkerId(1), 100, 0.1);
            assert_eq!(balance.place(WorkerId(0), home).0, 1, "{home:?}");
        }
        balance.note(WorkerId(1), 11, 0.9);
        assert_eq!([0, 1].map(|heard_by| balance.place(WorkerId(heard_by), Some(&call)).0), [0; 2]);
        assert_eq!([0, 1].map(|heard_by| balance.place(WorkerId(heard_by), None).0), [0, 1]);
    }
}
