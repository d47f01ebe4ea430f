//! A TURN client (RFC 8656) for one allocation, which all sessions of a machine share: to its peers it is one more address of
//! ours. All of it is plain data, as calls are to outlive the process.
//!
//! One [`Relay`] is one allocation and ends with it: whoever owns it makes the next one. A server that has been restarted is
//! noticed by a Refresh, as soon as it is silent while we send.
mod channels;
mod ending;
mod message;
mod permissions;
mod requests;

pub use ending::Ending;

use crate::stun::{IntegrityKey, transaction_id};
use channels::Channels;
use message::{Ask, Challenge, Received, Response, indication_header, wrap_in_channel, wrap_in_indication};
use permissions::Permissions;
use requests::{Due, Requests};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What is asked for, in seconds (RFC 8656, section 3.2): a server forgets a client that has crashed after so long.
const LIFETIME: u32 = 600;
/// The allocation is asked for again so long before its end, or in the middle of a short life.
const RENEWAL: Duration = Duration::from_secs(300);
/// A server that wants to be asked more often than this is asked so often.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(10);
/// Packets have been sent and nothing has come for so long: is the server still there? Participants say something every 2.5 s.
const SILENCE: Duration = Duration::from_secs(2);
/// The same while nothing is sent; it also keeps the way to the server open through NATs.
const IDLE: Duration = Duration::from_secs(15);
/// Bundles of permissions that are asked for at a time, and channels.
const MAX_PERMITS: usize = 4;
const MAX_BINDS: usize = 32;
/// So often an answer may bring another challenge: the first, one that went stale, and one more.
const MAX_CHALLENGES: u32 = 3;

/// Long-term credentials (RFC 8489, section 9.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Known to the server, or an expiry time for servers that share a secret.
    pub username: String,
    /// Never to be logged.
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What a relay tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayEvent {
    /// Peers reach us at this address from now on.
    Allocated {
        /// XOR-RELAYED-ADDRESS.
        relayed: SocketAddr,
        /// Between a request and its answer, if none got lost.
        round_trip: Option<Duration>,
    },
    /// The server lets nothing pass to or from this peer (403).
    Denied(IpAddr),
    /// The end; nothing follows.
    Ended(Ending),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Allocating,
    /// When it is to be asked for again.
    Allocated {
        renewal: Instant,
    },
    Ended,
}

/// One allocation. After each `handle_*`, `want` and `send` drain [`poll_datagram`](Self::poll_datagram) and
/// [`poll_event`](Self::poll_event), then sleep until [`next_timeout`](Self::next_timeout).
#[derive(Debug)]
pub struct Relay {
    account: Account,
    ipv6: bool,
    challenge: Option<Challenge>,
    phase: Phase,
    requests: Requests,
    permissions: Permissions,
    channels: Channels,
    /// When the server has last said something.
    heard: Instant,
    /// When a packet for a peer has last been sent.
    spoken: Instant,
    channels_due: Instant,
    datagrams: VecDeque<Box<[u8]>>,
    events: VecDeque<RelayEvent>,
}

impl Relay {
    /// Asks for an address of the given family. `reliable`: the way to the server repeats what gets lost, as TCP does.
    pub fn new(account: Account, ipv6: bool, reliable: bool, now: Instant) -> Self {
        let mut relay = Self {
            account,
            ipv6,
            challenge: None,
            phase: Phase::Allocating,
            requests: Requests::new(reliable),
            permissions: Permissions::default(),
            channels: Channels::default(),
            heard: now,
            spoken: now,
            channels_due: now + channels::RENEWAL,
            datagrams: VecDeque::new(),
            events: VecDeque::new(),
        };
        relay.ask(now, Ask::Allocate { ipv6 }, 0);
        relay
    }

    /// Packets of this peer shall pass. What is of another family than ours is none of our peers.
    pub fn want(&mut self, now: Instant, peer: IpAddr) {
        if peer.is_ipv6() == self.ipv6 && self.permissions.want(peer) {
            self.ask_for_permissions(now);
        }
    }

    /// Nobody wants packets of this peer any more.
    pub fn forget(&mut self, peer: IpAddr) {
        self.permissions.forget(peer);
    }

