//! Links to the check page: who holds one may open the page for an hour, and run it 20 times. Nothing of them is written down,
//! and what is kept of a token is its hash.
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;

/// The longest life of a link.
pub const MAX_LIFE: Duration = Duration::from_secs(60 * 60);

/// Runs that a link is good for.
pub const USES: u32 = 20;

/// Links that are known at a time, ended ones among them; the oldest makes room.
const MAX_LINKS: usize = 32;

/// How long an ended link is still known, so that who comes late is told so.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// Random bytes of a token: 192 bits.
const TOKEN_BYTES: usize = 24;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Good, and for so many more runs.
    Alive {
        /// Of the link, for logs.
        number: u64,
        /// Runs that are left.
        uses_left: u32,
    },
    /// Its time is over.
    Expired,
    /// All its runs have been used.
    UsedUp,
    /// Never heard of, or forgotten: a restart ends all.
    Unknown,
}

struct Link {
    number: u64,
    hash: [u8; 32],
    ends: Instant,
    uses_left: u32,
}

impl Link {
    fn standing(&self, now: Instant) -> Standing {
        match self {
            _ if self.ends <= now => Standing::Expired,
            Self { uses_left: 0, .. } => Standing::UsedUp,
            Self { number, uses_left, .. } => Standing::Alive { number: *number, uses_left: *uses_left },
        }
    }
}

/// All links, the oldest first.
#[derive(Default)]
pub struct Links {
    all: VecDeque<Link>,
    made: u64,
    /// Somebody sees to it that the door is closed behind the last of them.
    pub is_minded: bool,
}

impl Links {
    /// A new link: its token, which is known to nobody else from now on, and its number.
    pub fn make(&mut self, now: Instant, life: Duration) -> (String, u64) {
        self.forget(now);
        if self.all.len() >= MAX_LINKS {
            self.all.pop_front();
        }
        let token = BASE64URL_NOPAD.encode(&rand::random::<[u8; TOKEN_BYTES]>());
        self.made += 1;
        let ends = now + life.min(MAX_LIFE);
        self.all.push_back(Link { number: self.made, hash: hash(&token), ends, uses_left: USES });
        (token, self.made)
    }

    /// What a token is good for now.
    pub fn standing(&self, now: Instant, token: &str) -> Standing {
        self.find(token).map_or(Standing::Unknown, |at| self.all[at].standing(now))
    }

    /// Takes one run of it, if there is one; what it was good for.
    pub fn run(&mut self, now: Instant, token: &str) -> Standing {
        let Some(at) = self.find(token) else { return Standing::Unknown };
        let standing = self.all[at].standing(now);
        if matches!(standing, Standing::Alive { .. }) {
            self.all[at].uses_left -= 1;
        }
        standing
    }

    /// Until when somebody with a link may come, for the page or to hear that it has ended.
    pub fn open_until(&mut self, now: Instant) -> Option<Instant> {
        self.forget(now);
        self.all.iter().map(|link| link.ends + REMEMBERED).max()
    }

    fn forget(&mut self, now: Instant) {
        self.all.retain(|link| link.ends + REMEMBERED > now);
    }

    /// Looks at all of them, whichever it is: the time that takes says nothing.
    fn find(&self, token: &str) -> Option<usize> {
        let hash = hash(token);
        let mut found = None;
        for (at, link) in self.all.iter().enumerate() {
            if bool::from(link.hash.ct_eq(&hash)) {
                found = Some(at);
            }
        }
        found
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_ends_by_its_time_and_by_its_uses_and_then_says_so_for_a_while() {
        let (mut links, now) = (Links::default(), Instant::now());
        let (token, number) = links.make(now, MAX_LIFE);
        assert_eq!(token.len(), 32);
        for left in (1..=USES).rev() {
            assert_eq!(links.run(now, &token), Standing::Alive { number, uses_left: left });
        }
        assert_eq!(links.run(now, &token), Standing::UsedUp);
        assert_eq!(links.standing(now, &token), Standing::UsedUp);
        let late = now + MAX_LIFE;
        assert_eq!(links.standing(late, &token), Standing::Expired);
        assert_eq!(links.open_until(late), Some(late + REMEMBERED));
        assert_eq!(links.open_until(late + REMEMBERED), None);
        assert_eq!(links.standing(late + REMEMBERED, &token), Standing::Unknown);
    }

    #[test]
    fn no_link_lives_longer_than_an_hour_and_the_oldest_makes_room() {
        let (mut links, now) = (Links::default(), Instant::now());
        let (first, _) = links.make(now, 24 * MAX_LIFE);
        assert_eq!(links.standing(now + MAX_LIFE, &first), Standing::Expired);
        let tokens: Vec<_> = (0..MAX_LINKS).map(|_| links.make(now, MAX_LIFE).0).collect();
        assert_eq!(links.standing(now, &first), Standing::Unknown);
        assert!(tokens.iter().all(|token| matches!(links.standing(now, token), Standing::Alive { .. })));
        assert_eq!(links.standing(now, ""), Standing::Unknown);
        assert_eq!(links.standing(now, &tokens[0][1..]), Standing::Unknown);
    }
}
