//! One participant's transport: ICE-lite, then DTLS, then SCTP beside SRTP. Plain data on exactly one worker.
mod handover;

use crate::demux::Path;
use crate::dtls::{Dtls, DtlsError, DtlsEvent, Fingerprint, Identity, Role};
use crate::footprint::{Footprint, Per, Tally, flat_queue};
use crate::ice::{Check, Credentials, IceLite, Liveness};
use crate::rtp::{SeqNo, Ssrc};
use crate::sctp::{ChannelId, Sctp, SctpEvent, SendError};
use crate::srtp::{Profile, Protector, Srtp, SrtpError};
use crate::stun::{Answer, Request};
use handover::Channels;
pub(crate) use handover::TransportNumbers;
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// ICE and DTLS must be through by then: a phone on a bad network needs seconds, a stranger gets no longer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The data channel of Mattermost Calls.
pub const CHANNEL_LABEL: &str = "calls-dc";

/// What the two descriptions said about the transport.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Our ICE credentials.
    pub local: Credentials,
    /// The peer's ufrag.
    pub remote_ufrag: String,
    /// The peer's certificate.
    pub fingerprint: Fingerprint,
    /// Whether we are DTLS client or server.
    pub role: Role,
}

/// Why a transport has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// We were told to.
    #[error("closed by us")]
    Local,
    /// close_notify, or the association's end.
    #[error("closed by the peer")]
    Peer,
    /// No check has come for [`crate::ice::FAILED_AFTER`].
    #[error("the peer has gone silent")]
    ConsentExpired,
    /// Not connected within [`CONNECT_TIMEOUT`].
    #[error("not connected in time")]
    ConnectTimeout,
    /// The peer broke DTLS, or is not who it said.
    #[error(transparent)]
    Dtls(#[from] DtlsError),
    /// The peer does not read its data channel.
    #[error("the peer does not read its data channel")]
    Stalled,
    /// It did not go on in this process, which has taken over from another one.
    #[error("the process before this one had it: {0}")]
    NotCarried(String),
}

impl CloseReason {
    /// A constant word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::ConsentExpired => "consent_expired",
            Self::ConnectTimeout => "connect_timeout",
            Self::Dtls(DtlsError::FingerprintMismatch) => "fingerprint_mismatch",
            Self::Dtls(_) => "dtls",
            Self::Stalled => "stalled",
            Self::NotCarried(_) => "not_carried",
        }
    }
}

/// What a transport tells.
#[derive(Debug, PartialEq, Eq)]
pub enum TransportEvent {
    /// ICE and DTLS are through: media can flow.
    Connected {
        /// How media is protected.
        profile: Profile,
    },
    /// Checks are missing; it may recover.
    Disconnected,
    /// Checks come again.
    Recovered,
    /// `calls-dc` is open.
    ChannelOpen,
    /// A message on `calls-dc`.
    Message {
        /// Sent as text.
        text: bool,
        /// What it says.
        data: Vec<u8>,
    },
    /// The end; nothing follows.
    Closed(CloseReason),
}

/// The state of one transport. After each `handle_*` and `send` drain [`poll_datagram`](Self::poll_datagram) and
/// [`poll_event`](Self::poll_event), then sleep until [`next_timeout`](Self::next_timeout).
#[derive(Deserialize)]
#[serde(try_from = "handover::Saved")]
pub struct Transport {
    ice: IceLite,
    fingerprint: Fingerprint,
    role: Role,
    created: Instant,
    dtls: Option<Dtls>,
    sctp: Channels,
    srtp: Option<Srtp>,
    channel: Option<ChannelId>,
    disconnected: bool,
    closed: bool,
    events: VecDeque<TransportEvent>,
}

impl Transport {
    /// A transport that waits for the peer's first check.
    pub fn new(parameters: Parameters, now: Instant) -> Self {
        Self {
            ice: IceLite::new(parameters.local, Some(parameters.remote_ufrag)),
            fingerprint: parameters.fingerprint,
            role: parameters.role,
            created: now,
            dtls: None,
            sctp: Channels::None,
            srtp: None,
            channel: None,
            disconnected: false,
            closed: false,
            events: VecDeque::new(),
        }
    }

    /// ICE state, for whoever owns the sockets.
    pub fn ice(&self) -> &IceLite {
        &self.ice
    }

    /// The peer restarts ICE.
    pub fn restart_ice(&mut self, local: Credentials, remote_ufrag: String) {
        self.ice.restart(local, Some(remote_ufrag));
    }