    /// Makes of a packet for `peer`, the first `len` bytes of `slot`, what goes to the server; the new length, or `None` when
    /// it cannot go. `binds`: it is worth a channel.
    #[inline]
    pub fn send(&mut self, now: Instant, peer: SocketAddr, binds: bool, slot: &mut [u8], len: usize) -> Option<usize> {
        if !matches!(self.phase, Phase::Allocated { .. }) {
            return None;
        }
        self.spoken = now;
        if let Some(number) = self.channels.number(now, &peer) {
            return wrap_in_channel(number, slot, len);
        }
        if binds {
            self.bind(now, peer);
        }
        wrap_in_indication(peer, &transaction_id(), slot, len)
    }

    /// Most bytes that are put in front of a packet and behind it.
    pub fn overhead(peer: SocketAddr) -> usize {
        indication_header(peer) + 3
    }

    fn bind(&mut self, now: Instant, peer: SocketAddr) {
        if self.requests.count(|ask| matches!(ask, Ask::Bind(..))) < MAX_BINDS
            && let Some(number) = self.channels.want(now, peer)
        {
            self.ask(now, Ask::Bind(number, peer), 0);
        }
    }

    /// Handles what the server has sent. A packet of a peer: whose, and where in the datagram.
    #[inline]
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<(SocketAddr, Range<usize>)> {
        if self.phase == Phase::Ended {
            return None;
        }
        match message::read(datagram)? {
            Received::Channel(number, data) => {
                let peer = self.channels.peer(now, number)?;
                self.heard = now;
                Some((peer, data))
            }
            Received::Indication(peer, data) => {
                self.heard = now;
                self.permissions.is_granted(peer.ip()).then_some((peer, data))
            }
            Received::Response(response) => {
                self.handle_response(now, &response);
                None
            }
        }
    }

    fn handle_response(&mut self, now: Instant, response: &Response<'_>) {
        let Some(waiting) = self.requests.get(&response.transaction) else { return };
        // An answer to a signed request is signed, but for those that say that the signature was not understood.
        let key = self.challenge.as_ref().map(|challenge| &challenge.key).filter(|_| waiting.nonce.is_some());
        let challenges = matches!(response.error, Some((401 | 438, _)));
        let holds = key.is_none_or(|key| response.verify(key));
        if !holds && (response.is_signed() || response.error.is_none()) && !challenges {
            return;
        }
        let Some((request, round_trip)) = self.requests.answered(now, &response.transaction) else { return };
        self.heard = now;
        match response.error {
            None => self.handle_success(now, request.ask, response, round_trip),
            Some((401 | 438, _)) => self.handle_challenge(now, &request, response),
            Some((code, reason)) => self.handle_error(now, request.ask, code, reason),
        }
        self.ask_for_permissions(now);
    }

    /// The first one, or a nonce that has gone stale. A server that was restarted has another.
    fn handle_challenge(&mut self, now: Instant, request: &requests::Request, response: &Response<'_>) {
        let realm = response.realm.or(self.challenge.as_ref().map(|known| &*known.realm));
        let (Some(realm), Some(nonce)) = (realm, response.nonce) else { return self.end(Ending::Nonsense) };
        // Several requests may be under way when a nonce goes stale: each is told so.
        if request.challenged >= MAX_CHALLENGES || request.nonce.as_deref() == Some(nonce) {
            return self.end(Ending::Unauthorized);
        }
        let key = IntegrityKey::long_term(&self.account.username, realm, &self.account.password);
        self.challenge = Some(Challenge { realm: realm.into(), nonce: nonce.into(), key });
        self.ask(now, request.ask.clone(), request.challenged + 1);
    }

    fn handle_success(&mut self, now: Instant, ask: Ask, response: &Response<'_>, round_trip: Option<Duration>) {
        let lifetime = Duration::from_secs(u64::from(response.lifetime.unwrap_or(LIFETIME))).max(SHORTEST_LIFETIME);
        let renews = now + lifetime.saturating_sub(RENEWAL).max(lifetime / 2);
        match ask {
            Ask::Allocate { ipv6 } => match response.relayed {
                Some(relayed) if relayed.is_ipv6() == ipv6 && relayed.port() != 0 => {
                    self.phase = Phase::Allocated { renewal: renews };
                    self.events.push_back(RelayEvent::Allocated { relayed, round_trip });
                }
                _ => self.end(Ending::Nonsense),
            },
            Ask::Refresh(0) => {}
            Ask::Refresh(_) => {
                if let Phase::Allocated { renewal } = &mut self.phase {
                    *renewal = renews;
                }
            }
            Ask::Permit(peers) => self.permissions.handle_granted(now, &peers),
            Ask::Bind(number, _) => self.channels.handle_bound(now, number),
        }
    }

