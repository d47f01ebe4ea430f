//! What fails again and again is said once, and once more when it works again.
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether one thing is known to fail.
#[derive(Debug, Default)]
pub struct Once(AtomicBool);

impl Once {
    /// Nothing has failed yet.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }
    /// It failed; whether that is news.
    pub fn failed(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
    /// It worked; whether that is news.
    pub fn works(&self) -> bool {
        // Read first: this is called often, and the line of memory may be shared.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
    /// Whether it failed the last time.
    pub fn is_failing(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The same for many things of one kind.
#[derive(Debug)]
pub struct OnceEach<K>(HashSet<K>);

impl<K> Default for OnceEach<K> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<K: Hash + Eq> OnceEach<K> {
    /// This one failed; whether that is news.
    pub fn failed(&mut self, key: K) -> bool {
        self.0.insert(key)
    }
    /// This one worked; whether that is news.
    pub fn works(&mut self, key: &K) -> bool {
        self.0.remove(key)
    }
    /// Whether any of them failed the last time.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }
    /// Of all others it is of no interest any more whether they fail.
    pub fn retain(&mut self, interesting: impl Fn(&K) -> bool) {
        self.0.retain(|key| interesting(key));
    }
    /// Only these fail; what is new about that.
    pub fn only(&mut self, failing: impl IntoIterator<Item = K>) -> Vec<K>
    where
        K: Clone,
    {
        let failing: HashSet<K> = failing.into_iter().collect();
        let news = failing.difference(&self.0).cloned().collect();
        self.0 = failing;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_and_its_end_are_news_once_each() {
        let once = Once::new();
        assert!(!once.works());
        assert!(once.failed() && !once.failed());
        assert!(once.works() && !once.works());
        let mut each = OnceEach::default();
        assert!(each.failed(1) && each.failed(2) && !each.failed(1));
        assert_eq!(each.only([2, 3]), [3]);
        assert!(each.works(&3) && !each.works(&1) && each.any());
    }
}
