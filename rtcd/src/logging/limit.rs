//! How much one session may make us log: what a participant says must not fill a disk.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
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
/// Outside of sessions, where many may speak at once.
const ELSEWHERE: f64 = 10.0;

static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

/// Lines that were not written because their session had said too much.
pub fn suppressed() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

/// A filter by target and level that also limits each session, a target of the log apart from the others.
pub(super) struct Limited {
    targets: Targets,
    /// Which target of the log: the same span carries a budget for each.
    place: usize,
    elsewhere: Budget,
}

impl Limited {
    pub(super) fn new(targets: Targets, place: usize) -> Self {
        Self { targets, place: place % PLACES, elsewhere: Budget::new() }
    }
}

const PLACES: usize = 2;
type Budgets = [Budget; PLACES];

/// Tokens for warnings, for information and for the rest: no kind takes the place of another.
struct Budget(Mutex<([f64; 3], Instant)>);

impl Budget {
    fn new() -> Self {
        Self(Mutex::new(([BURST; 3], Instant::now())))
    }

    fn take(&self, level: Level, now: Instant, times: f64) -> bool {
        let kind = match level {
            Level::ERROR => return true,
            Level::WARN => 0,
            Level::INFO => 1,
            _ => 2,
        };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, at) = &mut *state;
        let earned = now.saturating_duration_since(*at).as_secs_f64() * PER_SECOND * times;
        tokens.iter_mut().for_each(|tokens| *tokens = (*tokens + earned).min(BURST * times));
        *at = now;
        let granted = tokens[kind] >= 1.0;
        if granted {
            tokens[kind] -= 1.0;
        }
        granted
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Limited {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        Filter::enabled(&self.targets, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Filter::<S>::callsite_enabled(&self.targets, metadata);
        // What is always wanted is not asked for again, and a line that is refused would then silence the next one.
        if interest.is_always() { Interest::sometimes() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.targets)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "session" {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Budgets>().is_none() {
            extensions.insert::<Budgets>([Budget::new(), Budget::new()]);
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        let (level, now) = (*event.metadata().level(), Instant::now());
        let session = context.event_scope(event).and_then(|mut scope| scope.find(|span| span.name() == "session"));
        let budget = session.as_ref().map(|span| span.extensions());
        let granted = match budget.as_ref().and_then(|extensions| extensions.get::<Budgets>()) {
            Some(budgets) => budgets[self.place].take(level, now, 1.0),
            None => self.elsewhere.take(level, now, ELSEWHERE),
        };
        if !granted {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_kind_of_line_has_a_budget_that_comes_back() {
        let budget = Budget::new();
        let now = Instant::now();
        let take = |level, at, wanted| (0..wanted).filter(|_| budget.take(level, at, 1.0)).count();
        assert_eq!(take(Level::WARN, now, 1000), 200);
        assert_eq!(take(Level::INFO, now, 10), 10, "another kind has its own");
        assert_eq!(take(Level::WARN, now + Duration::from_secs(3), 1000), 3);
        assert_eq!(take(Level::ERROR, now, 1000), 1000, "what is ours to mend is always told");
    }
}