    /// A TCP connection has closed.
    pub fn forget_path(&mut self, path: &Path) {
        self.ice.forget(path);
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.srtp.is_some() && !self.closed
    }

    /// Handles a connectivity check; the answer goes back over `path`. `identity` is ours, and the same at each call.
    pub fn handle_check(
        &mut self,
        now: Instant,
        identity: &Identity,
        path: Path,
        request: &Request<'_>,
    ) -> (Check, Option<Answer>) {
        let (check, answer) = self.ice.handle_check(now, path, request);
        if let Check::Accepted { .. } = check {
            if std::mem::take(&mut self.disconnected) {
                self.events.push_back(TransportEvent::Recovered);
            }
            if self.role == Role::Client && self.dtls.is_none() && !self.closed {
                self.start_dtls(now, identity);
            }
        }
        (check, answer)
    }

    fn start_dtls(&mut self, now: Instant, identity: &Identity) {
        // A browser says hello as soon as it has our answer to a check: that was one round trip, or a little more.
        let round_trip = match self.role {
            Role::Server => self.ice.last_check().map(|at| now.saturating_duration_since(at)),
            Role::Client => None,
        };
        match Dtls::over(identity, self.role, self.fingerprint, round_trip, now) {
            Ok(dtls) => self.dtls = Some(dtls),
            Err(error) => self.end(error.into()),
        }
    }

    /// Handles a DTLS datagram; only from a path that ICE has verified. False when something of it was dropped as
    /// malformed, forged or too much.
    pub fn handle_dtls(&mut self, now: Instant, identity: &Identity, path: &Path, datagram: &[u8]) -> bool {
        if self.closed || !self.ice.knows(path) {
            return true;
        }
        if self.dtls.is_none() {
            self.start_dtls(now, identity);
        }
        let Some(dtls) = &mut self.dtls else { return true };
        let (whole, verdict) = match dtls.handle_datagram(now, datagram) {
            Ok(whole) => (whole, Ok(())),
            Err(error) => (true, Err(error)),
        };
        self.after_dtls(now, verdict);
        whole
    }

    fn after_dtls(&mut self, now: Instant, verdict: Result<(), DtlsError>) {
        while let Some(event) = self.dtls.as_mut().and_then(Dtls::poll_event) {
            match event {
                DtlsEvent::Connected(keys) => {
                    let mut sctp = Sctp::new(now);
                    if self.role == Role::Client {
                        sctp.connect(now);
                    }
                    self.sctp = Channels::Live(Box::new(sctp));
                    self.events.push_back(TransportEvent::Connected { profile: keys.profile() });
                    self.srtp = Some(Srtp::new(keys, self.role));
                }
                DtlsEvent::Data(data) => {
                    if let Channels::Live(sctp) = &mut self.sctp {
                        sctp.handle_packet(now, data);
                    }
                }
                DtlsEvent::Closed => self.end(CloseReason::Peer),
            }
        }
        if let Err(error) = verdict {
            self.end(error.into());
        }
        self.after_sctp();
    }

    fn after_sctp(&mut self) {
        let Channels::Live(sctp) = &mut self.sctp else { return };
        let mut lost = false;
        while let Some(event) = sctp.poll_event() {
            match event {
                SctpEvent::ChannelOpen { id, label } if label == CHANNEL_LABEL => {
                    // A second channel of that name takes the place of the first; it is announced once.
                    if self.channel.replace(id).is_none() {
                        self.events.push_back(TransportEvent::ChannelOpen);
                    }
                }
                SctpEvent::Message { id, text, data } if self.channel == Some(id) => {
                    self.events.push_back(TransportEvent::Message { text, data });
                }
                SctpEvent::ChannelOpen { .. } | SctpEvent::Message { .. } => {}
                SctpEvent::Lost => lost = true,
            }
        }
        let mut verdict = Ok(());
        if let Some(dtls) = &mut self.dtls {
            while let Some(packet) = sctp.poll_packet() {
                verdict = verdict.and(dtls.send(&packet));
            }
        }
        if let Err(error) = verdict {
            self.end(error.into());
        } else if lost {
            self.end(CloseReason::Peer);
        }
    }

