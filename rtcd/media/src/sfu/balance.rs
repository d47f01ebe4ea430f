//! How many sessions each worker has. The kernel spreads them by a hash of their addresses: of 200 one worker gets 107 as a rule,
//! another 93, and the first is full while the second has room. Whoever hears a newcomer first gives it away when it has many more
//! than another; what comes for it afterwards still arrives here and is handed over.
use crate::sfu::command::WorkerId;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many sessions more than another's are as good as even: a call of a few is not torn apart.
const EVEN: u32 = 4;
/// And this part of all.
const EVEN_PART: u32 = 64;

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

    /// Who is to take a newcomer that `worker` has heard.
    pub fn place(&self, worker: WorkerId) -> WorkerId {
        let count = |of: usize| self.sessions.get(of).map_or(0, |count| count.load(Relaxed));
        let withdrawn = self.withdrawn.load(Relaxed);
        let others = (0..self.sessions.len()).filter(|other| withdrawn >> other & 1 == 0);
        let Some(lightest) = others.min_by_key(|other| count(*other)) else { return worker };
        let total = (0..self.sessions.len()).map(count).fold(0, u32::saturating_add);
        if count(usize::from(worker.0)) <= count(lightest) + EVEN + total / EVEN_PART {
            return worker;
        }
        // It notes its sessions by itself when it has the newcomer; until then others are to know.
        self.sessions[lightest].fetch_add(1, Relaxed);
        WorkerId(lightest as u8)
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
            let taker = balance.place(heard_by);
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
        let taken: Vec<_> = (0..60).map(|_| balance.place(WorkerId(0)).0).collect();
        let by = |worker| taken.iter().filter(|taker| **taker == worker).count();
        assert!((24..=30).contains(&by(1)) && (24..=30).contains(&by(2)), "{taken:?}");
        balance.withdraw(WorkerId(1));
        assert!((0..60).all(|_| balance.place(WorkerId(0)) != WorkerId(1)), "it cannot answer everybody");
        assert_eq!(Balance::new(1).place(WorkerId(0)), WorkerId(0));
    }
}
