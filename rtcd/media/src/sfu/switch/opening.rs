//! Opening checks. A firewall or NAT in front of us lets nobody in to whom we have not sent something. A full ICE agent sends
//! checks to all candidates of its peer; we stay lite, but send a few, until the first authentic check has come: they make the
//! mapping, and from the address that they come from the peer learns where to send its own (peer-reflexive, RFC 8445, section
//! 7.3.1.3). Where they go is the peer's word alone: few, slow and counted.
use super::{Sink, Switch};
use crate::demux::{Path, Protocol};
use crate::footprint::{Footprint, flat, flat_table};
use crate::ice::Credentials;
use crate::ice::candidate::MAX_CANDIDATES;
use crate::random::random_u64;
use crate::sfu::command::{Claim, TransportId};
use crate::stun::{CheckRequest, IntegrityKey, transaction_id};
use crate::timers::Timers;
use crate::token_bucket::TokenBucket;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two rounds: twice as long after each, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);
/// Rounds for each candidate: some 9 s.
const ROUNDS: u8 = 8;
/// Checks for one participant in all, of some 120 bytes: less than a second of its voice.
const MAX_CHECKS: u32 = 128;
/// Local sockets that checks for one candidate leave from.
const MAX_SOCKETS: usize = 4;
/// Checks a second, and at once, of one worker.
const PER_SECOND: f64 = 500.0;
const BURST: f64 = 250.0;
/// Type preference of a peer-reflexive candidate 110, one component (RFC 8445, section 5.1.2.1).
const PRIORITY: u32 = 110 << 24 | 0xffff << 8 | 255;

/// A UDP socket that checks may leave from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalSocket {
    /// As in [`Path::local`].
    pub local: u32,
    /// What it is bound to.
    pub address: SocketAddr,
}

impl LocalSocket {
    /// Whether a packet from here can reach an address at all.
    fn reaches(&self, candidate: SocketAddr) -> bool {
        let (ours, theirs) = (self.address.ip(), candidate.ip());
        ours.is_ipv4() == theirs.is_ipv4() && ours.is_loopback() == theirs.is_loopback()
    }
}

struct Opening {
    /// Our ufrag.
    local: Box<str>,
    /// The peer's.
    remote: Box<str>,
    key: IntegrityKey,
    tie_breaker: u64,
    claim: Arc<Claim>,
    /// With the rounds that each has had.
    candidates: Vec<(SocketAddr, u8)>,
    rounds: u32,
    sent: u32,
    scheduled: Option<Instant>,
}

/// Those whose first check is waited for.
pub(super) struct Openings {
    sockets: Vec<LocalSocket>,
    by_transport: HashMap<TransportId, Opening>,
    timers: Timers<TransportId>,
    limit: TokenBucket,
}

impl Openings {
    pub fn new(now: Instant) -> Self {
        let (sockets, by_transport, timers) = Default::default();
        Self { sockets, by_transport, timers, limit: TokenBucket::new(PER_SECOND, BURST, now) }
    }

    pub fn remove(&mut self, transport: TransportId) {
        self.by_transport.remove(&transport);
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn len(&self) -> usize {
        self.by_transport.len()
    }
}

impl Footprint for Openings {
    fn heap_bytes(&self) -> usize {
        let of_one = |opening: &Opening| opening.remote.len() + flat(&opening.candidates);
        let all = self.by_transport.values().map(of_one).sum::<usize>();
        all + flat_table(&self.by_transport) + self.timers.heap_bytes() + flat(&self.sockets)
    }
}

impl Switch {
    /// UDP sockets that checks of ours may leave from.
    pub fn set_local_sockets(&mut self, sockets: Vec<LocalSocket>) {
        self.openings.sockets = sockets;
    }

    /// Checks go to these candidates from now on, until one of the peer's has come.
    pub(super) fn open_way(
        &mut self,
        now: Instant,
        transport: TransportId,
        remote: &Credentials,
        candidates: &[SocketAddr],
    ) {
        let known = self.registrations.iter().filter(|(_, known)| known.open.transport == transport);
        let newest = known.max_by_key(|(_, known)| known.generation);
        let Some((ufrag, registration)) = newest.filter(|(_, known)| !known.claim.is_claimed()) else { return };
        let opening = self.openings.by_transport.entry(transport).or_insert_with(|| Opening {
            local: ufrag.clone(),
            remote: remote.ufrag.as_str().into(),
            key: IntegrityKey::new(&remote.password),
            tie_breaker: random_u64(),
            claim: registration.claim.clone(),
            candidates: Vec::new(),
            rounds: 0,
            sent: 0,
            scheduled: None,
        });
        for candidate in candidates.iter().take(MAX_CANDIDATES) {
            if opening.candidates.len() < MAX_CANDIDATES
                && opening.candidates.iter().all(|(known, _)| known != candidate)
            {
                opening.candidates.push((*candidate, 0));
                opening.rounds = 0;
            }
        }
        self.openings.timers.schedule(transport, Some(now), &mut opening.scheduled);
    }

    pub(super) fn send_opening_checks(&mut self, now: Instant, sink: &mut impl Sink) {
        while let Some((at, transport)) = self.openings.timers.pop_due(now) {
            let Openings { sockets, by_transport, timers, limit } = &mut self.openings;
            let Some(opening) = by_transport.get_mut(&transport).filter(|opening| opening.scheduled == Some(at)) else {
                continue;
            };
            opening.scheduled = None;
            if opening.claim.is_claimed() {
                by_transport.remove(&transport);
                continue;
            }
            let mut goes_on = false;
            for (candidate, rounds) in opening.candidates.iter_mut().filter(|(_, rounds)| *rounds < ROUNDS) {
                *rounds += 1;
                goes_on = true;
                for socket in sockets.iter().filter(|socket| socket.reaches(*candidate)).take(MAX_SOCKETS) {
                    if opening.sent >= MAX_CHECKS || !limit.take(now) {
                        self.counters.opening_limited += 1;
                        continue;
                    }
                    let id = transaction_id();
                    let (local, remote) = (&opening.local, &opening.remote);
                    let check = CheckRequest::new(&id, local, remote, &opening.key, PRIORITY, opening.tie_breaker);
                    if let Some(bytes) = check.bytes() {
                        opening.sent += 1;
                        self.counters.opening_checks += 1;
                        sink.send(Path { protocol: Protocol::Udp, local: socket.local, remote: *candidate }, bytes);
                    }
                }
            }
            if goes_on {
                let wait = (FIRST * 2u32.pow(opening.rounds.min(8))).min(LONGEST);
                opening.rounds += 1;
                timers.schedule(transport, Some(now + wait), &mut opening.scheduled);
            }
        }
    }
}

#[cfg(test)]
mod tests;
