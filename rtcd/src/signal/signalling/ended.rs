//! The sessions that have ended of late: clients still speak to them for a while, and that is no fault.
use crate::ids::{ClientId, SessionId};
use std::collections::{HashSet, VecDeque};

/// As many as end in some seconds of a very busy machine.
const REMEMBERED: usize = 4096;

/// A bounded memory of names.
#[derive(Debug, Default)]
pub(super) struct Ended {
    order: VecDeque<(ClientId, SessionId)>,
    names: HashSet<(ClientId, SessionId)>,
}

impl Ended {
    /// A session has ended, or was never let in.
    pub(super) fn insert(&mut self, client: ClientId, session: SessionId) {
        if !self.names.insert((client.clone(), session.clone())) {
            return;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        self.order.push_back((client, session));
    }

    /// All of them, oldest first.
    pub(super) fn write(&self) -> Vec<(ClientId, SessionId)> {
        self.order.iter().cloned().collect()
    }

    /// Whether a session of that name has ended of late.
    pub(super) fn contains(&self, client: &ClientId, session: &SessionId) -> bool {
        self.names.contains(&(client.clone(), session.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut ended = Ended::default();
        for number in 0..=REMEMBERED {
            ended.insert("client".into(), number.to_string().as_str().into());
        }
        assert!(!ended.contains(&"client".into(), &"0".into()));
        assert!(ended.contains(&"client".into(), &"1".into()));
        assert!(!ended.contains(&"another".into(), &"1".into()));
        assert_eq!(ended.order.len(), REMEMBERED);
    }
}
