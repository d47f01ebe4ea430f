//! How many sessions each worker has. The kernel spreads them by a hash of their addresses: of 200 one worker gets 107 as a rule,
//! another 93, and the first is full while the second has room. Whoever hears a newcomer first gives it away when it has many more
//! than another; what comes for it afterwards still arrives here and is handed over. The members of a small call go to one worker:
//! each of their packets then wakes one worker and not all.
use crate::sfu::command::{Home, WorkerId};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many sessions more than another's are as good as even: a call of a few is not torn apart.
const EVEN: u32 = 4;
/// And this part of all.
const EVEN_PART: u32 = 64;
/// The same where the others of a small call are: one that grows is not torn apart by the next one that begins.
const EVEN_AT_HOME: u32 = 32;

/// What all workers know of each other.
#[derive(Debug)]
pub struct Balance {
    sessions: Box<[AtomicU32]>,
    /// Workers that nobody is to be given to, a bit for each.
    withdrawn: AtomicU64,
}

impl Balance {
    /// Of so many workers, which have no sessions yet.
    pub fn new(workers: usize) -> Self {
        Self { sessions: (0..workers).map(|_| AtomicU32::new(0)).collect(), withdrawn: AtomicU64::new(0) }
    }

    /// How many a worker has.
    pub fn note(&self, worker: WorkerId, sessions: usize) {
        if let Some(count) = self.sessions.get(usize::from(worker.0)) {
            count.store(u32::try_from(sessions).unwrap_or(u32::MAX), Relaxed);
        }
    }

    /// The worker cannot answer at all our addresses: it keeps whom it hears, and is given nobody.
    pub fn withdraw(&self, worker: WorkerId) {
        self.withdrawn.fetch_or(1 << worker.0, Relaxed);
    }

    /// Who is to take a newcomer that `worker` has heard: the worker that the others of its call are on, if it has a
    /// [`Home`], or one that has not too many.
    pub fn place(&self, worker: WorkerId, home: Option<&Home>) -> WorkerId {
        let Some(home) = home else { return self.even(worker, worker, EVEN) };
        if let Some(known) = home.worker() {
            return self.even(worker, known, EVEN_AT_HOME);
        }
        let chosen = self.even(worker, worker, EVEN);
        match home.settle(chosen) {
            known if known == chosen => chosen,
            known => self.even(worker, known, EVEN_AT_HOME),
        }
    }

    /// The wanted one, if it does not have so many more than the one that has fewest, and can answer everybody that `worker`
    /// hears.
    fn even(&self, worker: WorkerId, wanted: WorkerId, even: u32) -> WorkerId {
        let count = |of: usize| self.sessions.get(of).map_or(0, |count| count.load(Relaxed));
        let withdrawn = self.withdrawn.load(Relaxed);
        let can_take = |of: usize| of < self.sessions.len() && withdrawn >> of & 1 == 0;
        let Some(lightest) = (0..self.sessions.len()).filter(|of| can_take(*of)).min_by_key(|of| count(*of)) else {
            return worker;
        };
        let total = (0..self.sessions.len()).map(count).fold(0, u32::saturating_add);
        let wanted_at = usize::from(wanted.0);
        let is_even = count(wanted_at) <= count(lightest) + even + total / EVEN_PART;
        let taker = if is_even && (wanted == worker || can_take(wanted_at)) { wanted_at } else { lightest };
        if taker != usize::from(worker.0) {
            // It notes its sessions by itself when it has the newcomer; until then others are to know.
            self.sessions[taker].fetch_add(1, Relaxed);
        }
        WorkerId(taker as u8)
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
            (0..2).for_each(|worker| balance.note(WorkerId(worker), sessions[usize::from(worker)]));
            if newcomer == 5 {
                assert_eq!(sessions, [4, 2], "a few stay where the kernel has put them");
            }
        }
        assert!(sessions[0].abs_diff(sessions[1]) <= 11, "{sessions:?}");
    }

    #[test]
    fn who_gives_many_away_at_once_does_not_wait_to_hear_of_them() {
        let balance = Balance::new(3);
        balance.note(WorkerId(0), 30);
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
        assert_eq!([1, 0, 1, 0].map(|heard_by| places(&call, heard_by)), [1; 4]);
        assert_eq!([0, 1].map(|heard_by| places(&other, heard_by)), [0; 2], "each call its own");
        balance.note(WorkerId(1), 30);
        assert_eq!(places(&call, 0), 1, "it stays together");
        assert_eq!(places(&Home::default(), 1), 0, "another begins where there is room");
        balance.note(WorkerId(1), 60);
        assert_eq!([0, 1].map(|heard_by| places(&call, heard_by)), [0; 2], "nobody is to be late for that");
        balance.note(WorkerId(1), 0);
        balance.withdraw(WorkerId(1));
        assert_eq!([0, 1].map(|heard_by| places(&call, heard_by)), [0, 1], "who hears them can answer them");
    }
}
