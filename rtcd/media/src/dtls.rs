//! One DTLS 1.2 association behind a face of our own: bytes and `now` in; datagrams and events out. The handshake is
//! `dimpl`'s; once the peer is known to be through it, `record` is all that is left.
mod guard;
mod handshake;
mod provider;
mod record;
mod tap;
mod timing;

use crate::footprint::{Footprint, flat};
use crate::handover;
use crate::srtp::KeyingMaterial;
use aws_lc_rs::digest;
use guard::{DtlsGuard, Verdict};
use handshake::Handshake;
use record::{ALERT, APPLICATION_DATA, Opened, Records};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// SHA-256 of a certificate in DER (RFC 8122, section 5).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(der: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(sum)
    }
    /// Reads the value of `a=fingerprint` when its hash is SHA-256.
    pub fn parse(attribute: &str) -> Option<Self> {
        let (hash, hex) = attribute.trim().split_once(' ')?;
        if !hash.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut sum = [0; 32];
        let mut parts = hex.trim().split(':');
        for byte in &mut sum {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(sum))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha-256 ")?;
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Who sends the ClientHello.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// We do: `a=setup:active`.
    Client,
    /// The peer does: `a=setup:passive`.
    Server,
}

/// Why an association cannot go on: the peer's fault, it ends that session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// More records, or larger ones, than any honest handshake needs.
    #[error("the handshake exceeds its budget")]
    HandshakeBudget,
    /// The handshake failed, or a record broke the protocol.
    #[error("DTLS: {0}")]
    Protocol(String),
    /// The peer's certificate is not the one that its description announced (RFC 8122, section 6.2).
    #[error("the certificate does not match the fingerprint of the description")]
    FingerprintMismatch,
    /// The handshake ended without DTLS-SRTP.
    #[error("no SRTP profile in common")]
    NoSrtpProfile,
}

/// What an association tells.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The handshake is complete and the certificate is the announced one.
    Connected(KeyingMaterial),
    /// A record of the layer above.
    Data(Vec<u8>),
    /// The peer has said goodbye.
    Closed,
}

/// Our certificate and settings, shared by all associations of the process.
#[derive(Clone)]
pub struct Identity {
    configs: Arc<timing::Configs>,
    certificate: dimpl::DtlsCertificate,
    fingerprint: Fingerprint,
}

/// A certificate could not be made or read: ours to fix, at start.
#[derive(Debug, thiserror::Error)]
#[error("no DTLS certificate: {0}")]
pub struct IdentityError(String);

const IDENTITY_VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct IdentityRecord {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Makes a self-signed certificate (ECDSA P-256).
    pub fn generate() -> Result<Self, IdentityError> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(|error| IdentityError(error.to_string()))?;
        Ok(Self::of(certificate))
    }

    fn of(certificate: dimpl::DtlsCertificate) -> Self {
        let fingerprint = Fingerprint::of(&certificate.certificate);
        Self { configs: Arc::default(), certificate, fingerprint }
    }

    /// Certificate and key, for the process that goes on: its descriptions must announce the same.
    pub fn write(&self, out: &mut Vec<u8>, now: Instant) {
        let dimpl::DtlsCertificate { certificate, private_key } = &self.certificate;
        let record = IdentityRecord { certificate: certificate.clone(), key: Zeroizing::new(private_key.clone()) };
        handover::write(out, IDENTITY_VERSION, now, &record);
    }

    /// What [`write`](Self::write) wrote.
    pub fn read(bytes: &[u8], now: Instant) -> Result<Self, IdentityError> {
        let record: IdentityRecord =
            handover::read(bytes, IDENTITY_VERSION, now).map_err(|error| IdentityError(error.to_string()))?;
        let IdentityRecord { certificate, key } = record;
        Ok(Self::of(dimpl::DtlsCertificate { certificate, private_key: key.to_vec() }))
    }

    /// What our descriptions announce.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// How far an association is.
enum Phase {
    /// Until the peer is known to be through the handshake.
    Handshake(Box<Handshake>),
    /// From then on.
    Records(Records),
}

/// One association with its guard. Drain [`poll_datagram`](Self::poll_datagram) and
/// [`poll_event`](Self::poll_event) after every `handle_*` and `send`.
pub struct Dtls {
    phase: Phase,
    guard: DtlsGuard,
    role: Role,
    datagrams: Vec<Vec<u8>>,
    events: Vec<DtlsEvent>,
}

impl Dtls {
    /// A new association; a client's first flight is ready to be polled at once.
    pub fn new(identity: &Identity, role: Role, expected: Fingerprint, now: Instant) -> Result<Self, DtlsError> {
        Self::over(identity, role, expected, None, now)
    }