    fn handle_error(&mut self, now: Instant, ask: Ask, code: u16, reason: &[u8]) {
        match ask {
            // One that is forbidden makes the whole request fail: which one?
            Ask::Permit(peers) if code != 437 && peers.len() > 1 => {
                peers.into_iter().for_each(|peer| self.ask(now, Ask::Permit(vec![peer]), 0));
            }
            Ask::Permit(peers) if code != 437 => {
                for peer in peers {
                    if self.permissions.handle_refused(now, peer) {
                        self.events.push_back(RelayEvent::Denied(peer));
                    }
                }
            }
            // Packets go in indications.
            Ask::Bind(number, _) if code != 437 => self.channels.handle_refused(now, number),
            Ask::Refresh(0) => {}
            Ask::Allocate { .. } | Ask::Refresh(_) | Ask::Permit(_) | Ask::Bind(..) => {
                self.end(Ending::of(code, reason));
            }
        }
    }

    fn ask_for_permissions(&mut self, now: Instant) {
        while matches!(self.phase, Phase::Allocated { .. })
            && self.requests.count(|ask| matches!(ask, Ask::Permit(_))) < MAX_PERMITS
        {
            let peers = self.permissions.next_bundle();
            if peers.is_empty() {
                return;
            }
            self.ask(now, Ask::Permit(peers), 0);
        }
    }

    fn ask(&mut self, now: Instant, ask: Ask, challenged: u32) {
        let id = transaction_id();
        match message::request(&ask, &id, &self.account.username, self.challenge.as_ref()) {
            Some(bytes) => {
                let nonce = self.challenge.as_ref().map(|challenge| challenge.nonce.clone());
                self.requests.insert(now, id, ask, challenged, nonce, &bytes);
                self.datagrams.push_back(bytes);
            }
            None => self.end(Ending::Unauthorized),
        }
    }

    /// Gives the address back: the datagram that says so, if there is anything to give back.
    pub fn delete(&mut self) -> Option<Box<[u8]>> {
        let allocated = matches!(self.phase, Phase::Allocated { .. });
        self.phase = Phase::Ended;
        let challenge = self.challenge.as_ref().filter(|_| allocated)?;
        message::request(&Ask::Refresh(0), &transaction_id(), &self.account.username, Some(challenge))
    }

    fn end(&mut self, why: Ending) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.events.push_back(RelayEvent::Ended(why));
        }
    }

    /// When the server is asked whether it is still there.
    fn probe_due(&self) -> Instant {
        self.heard + if self.spoken > self.heard { SILENCE } else { IDLE }
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.phase != Phase::Ended
            && let Some(due) = self.requests.pop_due(now)
        {
            match due {
                Due::Again(bytes) => self.datagrams.push_back(bytes),
                Due::Silence => self.end(Ending::Silence),
            }
        }
        let Phase::Allocated { renewal } = self.phase else { return };
        let refreshing = self.requests.count(|ask| matches!(ask, Ask::Refresh(_))) > 0;
        if !refreshing && self.probe_due().min(renewal) <= now {
            self.ask(now, Ask::Refresh(LIFETIME), 0);
        }
        self.permissions.handle_timeout(now);
        self.ask_for_permissions(now);
        if self.channels_due <= now {
            self.channels_due = now + channels::RENEWAL / 8;
            let due = self.channels.due(now);
            due.into_iter().for_each(|(number, peer)| self.ask(now, Ask::Bind(number, peer), 0));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        let requests = self.requests.next_timeout();
        match self.phase {
            Phase::Ended => None,
            Phase::Allocating => requests,
            Phase::Allocated { renewal } => {
                let refreshing = self.requests.count(|ask| matches!(ask, Ask::Refresh(_))) > 0;
                let refresh = (!refreshing).then(|| self.probe_due().min(renewal));
                let others = [requests, refresh, self.permissions.next_timeout(), Some(self.channels_due)];
                others.into_iter().flatten().min()
            }
        }
    }

    /// The next datagram for the server.
    pub fn poll_datagram(&mut self) -> Option<Box<[u8]>> {
        self.datagrams.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// Peers whose packets pass, and those with a channel.
    pub fn peers(&self) -> (usize, usize) {
        (self.permissions.granted(), self.channels.bound())
    }
}

#[cfg(test)]
mod tests;
