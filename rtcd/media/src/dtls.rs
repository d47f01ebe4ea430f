//! One DTLS 1.2 association, by `dimpl`, behind a face of our own: bytes and `now` in; datagrams and events out.
mod guard;
mod provider;
mod timing;

use crate::srtp::{KeyingMaterial, Profile};
use aws_lc_rs::digest;
use guard::{DtlsGuard, Verdict};
use std::sync::Arc;
use std::time::{Duration, Instant};
use timing::{LastFlight, LogicalClock};

/// The longest datagram that we hand to the network.
const MAX_DATAGRAM: usize = 2048;

/// SHA-256 of a certificate in DER (RFC 8122, section 5).
#[derive(Clone, Copy, PartialEq, Eq)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// A certificate could not be made: ours to fix, at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a DTLS certificate: {0}")]
pub struct IdentityError(String);

impl Identity {
    /// Makes a self-signed certificate (ECDSA P-256).
    pub fn generate() -> Result<Self, IdentityError> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(|error| IdentityError(error.to_string()))?;
        let configs = timing::Configs::new().map_err(|error| IdentityError(error.to_string()))?;
        let fingerprint = Fingerprint::of(&certificate.certificate);
        Ok(Self { configs: Arc::new(configs), certificate, fingerprint })
    }

    /// What our descriptions announce.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// One association with its guard. Drain [`poll_datagram`](Self::poll_datagram) and
/// [`poll_event`](Self::poll_event) after every `handle_*` and `send`.
pub struct Dtls {
    inner: Box<dimpl::Dtls>,
    guard: DtlsGuard,
    role: Role,
    expected: Fingerprint,
    peer: Option<Fingerprint>,
    keys: Option<KeyingMaterial>,
    handshake_done: bool,
    clock: LogicalClock,
    /// Our last flight, until the peer shows that it has it.
    last_flight: Option<LastFlight>,
    rto: Duration,
    /// The time of the last input.
    now: Instant,
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
        let (rto, config) = identity.configs.get(role, round_trip);
        // `new_12`, as its server picks the SRTP profile in its own order: GCM whenever the peer offers it.
        let mut inner = dimpl::Dtls::new_12(config, identity.certificate.clone(), now);
        inner.set_active(role == Role::Client);
        let mut dtls = Self {
            inner: Box::new(inner),
            guard: DtlsGuard::new(role, now),
            role,
            expected,
            peer: None,
            keys: None,
            handshake_done: false,
            clock: LogicalClock::default(),
            last_flight: None,
            rto,
            now,
            datagrams: Vec::new(),
            events: Vec::new(),
        };
        if role == Role::Client {
            dtls.handle_timeout(now)?;
        }
        Ok(dtls)
    }

    /// Which side we are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Handles one datagram; false when something of it was dropped as malformed, forged or too much. An error is the
    /// end of the session: the handshake has failed, or the peer itself broke the protocol.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<bool, DtlsError> {
        self.now = now;
        let (records, whole) = match self.guard.admit(now, datagram) {
            Verdict::Pass { records, whole } => (records, whole),
            Verdict::Refused => return Ok(false),
            Verdict::OverBudget => return Err(DtlsError::HandshakeBudget),
        };
        // dimpl wants to know the time before the bytes.
        self.inner.handle_timeout(self.clock.at(now)).map_err(protocol)?;
        let verdict = match self.inner.handle_packet(&records) {
            Ok(()) => Ok(whole),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(protocol(error)),
        };
        self.drain()?;
        verdict
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        self.now = now;
        let verdict = self.inner.handle_timeout(self.clock.at(now)).map_err(protocol);
        self.drain()?;
        if let Some(flight) = &mut self.last_flight {
            flight.repeat(now, &mut self.datagrams);
        }
        verdict
    }

    /// Sends a record of the layer above.
    pub fn send(&mut self, data: &[u8]) -> Result<(), DtlsError> {
        self.inner.send_application_data(data).map_err(protocol)?;
        self.drain()
    }

    /// Says goodbye (close_notify), if the handshake is complete.
    pub fn close(&mut self) {
        if self.handshake_done && self.inner.close().is_ok() {
            // We are leaving: what cannot be said now is not said.
            let _ = self.drain();
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
        let repeat = self.last_flight.as_ref().and_then(LastFlight::next);
        [self.clock.next(self.handshake_done), repeat].into_iter().flatten().min()
    }

    fn drain(&mut self) -> Result<(), DtlsError> {
        let (was_done, first) = (self.handshake_done, self.datagrams.len());
        let verdict = self.drain_inner();
        if self.datagrams.len() > first {
            self.clock.sent(self.now);
        }
        if self.handshake_done && !was_done && self.role == Role::Server {
            self.last_flight = Some(LastFlight::new(self.now, self.rto, &self.datagrams[first..]));
        }
        verdict
    }

    fn drain_inner(&mut self) -> Result<(), DtlsError> {
        use dimpl::Output;
        let mut buffer = [0; MAX_DATAGRAM];
        let mut grown = Vec::new();
        loop {
            let output = self.inner.poll_output(if grown.is_empty() { &mut buffer[..] } else { &mut grown });
            match output {
                Output::Packet(bytes) if self.role == Role::Server && !self.guard.is_established() => {
                    self.datagrams.push(provider::on_the_wire(bytes));
                }
                Output::Packet(bytes) => self.datagrams.push(bytes.to_vec()),
                Output::PeerCert(der) => self.peer = Some(Fingerprint::of(der)),
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Profile::AesCm128HmacSha1_80,
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        _ => return Err(DtlsError::NoSrtpProfile),
                    };
                    self.keys = KeyingMaterial::new(profile, &material);
                }
                Output::Connected => self.handshake_done = true,
                Output::ApplicationData(bytes) => {
                    // Authentic: the peer has our last flight.
                    self.last_flight = None;
                    self.events.push(DtlsEvent::Data(bytes.to_vec()));
                }
                Output::CloseNotify => self.events.push(DtlsEvent::Closed),
                Output::BufferTooSmall { needed } => grown.resize(needed, 0),
                Output::Timeout(at) => {
                    self.clock.due(self.now, at);
                    return self.announce();
                }
                // `Output` may gain variants that an SFU has no use for.
                _ => {}
            }
        }
    }

    /// Connected and the keys come in either order: announce once, with both, and only to the announced peer.
    fn announce(&mut self) -> Result<(), DtlsError> {
        if !self.handshake_done || self.guard.is_established() {
            return Ok(());
        }
        if self.peer != Some(self.expected) {
            self.events.clear();
            return Err(DtlsError::FingerprintMismatch);
        }
        let keys = self.keys.take().ok_or(DtlsError::NoSrtpProfile)?;
        self.guard.establish();
        // Data of the same batch belongs behind the announcement.
        self.events.insert(0, DtlsEvent::Connected(keys));
        Ok(())
    }
}

/// Errors that the crate calls fatal and that leave it as it was: a sealed record that does not open before the
/// handshake is complete (anybody could have sent it), and a datagram more than it wants to keep.
fn is_refusal(error: &dimpl::Error) -> bool {
    use dimpl::{CryptoError, CryptoOperation, Error};
    matches!(
        error,
        Error::CryptoError(
            CryptoError::OperationFailed(CryptoOperation::Decrypt)
                | CryptoError::CiphertextTooShort { .. }
                | CryptoError::InvalidNonce
        ) | Error::ReceiveQueueFull
    )
}

fn protocol(error: dimpl::Error) -> DtlsError {
    DtlsError::Protocol(error.to_string())
}

#[cfg(test)]
mod tests;
