//! The handshake of one association, by `dimpl`, until the peer is known to be through it.
use super::guard::DtlsGuard;
use super::provider;
use super::record::Records;
use super::tap::{self, Tapped};
use super::timing::{LastFlight, LogicalClock};
use super::{DtlsError, DtlsEvent, Fingerprint, Identity, Role};
use crate::footprint::Footprint;
use crate::srtp::{KeyingMaterial, Profile};
use std::time::{Duration, Instant};

/// What `dimpl` holds for an association: nine handshakes in ten had no more (heaptrack), half of them 9 KiB.
const HELD: usize = 14 * 1024;

/// The longest datagram that we hand to the network.
const MAX_DATAGRAM: usize = 2048;

/// `dimpl`'s association, and what is to be known of it from outside.
pub(super) struct Handshake {
    inner: dimpl::Dtls,
    role: Role,
    expected: Fingerprint,
    peer: Option<Fingerprint>,
    keys: Option<KeyingMaterial>,
    /// The record keys, client's and server's, from when they are made.
    tapped: Option<[Tapped; 2]>,
    done: bool,
    /// The peer has our last flight.
    confirmed: bool,
    clock: LogicalClock,
    /// Our last flight as server, until the peer shows that it has it.
    last_flight: Option<LastFlight>,
    rto: Duration,
    /// The time of the last input.
    now: Instant,
}

impl Handshake {
    pub(super) fn new(
        identity: &Identity,
        role: Role,
        expected: Fingerprint,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Result<Self, DtlsError> {
        let (rto, config) = identity.configs.get(role, round_trip).map_err(protocol)?;
        // `new_12`, as its server picks the SRTP profile in its own order: GCM whenever the peer offers it.
        let mut inner = dimpl::Dtls::new_12(config, identity.certificate.clone(), now);
        inner.set_active(role == Role::Client);
        Ok(Self {
            inner,
            role,
            expected,
            peer: None,
            keys: None,
            tapped: None,
            done: false,
            // The server's flight is the last one: a client that is through knows that its server is.
            confirmed: role == Role::Client,
            clock: LogicalClock::default(),
            last_flight: None,
            rto,
            now,
        })
    }

    /// Handles admitted records; false when they were refused as forged or too much.
    pub(super) fn handle_packet(&mut self, now: Instant, records: &[u8]) -> Result<bool, DtlsError> {
        // dimpl wants to know the time before the bytes.
        self.handle_timeout(now)?;
        match self.inner.handle_packet(records) {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(protocol(error)),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        self.now = now;
        self.inner.handle_timeout(self.clock.at(now)).map_err(protocol)
    }

    /// Sends our last flight once more, if its time has come.
    pub(super) fn repeat_last_flight(&mut self, now: Instant, datagrams: &mut Vec<Vec<u8>>) {
        if let Some(flight) = &mut self.last_flight {
            flight.repeat(now, datagrams);
        }
    }

    pub(super) fn send(&mut self, data: &[u8]) -> Result<(), DtlsError> {
        self.inner.send_application_data(data).map(drop).map_err(protocol)
    }

    /// Whether there is a goodbye to be sent.
    pub(super) fn close(&mut self) -> bool {
        self.done && self.inner.close().is_ok()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let repeat = self.last_flight.as_ref().and_then(LastFlight::next);
        [self.clock.next(self.done), repeat].into_iter().flatten().min()
    }

    /// The peer has our last flight.
    pub(super) fn confirm(&mut self) {
        self.confirmed = self.done;
    }

    /// What is left to go on with when the handshake is behind both sides.
    pub(super) fn records(&self) -> Option<Records> {
        let [client, server] = self.tapped.as_ref().filter(|_| self.done && self.confirmed)?;
        let (client, server) = (tap::look(client), tap::look(server));
        let (write, read) = if self.role == Role::Client { (client, server) } else { (server, client) };
        Records::new(write, read).ok()
    }

    /// Takes what has come of the last input.
    pub(super) fn drain(
        &mut self,
        guard: &mut DtlsGuard,
        datagrams: &mut Vec<Vec<u8>>,
        events: &mut Vec<DtlsEvent>,
    ) -> Result<(), DtlsError> {
        let (was_done, first) = (self.done, datagrams.len());
        let verdict = self.drain_inner(guard, datagrams, events);
        self.tapped = tap::made().or(self.tapped.take());
        if datagrams.len() > first {
            self.clock.sent(self.now);
        }
        if self.done && !was_done && self.role == Role::Server {
            self.last_flight = Some(LastFlight::new(self.now, self.rto, &datagrams[first..]));
        }
        verdict
    }

    fn drain_inner(
        &mut self,
        guard: &mut DtlsGuard,
        datagrams: &mut Vec<Vec<u8>>,
        events: &mut Vec<DtlsEvent>,
    ) -> Result<(), DtlsError> {
        use dimpl::Output;
        let mut buffer = [0; MAX_DATAGRAM];
        let mut grown = Vec::new();
        loop {
            let output = self.inner.poll_output(if grown.is_empty() { &mut buffer[..] } else { &mut grown });
            match output {
                Output::Packet(bytes) if self.role == Role::Server && !guard.is_established() => {
                    datagrams.push(provider::on_the_wire(bytes));
                }
                Output::Packet(bytes) => datagrams.push(bytes.to_vec()),
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
                Output::Connected => self.done = true,
                Output::ApplicationData(bytes) => {
                    // Authentic: the peer has our last flight.
                    self.last_flight = None;
                    self.confirmed = true;
                    events.push(DtlsEvent::Data(bytes.to_vec()));
                }
                Output::CloseNotify => events.push(DtlsEvent::Closed),
                Output::BufferTooSmall { needed } => grown.resize(needed, 0),
                Output::Timeout(at) => {
                    self.clock.due(self.now, at);
                    return self.announce(guard, events);
                }
                // `Output` may gain variants that an SFU has no use for.
                _ => {}
            }
        }
    }

    /// Connected and the keys come in either order: announce once, with both, and only to the announced peer.
    fn announce(&mut self, guard: &mut DtlsGuard, events: &mut Vec<DtlsEvent>) -> Result<(), DtlsError> {
        if !self.done || guard.is_established() {
            return Ok(());
        }
        if self.peer != Some(self.expected) {
            events.clear();
            return Err(DtlsError::FingerprintMismatch);
        }
        let keys = self.keys.take().ok_or(DtlsError::NoSrtpProfile)?;
        guard.establish();
        // Data of the same batch belongs behind the announcement.
        events.insert(0, DtlsEvent::Connected(keys));
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

/// In its box.
impl Footprint for Handshake {
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + HELD
    }
}