    /// Opens an SRTP packet of this peer in place.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<(usize, SeqNo), SrtpError> {
        let srtp = self.srtp.as_mut().ok_or(SrtpError::NotAuthentic)?;
        srtp.unprotector.unprotect_rtp(packet)
    }

    /// Notes a packet that has come inside of an RTX stream; see [`accept_repaired`](crate::srtp::Unprotector::accept_repaired).
    pub fn accept_repaired(&mut self, ssrc: Ssrc, wire: u16) -> Option<SeqNo> {
        self.srtp.as_mut()?.unprotector.accept_repaired(ssrc, wire)
    }

    /// Opens an SRTCP packet of this peer in place.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let srtp = self.srtp.as_mut().ok_or(SrtpError::NotAuthentic)?;
        let len = srtp.unprotector.unprotect_rtcp(packet)?;
        // Whoever has the keys of the handshake is through it.
        if let Some(dtls) = &mut self.dtls {
            dtls.confirm();
        }
        Ok(len)
    }

    /// Where to send and how to protect it, once connected.
    #[inline]
    pub fn outgoing(&mut self) -> Option<(Path, &mut Protector)> {
        let path = self.ice.selected()?;
        let srtp = self.srtp.as_mut().filter(|_| !self.closed)?;
        Some((path, &mut srtp.protector))
    }

    /// Sends a message on `calls-dc`. A peer that does not read ends its own session.
    pub fn send(&mut self, now: Instant, text: bool, data: &[u8]) -> Result<(), SendError> {
        let Some(channel) = self.channel else { return Err(SendError::NotOpen) };
        let verdict = match &mut self.sctp {
            Channels::None => Err(SendError::NotOpen),
            Channels::Live(sctp) => sctp.send(now, channel, text, data),
            Channels::Suspended(suspended) => suspended.queue(text, data),
        };
        if verdict == Err(SendError::Stalled) {
            self.end(CloseReason::Stalled);
        }
        self.after_sctp();
        verdict
    }

    /// Adds all of it, with what it holds.
    pub(crate) fn count(&self, tally: &mut Tally) {
        tally.add(Per::Session, "ice", 1, self.ice.total_bytes());
        let dtls = size_of_val(&self.dtls) + self.dtls.heap_bytes();
        match &self.dtls {
            Some(known) if known.is_shaking_hands() => tally.add(Per::Session, "dtls handshakes", 1, dtls),
            known => tally.add(Per::Session, "dtls", known.iter().count(), dtls),
        }
        let sctp = size_of_val(&self.sctp) + self.sctp.live().map_or(0, Sctp::total_bytes);
        tally.add(Per::Session, "sctp", self.sctp.live().iter().count(), sctp);
        tally.add(Per::Session, "srtp", self.srtp.iter().count(), size_of_val(&self.srtp) + self.srtp.heap_bytes());
        let parts =
            size_of_val(&self.ice) + size_of_val(&self.dtls) + size_of_val(&self.sctp) + size_of_val(&self.srtp);
        tally.add(Per::Session, "transports", 1, size_of::<Self>() - parts + flat_queue(&self.events));
    }

    /// Ends the transport from our side; the goodbye is ready to be polled.
    pub fn close(&mut self) {
        self.end(CloseReason::Local);
    }

    fn end(&mut self, reason: CloseReason) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.close();
        }
        self.events.push_back(TransportEvent::Closed(reason));
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        match self.ice.liveness(now) {
            Liveness::Failed => return self.end(CloseReason::ConsentExpired),
            Liveness::Disconnected if !self.disconnected => {
                self.disconnected = true;
                self.events.push_back(TransportEvent::Disconnected);
            }
            _ => {}
        }
        if self.srtp.is_none() && now >= self.created + CONNECT_TIMEOUT {
            return self.end(CloseReason::ConnectTimeout);
        }
        let is_due = |timeout: Option<Instant>| timeout.is_some_and(|at| at <= now);
        if let Some(dtls) = self.dtls.as_mut().filter(|dtls| is_due(dtls.next_timeout())) {
            let verdict = dtls.handle_timeout(now);
            self.after_dtls(now, verdict);
        }
        if let Channels::Live(sctp) = &mut self.sctp
            && is_due(sctp.next_timeout())
        {
            sctp.handle_timeout(now);
            self.after_sctp();
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let connect = self.srtp.is_none().then(|| self.created + CONNECT_TIMEOUT);
        let dtls = self.dtls.as_ref().and_then(Dtls::next_timeout);
        let sctp = self.sctp.live().and_then(Sctp::next_timeout);
        [connect, dtls, sctp, self.ice.next_timeout(now)].into_iter().flatten().min()
    }

    /// The next datagram (never media) and where it goes.
    pub fn poll_datagram(&mut self) -> Option<(Path, Vec<u8>)> {
        let path = self.ice.selected()?;
        Some((path, self.dtls.as_mut()?.poll_datagram()?))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests;
