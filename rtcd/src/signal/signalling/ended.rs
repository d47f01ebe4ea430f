//! The sessions that have ended of late: clients still speak to them for a while, and that is no fault.
use crate::ids::{ClientId, SessionId};
use rtcd_media::footprint::{Footprint, flat_queue};
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

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.order.len()
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

/// Names are shared between the two.
impl Footprint for Ended {
    fn heap_bytes(&self) -> usize {
        let places = flat_queue(&self.order) + self.names.capacity() * 8 / 7 * (size_of::<(ClientId, SessionId)>() + 1);
        places + self.order.iter().map(|(_, session)| session.heap_bytes()).sum::<usize>()
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
