//! Whose packets the relay lets pass (RFC 8656, section 9): asked for in bundles, renewed while they are wanted.
use super::message::MAX_PEERS;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A permission lives for 5 minutes and is asked for again a minute before.
pub const RENEWAL: Duration = Duration::from_secs(4 * 60);
/// A peer that the server has refused is asked for again: its operator may have changed the rules.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Peers of one relay: a thousand participants with four addresses each.
const MAX_PERMISSIONS: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits to be asked for, or for the answer.
    Wanted,
    Granted,
    /// Granted, and the answer to another request is waited for.
    Renewing,
    Refused,
}

/// The permissions of one relay.
#[derive(Debug, Default)]
pub struct Permissions {
    known: HashMap<IpAddr, State>,
    /// To be asked for.
    queue: VecDeque<IpAddr>,
    /// To be asked for again, by time; some may be known no more.
    renewals: VecDeque<(Instant, IpAddr)>,
    refusals: VecDeque<(Instant, IpAddr)>,
}

impl Permissions {
    /// Packets of this peer shall pass; false when there are too many of them.
    pub fn want(&mut self, peer: IpAddr) -> bool {
        if self.known.contains_key(&peer) {
            return true;
        }
        if self.known.len() >= MAX_PERMISSIONS {
            return false;
        }
        self.known.insert(peer, State::Wanted);
        self.queue.push_back(peer);
        true
    }

    /// Nobody wants it any more: it ends by itself.
    pub fn forget(&mut self, peer: IpAddr) {
        self.known.remove(&peer);
        // What was asked for and not answered must not be asked twice when it comes back at once.
        self.queue.retain(|waiting| *waiting != peer);
    }

    /// Whether packets of this peer pass.
    pub fn is_granted(&self, peer: IpAddr) -> bool {
        matches!(self.known.get(&peer), Some(State::Granted | State::Renewing))
    }

    /// How many the server has granted.
    pub fn granted(&self) -> usize {
        self.known.values().filter(|state| matches!(state, State::Granted | State::Renewing)).count()
    }

    /// The next peers to ask for, in one request.
    pub fn next_bundle(&mut self) -> Vec<IpAddr> {
        let mut bundle = Vec::new();
        while bundle.len() < MAX_PEERS
            && let Some(peer) = self.queue.pop_front()
        {
            if self.known.contains_key(&peer) {
                bundle.push(peer);
            }
        }
        bundle
    }

    /// The server has granted these.
    pub fn handle_granted(&mut self, now: Instant, peers: &[IpAddr]) {
        for peer in peers {
            if let Some(state) = self.known.get_mut(peer) {
                *state = State::Granted;
                self.renewals.push_back((now + RENEWAL, *peer));
            }
        }
    }

    /// The server has refused this one; whether that is news.
    pub fn handle_refused(&mut self, now: Instant, peer: IpAddr) -> bool {
        let Some(state) = self.known.get_mut(&peer) else { return false };
        self.refusals.push_back((now + ASK_AGAIN, peer));
        std::mem::replace(state, State::Refused) != State::Refused
    }

    /// Puts what is due into the queue.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |(at, _): &&(Instant, IpAddr)| *at <= now;
        while let Some((_, peer)) = self.renewals.front().filter(due).copied() {
            self.renewals.pop_front();
            if let Some(state) = self.known.get_mut(&peer).filter(|state| **state == State::Granted) {
                *state = State::Renewing;
                self.queue.push_back(peer);
            }
        }
        while let Some((_, peer)) = self.refusals.front().filter(due).copied() {
            self.refusals.pop_front();
            if self.known.get(&peer) == Some(&State::Refused) {
                self.queue.push_back(peer);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        [&self.renewals, &self.refusals].into_iter().filter_map(|queue| queue.front()).map(|(at, _)| *at).min()
    }
}
