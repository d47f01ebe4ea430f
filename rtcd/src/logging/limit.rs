//! How much one session, one client and all together may make us log: what others say must not fill a disk.
use rtcd_media::token_bucket::TokenBucket;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// Lines of one kind at once: a busy participant's day.
const BURST: f64 = 200.0;
/// Lines of one kind a second after that: 250 bytes each are 21 MB a day.
const PER_SECOND: f64 = 1.0;
/// What belongs to no client.
const ELSEWHERE: f64 = 10.0;
/// A client, which may make new sessions all day: 4000 lines at once, then twenty a second.
const CLIENT: f64 = 20.0;
/// All together: 10,000 lines of one kind at once, then fifty a second.
const ALL: f64 = 50.0;
/// Clients whose budgets are remembered; the rest shares one.
const MAX_CLIENTS: usize = 1024;

static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

/// Lines that were not written because their session or client, or all together, had said too much.
pub fn suppressed() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

/// A filter by target and level that also limits each session and client, a target of the log apart from the others.
pub(super) struct Limited {
    targets: Arc<RwLock<Targets>>,
    /// Which target of the log: the same span carries a budget for each.
    place: usize,
    all: Budget,
    elsewhere: Arc<Budget>,
    clients: Mutex<HashMap<Box<str>, Arc<Budget>>>,
}

impl Limited {
    pub(super) fn new(targets: Targets, place: usize) -> Self {
        let (all, elsewhere, clients) = (Budget::new(ALL), Arc::new(Budget::new(ELSEWHERE)), Mutex::default());
        let (targets, place) = (Arc::new(RwLock::new(targets)), place % PLACES);
        // The last one that is made is the one that logs.
        *TARGETS[place].write().unwrap_or_else(PoisonError::into_inner) = Some(targets.clone());
        Self { targets, place, all, elsewhere, clients }
    }

    fn targets(&self) -> RwLockReadGuard<'_, Targets> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, id: &str) -> Arc<Budget> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = clients.get(id) {
            return budget.clone();
        }
        if clients.len() >= MAX_CLIENTS {
            let now = Instant::now();
            clients.retain(|_, budget| !budget.is_full(now));
        }
        if clients.len() >= MAX_CLIENTS {
            return self.elsewhere.clone();
        }
        clients.entry(id.into()).or_insert_with(|| Arc::new(Budget::new(CLIENT))).clone()
    }
}

const PLACES: usize = 3;
/// The place of the lines in memory: what they leave out is missed in none of the others.
pub(super) const RECENT: usize = 2;

/// What each target of the log takes.
static TARGETS: [RwLock<Option<Arc<RwLock<Targets>>>>; PLACES] = [const { RwLock::new(None) }; PLACES];

/// A target of the log takes this from now on, if there is one.
pub(super) fn set_targets(place: usize, targets: Targets) {
    let known = TARGETS[place % PLACES].read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = &*known {
        *known.write().unwrap_or_else(PoisonError::into_inner) = targets;
    }
}

type Budgets = [Budget; PLACES];

/// Whose lines these are, kept with a span.
struct Client(Box<str>);

/// Tokens for errors, for warnings, for information and for the rest: no kind takes the place of another.
struct Budget(Mutex<[TokenBucket; 4]>);

impl Budget {
    fn new(times: f64) -> Self {
        Self(Mutex::new([TokenBucket::new(PER_SECOND * times, BURST * times, Instant::now()); 4]))
    }

    fn take(&self, level: Level, now: Instant) -> bool {
        let kind = match level {
            Level::ERROR => 0,
            Level::WARN => 1,
            Level::INFO => 2,
            _ => 3,
        };
        self.kinds()[kind].take(now)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.kinds().iter().all(|kind| kind.used(now) <= 0.0)
    }

    fn kinds(&self) -> MutexGuard<'_, [TokenBucket; 4]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of `group_id`.
#[derive(Default)]
struct GroupId(Option<Box<str>>);

impl Visit for GroupId {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "group_id" {
            self.0 = Some(value.into());
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "group_id" {
            self.0 = Some(format!("{value:?}").into());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Limited {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        Filter::enabled(&*self.targets(), metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Filter::<S>::callsite_enabled(&*self.targets(), metadata);
        // What is always wanted is not asked for again, and a line that is refused would then silence the next one.
        if interest.is_always() { Interest::sometimes() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&*self.targets())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let mut group = GroupId::default();
        attributes.record(&mut group);
        if let Some(group) = group.0
            && extensions.get_mut::<Client>().is_none()
        {
            extensions.insert(Client(group));
        }
        if attributes.metadata().name() == "session" && extensions.get_mut::<Budgets>().is_none() {
            extensions.insert::<Budgets>(std::array::from_fn(|_| Budget::new(1.0)));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        let (level, now) = (*event.metadata().level(), Instant::now());
        let mut of_session = true;
        let mut client = GroupId::default();
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            // What is ours to mend is told, whoever is concerned.
            if let Some(budgets) = extensions.get::<Budgets>().filter(|_| level != Level::ERROR) {
                of_session &= budgets[self.place].take(level, now);
            }
            client.0 = client.0.or_else(|| extensions.get::<Client>().map(|Client(id)| id.clone()));
        }
        if client.0.is_none() {
            event.record(&mut client);
        }
        let granted = of_session
            && (level == Level::ERROR
                || client.0.map_or_else(|| self.elsewhere.clone(), |id| self.client(&id)).take(level, now))
            && self.all.take(level, now);
        if !granted && self.place != RECENT {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::super::captured::Captured;
    use super::*;
    use std::time::Duration;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn each_kind_of_line_has_a_budget_that_comes_back() {
        let budget = Budget::new(1.0);
        let now = Instant::now();
        let take = |level, at, wanted| (0..wanted).filter(|_| budget.take(level, at)).count();
        assert_eq!(take(Level::WARN, now, 1000), 200);
        assert_eq!(take(Level::INFO, now, 10), 10, "another kind has its own");
        assert_eq!(take(Level::WARN, now + Duration::from_secs(3), 1000), 3);
        assert_eq!(take(Level::ERROR, now, 1000), 200);
    }

    #[test]
    fn new_sessions_do_not_give_a_client_more_and_other_clients_not_less() {
        let lines = Captured::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let layer = layer.with_filter(Limited::new(Targets::new().with_default(LevelFilter::INFO), 0));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..10_000 {
                tracing::info_span!("session", group_id = "loud").in_scope(|| tracing::info!("joined"));
                tracing::info!(group_id = "loud", "refused");
            }
            tracing::info_span!("session", group_id = "quiet").in_scope(|| tracing::info!("heard"));
            tracing::info!("heard, too");
        });
        let text = lines.text();
        let loud = text.lines().filter(|line| line.contains("loud")).count();
        assert!((4000..8000).contains(&loud), "{loud}");
        assert_eq!(text.matches("heard").count(), 2);
    }
}
