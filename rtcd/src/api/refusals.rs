//! Says who was refused and why, so that an admin who mistyped a key finds it: each network a few lines, however often it tries.
use crate::auth::{AuthError, Source};
use crate::logging::Pii;
use crate::metrics::{AuthRefusal, Metrics};
use rtcd_media::token_bucket::TokenBucket;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines about one network at once, and one more every ten seconds.
const BURST: f64 = 10.0;
const PER_SECOND: f64 = 0.1;
/// Lines about all of them.
const ALL_BURST: f64 = 100.0;
const ALL_PER_SECOND: f64 = 1.0;
/// Networks that are told apart.
const MAX_SOURCES: usize = 256;
/// As much of an id is shown: it is whatever a stranger has written.
const MAX_ID: usize = 64;

/// What has been said of late.
#[derive(Debug)]
pub struct Refusals(Mutex<Table>);

#[derive(Debug)]
struct Table {
    all: TokenBucket,
    sources: HashMap<Source, TokenBucket>,
    /// Refusals since the last line that were not worth one.
    unlogged: u64,
}

impl Table {
    fn may_say(&mut self, source: Source, now: Instant) -> bool {
        if self.sources.len() >= MAX_SOURCES {
            self.sources.retain(|_, bucket| bucket.used(now) > 0.0);
        }
        let is_known = self.sources.contains_key(&source);
        let own = match is_known || self.sources.len() < MAX_SOURCES {
            true => self.sources.entry(source).or_insert_with(|| TokenBucket::new(PER_SECOND, BURST, now)).take(now),
            false => true,
        };
        own && self.all.take(now)
    }
}

impl Refusals {
    /// Nothing has been said yet.
    pub fn new(now: Instant) -> Self {
        let all = TokenBucket::new(ALL_PER_SECOND, ALL_BURST, now);
        Self(Mutex::new(Table { all, sources: HashMap::new(), unlogged: 0 }))
    }

    /// Counts a refusal, and says it if there is room; `client` is who it claims to be. Other errors are no refusals.
    pub fn note(&self, metrics: &Metrics, error: &AuthError, client: Option<&str>, source: Source) {
        let reason = match error {
            AuthError::Denied(reason) => *reason,
            AuthError::Busy(_) => AuthRefusal::Busy,
            _ => return,
        };
        metrics.auth_refused(reason);
        let unlogged = {
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !table.may_say(source, Instant::now()) {
                table.unlogged += 1;
                return;
            }
            std::mem::take(&mut table.unlogged)
        };
        let client_id: Option<String> = client.map(|id| id.chars().take(MAX_ID).collect());
        let from = Pii(source);
        // The journal shows the message alone.
        tracing::warn!(client_id, reason = reason.as_str(), %from, unlogged, "authentication refused: {}", in_words(reason));
    }
}

const fn in_words(reason: AuthRefusal) -> &'static str {
    match reason {
        AuthRefusal::NoCredentials => "no credentials",
        AuthRefusal::UnknownClient => "no client of that id",
        AuthRefusal::WrongKey => "another key than the client's",
        AuthRefusal::UnknownToken => "no bearer token that is in force",
        AuthRefusal::Busy => "too many checks are waiting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    #[test]
    fn one_network_does_not_silence_the_others_and_a_flood_does_not_fill_the_log() {
        let now = Instant::now();
        let refusals = Refusals::new(now);
        let mut table = refusals.0.lock().expect("not poisoned");
        let source = |last: u8| Source::from(IpAddr::from([192, 0, 2, last]));
        let mut said = |source, now| (0..1000).filter(|_| table.may_say(source, now)).count();
        assert_eq!(said(source(1), now), 10);
        assert_eq!(said(source(2), now), 10);
        assert_eq!(said(source(1), now + Duration::from_secs(30)), 3);
        let all: usize = (0..1000u32).map(|at| said(Source::from(IpAddr::from(at.to_be_bytes())), now)).sum();
        assert!(all <= 100, "{all}");
        assert!(table.sources.len() <= MAX_SOURCES);
    }
}
