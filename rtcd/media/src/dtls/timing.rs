//! When a flight is sent again: timers for calls, where RFC 6347 (section 4.2.4.1) thinks of a second and more.
use super::{Role, provider};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// First retransmission when nothing is known of the way: most participants are nearer than that.
const UNKNOWN_RTO: Duration = Duration::from_millis(100);
/// First retransmissions that there is a configuration for. The lowest is what browsers use themselves; beyond the
/// highest a spurious repeat costs less than waiting for one that was lost, and what was measured may have been a peer
/// that took its time.
const RTOS: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(75),
    UNKNOWN_RTO,
    Duration::from_millis(150),
    Duration::from_millis(200),
    Duration::from_millis(250),
];
/// The time between two tries doubles up to here: five tries in the first two seconds, some 27 in the 30 s that a
/// transport has to connect.
const MAX_RTO: Duration = Duration::from_millis(1250);
/// Tries of one flight, more than [`MAX_RTO`] leaves time for: the transport's own deadline ends it.
const TRIES: usize = 60;
/// The crate's deadline of a handshake, in its own time, which runs ahead of ours: its maximum, ten years. At the 27th
/// doubling of 250 ms its time is 13 months ahead.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A wait of the crate that is longer is that deadline, or idleness, and no timer of a flight.
const IDLE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// Times that our last flight is sent on our own account: 100, 200, 400, 800 ms, then every [`MAX_RTO`].
const REPEATS: u8 = 6;
/// Length of a datagram with its headers below every MTU that there is a network for.
const MTU: usize = 1150;

/// Configurations of the crate, by role and first retransmission. Each is made when it is needed, which takes two
/// milliseconds: the crate tries out its cryptography.
#[derive(Default)]
pub(super) struct Configs {
    of_server: [OnceLock<Arc<dimpl::Config>>; RTOS.len()],
    of_client: [OnceLock<Arc<dimpl::Config>>; RTOS.len()],
}

fn config(role: Role, rto: Duration) -> Result<Arc<dimpl::Config>, dimpl::Error> {
    let provider = match role {
        Role::Server => provider::server(),
        Role::Client => provider::client(),
    };
    // No cookie: datagrams reach DTLS only from an address that ICE has verified (RFC 8827, section 6.5).
    let config = dimpl::Config::builder()
        .with_crypto_provider(provider)
        .use_server_cookie(false)
        .mtu(MTU)
        .flight_start_rto(rto)
        .flight_retries(TRIES)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .build()?;
    Ok(Arc::new(config))
}

impl Configs {
    /// The first retransmission over a way with this round trip, and the configuration for it.
    pub(super) fn get(
        &self,
        role: Role,
        round_trip: Option<Duration>,
    ) -> Result<(Duration, Arc<dimpl::Config>), dimpl::Error> {
        // Half a round trip of room for a jittery network and a busy peer.
        let wanted = round_trip.map_or(UNKNOWN_RTO, |round_trip| round_trip.saturating_mul(3) / 2);
        let at = RTOS.iter().position(|rto| *rto >= wanted).unwrap_or(RTOS.len() - 1);
        let configs = match role {
            Role::Server => &self.of_server,
            Role::Client => &self.of_client,
        };
        if let Some(known) = configs[at].get() {
            return Ok((RTOS[at], known.clone()));
        }
        let new = config(role, RTOS[at])?;
        Ok((RTOS[at], configs[at].get_or_init(|| new).clone()))
    }
}

/// The crate's time. It doubles its timer without end, so its clock is put forward when our own limit has come.
#[derive(Debug, Default)]
pub(super) struct LogicalClock {
    ahead: Duration,
    /// What it waits for, in its time, and that in ours.
    due: Option<(Instant, Instant)>,
    /// When a datagram was last sent, in ours.
    sent: Option<Instant>,
}

impl LogicalClock {
    /// The crate's time at `now`.
    pub(super) fn at(&mut self, now: Instant) -> Instant {
        if let (Some((due, at)), Some(sent)) = (self.due, self.sent)
            && now < at
            && now >= sent + MAX_RTO
        {
            self.ahead = due.saturating_duration_since(now);
        }
        now + self.ahead
    }

    /// The crate has sent something.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// The crate wants to be woken at `due`, in its time.
    pub(super) fn due(&mut self, now: Instant, due: Instant) {
        let wait = due.saturating_duration_since(now + self.ahead);
        self.due = (wait < IDLE).then(|| (due, now + wait));
    }

    /// When it is to be woken, in our time. After the handshake it waits for nothing that we cannot wait for.
    pub(super) fn next(&self, handshake_done: bool) -> Option<Instant> {
        let (_, at) = self.due?;
        match self.sent {
            Some(sent) if !handshake_done => Some(at.min(sent + MAX_RTO)),
            _ => Some(at),
        }
    }
}

/// Our last flight as server. RFC 6347 leaves its repetition to the peer, which may wait a second before it repeats its
/// own; so it is sent a few times more until the peer is heard. It is the same bytes each time: a peer that has them
/// drops them as replayed (section 4.1.2.6) and answers nothing.
pub(super) struct LastFlight {
    datagrams: Vec<Vec<u8>>,
    next: Instant,
    wait: Duration,
    left: u8,
}

impl LastFlight {
    pub(super) fn new(now: Instant, rto: Duration, datagrams: &[Vec<u8>]) -> Self {
        Self { datagrams: datagrams.to_vec(), next: now + rto, wait: rto, left: REPEATS }
    }

    /// When to call [`repeat`](Self::repeat).
    pub(super) fn next(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.next)
    }

    /// Sends it again if its time has come.
    pub(super) fn repeat(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if self.left == 0 || now < self.next {
            return;
        }
        self.left -= 1;
        self.wait = (2 * self.wait).min(MAX_RTO);
        self.next = now + self.wait;
        out.extend(self.datagrams.iter().cloned());
    }
}
