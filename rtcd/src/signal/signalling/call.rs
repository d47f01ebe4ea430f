//! Groups and calls: who is in which, and who shares a screen.
use super::handover::CallRecord;
use crate::ids::{CallId, ClientId};
use rtcd_media::footprint::{Footprint, flat, flat_table};
use rtcd_media::sfu::command::{Home, TransportId};
use std::collections::HashMap;
use std::sync::Arc;

/// A call of so many is small: with a screen, six cameras and six voices it was a fifth of what a worker has time for. Whoever
/// comes beyond that is spread over all workers.
const SMALL: usize = 100;

#[derive(Debug, Default)]
struct Call {
    sessions: Vec<TransportId>,
    screen: Option<(TransportId, String)>,
    /// The worker of its first [`SMALL`] members.
    home: Arc<Home>,
}

/// All calls, each under its group. A call without sessions does not exist, nor does a group without calls.
#[derive(Debug, Default)]
pub struct Calls {
    calls: HashMap<(ClientId, CallId), Call>,
}

/// Somebody else is sharing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("another session of the call shares its screen")]
pub struct ScreenTaken;

impl Calls {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Who is in a call, by age; `None` when there is no such call.
    pub fn sessions(&self, group: &ClientId, call: &CallId) -> Option<&[TransportId]> {
        self.calls.get(&(group.clone(), call.clone())).map(|call| call.sessions.as_slice())
    }

    /// All of them, for another process.
    pub fn write(&self) -> Vec<CallRecord> {
        let record = |((group, call), known): (&(ClientId, CallId), &Call)| CallRecord {
            group: group.clone(),
            call: call.clone(),
            sessions: known.sessions.clone(),
            screen: known.screen.clone(),
        };
        self.calls.iter().map(record).collect()
    }

    /// Goes on with those of another process, with whoever of it is here.
    pub fn start(&mut self, records: Vec<CallRecord>, is_here: impl Fn(&TransportId) -> bool) {
        for CallRecord { group, call, mut sessions, screen } in records {
            sessions.retain(&is_here);
            if !sessions.is_empty() {
                let screen = screen.filter(|(sharer, _)| is_here(sharer));
                self.calls.insert((group, call), Call { sessions, screen, home: Arc::default() });
            }
        }
    }

    /// Everybody in a call but one.
    pub fn others(&self, group: &ClientId, call: &CallId, me: TransportId) -> Vec<TransportId> {
        self.sessions(group, call).unwrap_or_default().iter().copied().filter(|id| *id != me).collect()
    }

    /// The worker that members of a call are to be on, while it is small.
    pub fn home(&self, group: &ClientId, call: &CallId) -> Option<Arc<Home>> {
        let call = self.calls.get(&(group.clone(), call.clone()))?;
        (call.sessions.len() <= SMALL).then(|| call.home.clone())
    }

    /// Somebody comes; the first one makes the call.
    pub fn join(&mut self, group: &ClientId, call: &CallId, id: TransportId) {
        self.calls.entry((group.clone(), call.clone())).or_default().sessions.push(id);
    }

    /// Somebody goes; the last one ends the call.
    pub fn leave(&mut self, group: &ClientId, call: &CallId, id: TransportId) {
        let key = (group.clone(), call.clone());
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.sessions.retain(|other| *other != id);
        call.screen.take_if(|(sharer, _)| *sharer == id);
        if call.sessions.is_empty() {
            self.calls.remove(&key);
        }
    }

    /// The stream that a session shares as its screen.
    pub fn screen(&self, group: &ClientId, call: &CallId, id: TransportId) -> Option<&str> {
        let (sharer, stream) = self.calls.get(&(group.clone(), call.clone()))?.screen.as_ref()?;
        (*sharer == id).then_some(stream)
    }

    /// A session begins to share; a new stream of the same session takes the place of its old one, which is returned.
    pub fn share(
        &mut self,
        group: &ClientId,
        call: &CallId,
        id: TransportId,
        stream: &str,
    ) -> Result<Option<String>, ScreenTaken> {
        let Some(call) = self.calls.get_mut(&(group.clone(), call.clone())) else { return Ok(None) };
        if call.screen.as_ref().is_some_and(|(sharer, _)| *sharer != id) {
            return Err(ScreenTaken);
        }
        Ok(call.screen.replace((id, stream.into())).map(|(_, old)| old))
    }

    /// A session stops sharing; the stream that it shared.
    pub fn unshare(&mut self, group: &ClientId, call: &CallId, id: TransportId) -> Option<String> {
        let call = self.calls.get_mut(&(group.clone(), call.clone()))?;
        call.screen.take_if(|(sharer, _)| *sharer == id).map(|(_, stream)| stream)
    }
}

impl Footprint for Calls {
    fn heap_bytes(&self) -> usize {
        flat_table(&self.calls) + self.calls.values().map(|call| flat(&call.sessions)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_shares_at_a_time() {
        let (group, call) = (ClientId::from("g"), CallId::from("c"));
        let (ann, bob) = (TransportId(1), TransportId(2));
        let mut calls = Calls::default();
        calls.join(&group, &call, ann);
        calls.join(&group, &call, bob);
        assert_eq!(calls.share(&group, &call, ann, "one"), Ok(None));
        assert_eq!(calls.share(&group, &call, bob, "two"), Err(ScreenTaken));
        assert_eq!(calls.share(&group, &call, ann, "three"), Ok(Some("one".into())));
        assert_eq!(calls.unshare(&group, &call, bob), None);
        calls.leave(&group, &call, ann);
        assert_eq!(calls.share(&group, &call, bob, "two"), Ok(None), "who leaves shares no more");
        calls.leave(&group, &call, bob);
        assert_eq!(calls.len(), 0);
    }
}