    /// The same over a way of which the round trip is known: it sets the first retransmission.
    pub fn over(
        identity: &Identity,
        role: Role,
        expected: Fingerprint,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Result<Self, DtlsError> {
        let handshake = Handshake::new(identity, role, expected, round_trip, now)?;
        let mut dtls = Self::at(Phase::Handshake(Box::new(handshake)), role, now);
        if role == Role::Client {
            dtls.handle_timeout(now)?;
        }
        Ok(dtls)
    }

    fn at(phase: Phase, role: Role, now: Instant) -> Self {
        Self { phase, guard: DtlsGuard::new(role, now), role, datagrams: Vec::new(), events: Vec::new() }
    }

    /// Which side we are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Handles one datagram; false when something of it was dropped as malformed, forged or too much. An error is the
    /// end of the session: the handshake has failed, or the peer itself broke the protocol.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<bool, DtlsError> {
        let (records, whole) = match self.guard.admit(now, datagram) {
            Verdict::Pass { records, whole } => (records, whole),
            Verdict::Refused => return Ok(false),
            Verdict::OverBudget => return Err(DtlsError::HandshakeBudget),
        };
        let handshake = match &mut self.phase {
            Phase::Handshake(handshake) => handshake,
            Phase::Records(open) => {
                let (events, mut verdict) = (&mut self.events, Ok(()));
                let opened = open.open(&records, |Opened { kind, plain }| match (kind, &plain[..]) {
                    (APPLICATION_DATA, _) => events.push(DtlsEvent::Data(plain)),
                    // close_notify; any other alert of level fatal (RFC 5246, section 7.2).
                    (ALERT, [_, 0]) => events.push(DtlsEvent::Closed),
                    (ALERT, [2, what]) => verdict = Err(DtlsError::Protocol(format!("fatal alert {what}"))),
                    // The peer's Finished once more, or its wish to negotiate anew, which WebRTC does not know.
                    _ => {}
                });
                return verdict.map(|()| whole && opened);
            }
        };
        let verdict = handshake.handle_packet(now, &records);
        self.drain()?;
        verdict.map(|taken| taken && whole)
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        let Phase::Handshake(handshake) = &mut self.phase else { return Ok(()) };
        let verdict = handshake.handle_timeout(now);
        self.drain()?;
        if let Phase::Handshake(handshake) = &mut self.phase {
            handshake.repeat_last_flight(now, &mut self.datagrams);
        }
        verdict
    }

    /// Sends a record of the layer above.
    pub fn send(&mut self, data: &[u8]) -> Result<(), DtlsError> {
        match &mut self.phase {
            Phase::Records(records) => {
                let sealed = records.seal(APPLICATION_DATA, data);
                self.datagrams.push(sealed.ok_or_else(|| DtlsError::Protocol("numbers are used up".into()))?);
                Ok(())
            }
            Phase::Handshake(handshake) => {
                handshake.send(data)?;
                self.drain()
            }
        }
    }

    /// The peer has shown, beside DTLS, that it is through the handshake.
    pub fn confirm(&mut self) {
        if let Phase::Handshake(handshake) = &mut self.phase {
            handshake.confirm();
            self.leave_handshake();
        }
    }

    /// Says goodbye (close_notify), if the handshake is complete.
    pub fn close(&mut self) {
        match &mut self.phase {
            // Level warning, close_notify.
            Phase::Records(records) => self.datagrams.extend(records.seal(ALERT, &[1, 0])),
            // We are leaving: what cannot be said now is not said.
            Phase::Handshake(handshake) => {
                if handshake.close() {
                    let _ = self.drain();
                }
            }
        }
    }

    /// The next datagram for the peer.
    pub fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        (!self.datagrams.is_empty()).then(|| self.datagrams.remove(0))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.next_timeout(),
            Phase::Records(_) => None,
        }
    }

    fn drain(&mut self) -> Result<(), DtlsError> {
        let Phase::Handshake(handshake) = &mut self.phase else { return Ok(()) };
        let verdict = handshake.drain(&mut self.guard, &mut self.datagrams, &mut self.events);
        self.leave_handshake();
        verdict
    }

    /// Once the peer is through as well, nothing of the handshake is needed any more.
    fn leave_handshake(&mut self) {
        if let Phase::Handshake(handshake) = &self.phase
            && self.guard.is_established()
            && let Some(records) = handshake.records()
        {
            self.phase = Phase::Records(records);
            // Flights are long, records one.
            self.datagrams.shrink_to_fit();
            self.events.shrink_to_fit();
        }
    }

    /// Whether the handshake is not behind both sides.
    pub(crate) fn is_shaking_hands(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_))
    }

    /// The association as another process goes on with it; `None` until the handshake is behind both sides.
    pub(crate) fn state(&self) -> Option<DtlsState<'_>> {
        match &self.phase {
            Phase::Records(records) => Some(DtlsState(records)),
            Phase::Handshake(_) => None,
        }
    }

    /// The newest numbers of records written and read; `None` until the handshake is behind both sides.
    pub(crate) fn numbers(&self) -> Option<(u64, u64)> {
        match &self.phase {
            Phase::Records(records) => Some(records.newest()),
            Phase::Handshake(_) => None,
        }
    }

    /// What [`numbers`](Self::numbers) gives is written down.
    pub(crate) fn reserve(&mut self) {
        if let Phase::Records(records) = &mut self.phase {
            records.reserve();
        }
    }

    /// Goes on behind whoever died, of whom these numbers were written down last.
    pub(crate) fn leap(&mut self, numbers: (u64, u64)) {
        if let Phase::Records(records) = &mut self.phase {
            records.leap(numbers);
        }
    }

    /// Goes on with an association of another process.
    pub(crate) fn resume(records: SavedDtls, role: Role, now: Instant) -> Self {
        let mut dtls = Self::at(Phase::Records(records.0), role, now);
        dtls.guard.establish();
        dtls
    }
}

/// An association as it is written down.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct DtlsState<'a>(&'a Records);

/// The same as it was read.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct SavedDtls(Records);

impl Footprint for Dtls {
    fn heap_bytes(&self) -> usize {
        let phase = match &self.phase {
            Phase::Handshake(handshake) => handshake.heap_bytes(),
            Phase::Records(records) => records.heap_bytes(),
        };
        phase + self.datagrams.iter().map(flat).sum::<usize>() + flat(&self.datagrams) + flat(&self.events)
    }
}

#[cfg(test)]
mod tests;
