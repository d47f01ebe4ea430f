//! Messages about sessions whose client has no connection: they wait a while for it to come back, as it does when this
//! process has taken over from another one, or the network between has hiccuped.
use super::output::Envelope;
use crate::ids::ClientId;
use crate::signal::message::{RtcMessage, ServerMessage};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a message waits: a client that has not come back by then has lost its calls, too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages and bytes that wait for one client, and bytes for all.
const MAX_MESSAGES: usize = 2048;
const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_ALL_BYTES: usize = 16 * 1024 * 1024;
/// What a message costs besides its payload.
const OVERHEAD: usize = 256;

#[derive(Debug)]
struct Waiting {
    envelope: Envelope,
    /// Since when, as far as anybody has looked.
    since: Option<Instant>,
}

/// What waits for each client, oldest first.
#[derive(Debug, Default)]
pub(super) struct Away {
    clients: HashMap<ClientId, VecDeque<Waiting>>,
    bytes: usize,
}

fn len(envelope: &Envelope) -> usize {
    let payload = match &envelope.message {
        ServerMessage::Rtc(RtcMessage { data, .. }) | ServerMessage::Vad(RtcMessage { data, .. }) => data.len(),
        ServerMessage::Hello { .. } | ServerMessage::Close { .. } => 0,
    };
    payload + OVERHEAD
}

impl Away {
    /// What they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message waits from now on. The oldest of its client, or of the client with the most of them, go for it: they come
    /// back.
    pub(super) fn put(&mut self, envelope: Envelope) -> Vec<Envelope> {
        let client = envelope.client.clone();
        let new = len(&envelope);
        self.bytes += new;
        let of_client = self.clients.entry(client.clone()).or_default();
        of_client.push_back(Waiting { envelope, since: None });
        let mut dropped = Vec::new();
        while self.clients.get(&client).is_some_and(|queue| {
            let bytes: usize = queue.iter().map(|waiting| len(&waiting.envelope)).sum();
            queue.len() > MAX_MESSAGES || bytes > MAX_BYTES
        }) {
            dropped.extend(self.drop_oldest(&client));
        }
        while self.bytes > MAX_ALL_BYTES {
            let heaviest = self.clients.iter().max_by_key(|(_, queue)| queue.len()).map(|(client, _)| client.clone());
            let Some(heaviest) = heaviest else { break };
            dropped.extend(self.drop_oldest(&heaviest));
        }
        dropped
    }

    fn drop_oldest(&mut self, client: &ClientId) -> Option<Envelope> {
        let queue = self.clients.get_mut(client)?;
        let oldest = queue.pop_front();
        if queue.is_empty() {
            self.clients.remove(client);
        }
        let envelope = oldest?.envelope;
        self.bytes -= len(&envelope);
        Some(envelope)
    }

    /// A connection of the client is up: all that has waited for it.
    pub(super) fn take(&mut self, client: &ClientId) -> impl Iterator<Item = Envelope> + use<> {
        let queue = self.clients.remove(client).unwrap_or_default();
        self.bytes -= queue.iter().map(|waiting| len(&waiting.envelope)).sum::<usize>();
        queue.into_iter().map(|waiting| waiting.envelope)
    }

    /// All that waits, for another process.
    pub(super) fn drain(&mut self) -> Vec<Envelope> {
        self.bytes = 0;
        self.clients.drain().flat_map(|(_, queue)| queue).map(|waiting| waiting.envelope).collect()
    }

    /// Messages that have waited for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Envelope> {
        let mut expired = Vec::new();
        for queue in self.clients.values_mut() {
            for waiting in queue.iter_mut().rev().take_while(|waiting| waiting.since.is_none()) {
                waiting.since = Some(now);
            }
            let is_old = |waiting: &Waiting| waiting.since.is_some_and(|since| now >= since + PATIENCE);
            while queue.front().is_some_and(is_old) {
                let Some(Waiting { envelope, .. }) = queue.pop_front() else { break };
                self.bytes -= len(&envelope);
                expired.push(envelope);
            }
        }
        self.clients.retain(|_, queue| !queue.is_empty());
        expired
    }

    /// When to [`expire`](Self::expire).
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.clients.values().filter_map(|queue| Some(queue.front()?.since? + PATIENCE)).min()
    }
}
