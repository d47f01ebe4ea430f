//! One SCTP association with its data channels, by `sctp-proto`, behind a face of our own (RFC 8831, RFC 8832).
mod backlog;
mod dcep;
mod guard;
mod handshake;

use backlog::Backlog;
use bytes::Bytes;
use guard::SctpGuard;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, Event,
    Payload, PayloadProtocolIdentifier as Ppi, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The longest message either way, as browsers have it: a description of 1 MiB (contract, section 2) is compressed to a
/// tenth of that.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// What the peer may have in flight towards us: the longest message, and a half.
const RECEIVE_BUFFER: u32 = 384 * 1024;
/// Streams in either direction: `calls-dc` needs one.
const MAX_STREAMS: u16 = guard::STREAMS as u16;
/// Start of the retransmission timer; RFC 9260 says 1 s for networks of 1990. A spurious INIT costs 100 bytes.
const RTO_INITIAL_MS: u64 = 250;
/// A peer may delay its acknowledgement by 200 ms.
const RTO_MIN_MS: u64 = 200;
/// After an outage the channel is back within this time.
const RTO_MAX_MS: u64 = 2_000;

/// The crate keys associations by address; ours has one peer whose address is ICE's business.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5000);

/// A data channel: the SCTP stream that carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChannelId(pub u16);

/// What an association tells.
#[derive(Debug, PartialEq, Eq)]
pub enum SctpEvent {
    /// The peer opened a channel.
    ChannelOpen {
        /// The channel's stream identifier.
        id: ChannelId,
        /// `label` of DATA_CHANNEL_OPEN (RFC 8832, section 5.1).
        label: String,
    },
    /// A whole message has come, reassembled.
    Message {
        /// The channel's stream identifier.
        id: ChannelId,
        /// Whether it was sent as text.
        text: bool,
        /// At most [`MAX_MESSAGE`] bytes.
        data: Vec<u8>,
    },
    /// The association has ended.
    Lost,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such channel, or no association.
    #[error("the data channel is not open")]
    NotOpen,
    /// The peer does not read.
    #[error("the peer does not read its data channel")]
    Stalled,
    /// Longer than [`MAX_MESSAGE`].
    #[error("the message is too long")]
    TooLong,
}

/// One association. Drain [`poll_packet`](Self::poll_packet) and [`poll_event`](Self::poll_event) after each input.
pub struct Sctp {
    config: Arc<TransportConfig>,
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Option<Association>,
    guard: SctpGuard,
    backlog: Backlog,
    answer: handshake::Answer,
    /// Streams, of those few that the guard lets through, with something to read ahead of the COOKIE ACK.
    early: Vec<u16>,
    packets: VecDeque<Bytes>,
    events: VecDeque<SctpEvent>,
}

fn transport_config() -> TransportConfig {
    TransportConfig::default()
        .with_max_send_message_size(MAX_MESSAGE as u32)
        .with_max_receive_message_size(MAX_MESSAGE as u32)
        .with_max_receive_buffer_size(RECEIVE_BUFFER)
        .with_max_num_inbound_streams(MAX_STREAMS)
        .with_max_num_outbound_streams(MAX_STREAMS)
        // A peer that is silent is ICE's business, which gives it 30 s.
        .with_max_init_retransmits(None)
        .with_max_data_retransmits(None)
        .with_rto_initial_ms(RTO_INITIAL_MS)
        .with_rto_min_ms(RTO_MIN_MS)
        .with_rto_max_ms(RTO_MAX_MS)
}

impl Sctp {
    /// A side that waits for the peer's INIT; the DTLS server does.
    pub fn new(now: Instant) -> Self {
        Self::with(transport_config(), now)
    }

    fn with(config: TransportConfig, now: Instant) -> Self {
        let config = Arc::new(config);
        let mut server = ServerConfig::new();
        server.transport = config.clone();
        Self {
            config,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::new()), Some(Arc::new(server))),
            handle: AssociationHandle(0),
            association: None,
            guard: SctpGuard::new(now),
            backlog: Backlog::default(),
            answer: handshake::Answer::default(),
            early: Vec::new(),
            packets: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Sends INIT; the DTLS client does.
    pub fn connect(&mut self, now: Instant) {
        let mut config = ClientConfig::new();
        config.transport = self.config.clone();
        if let Ok((handle, association)) = self.endpoint.connect(config, PEER) {
            self.handle = handle;
            self.association = Some(association);
            self.drain(now);
        }
    }

    /// Handles one packet, which came in one DTLS record.
    pub fn handle_packet(&mut self, now: Instant, mut packet: Vec<u8>) {
        fill_in_checksum(&mut packet);
        if !self.guard.admit(&packet, now) {
            return;
        }
        self.answer.heard();
        match self.endpoint.handle(now, PEER, None, None, packet.into()) {
            Some((handle, DatagramEvent::NewAssociation(association))) if self.association.is_none() => {
                self.handle = handle;
                self.association = Some(association);
            }
            // A second INIT must not replace the association.
            Some((handle, DatagramEvent::NewAssociation(_))) => {
                self.endpoint.handle_event(handle, EndpointEvent::drained());
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) if handle == self.handle => {
                if let Some(association) = &mut self.association {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.drain(now);
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(association) = &mut self.association {
            association.handle_timeout(now);
        }
        self.packets.extend(self.answer.repeat(now));
        self.drain(now);
    }

    /// A peer whose timers are those of browsers (dcsctp), for tests.
    #[cfg(test)]
    pub(crate) fn browser(now: Instant) -> Self {
        let config = transport_config().with_rto_initial_ms(1_000).with_rto_min_ms(400).with_rto_max_ms(3_000);
        Self::with(config, now)
    }

    /// Opens a channel, as only peers do; for tests. False while there is no association.
    #[cfg(test)]
    pub(crate) fn open(&mut self, now: Instant, label: &str) -> bool {
        let Some(association) = self.association.as_mut().filter(|association| !association.is_handshaking()) else {
            return false;
        };
        let mut open = vec![3, 0, 0, 0, 0, 0, 0, 0, 0, label.len() as u8, 0, 0];
        open.extend(label.as_bytes());
        let Ok(mut stream) = association.open_stream(1, Ppi::Dcep) else { return false };
        let is_sent = stream.write_with_ppi(&open, Ppi::Dcep).is_ok();
        self.drain(now);
        is_sent
    }

    /// Queues a message on a channel.
    pub fn send(&mut self, now: Instant, id: ChannelId, text: bool, data: &[u8]) -> Result<(), SendError> {
        if data.len() > MAX_MESSAGE {
            return Err(SendError::TooLong);
        }
        // An empty message travels as one zero byte with a type of its own (RFC 8831, section 6.6).
        let (ppi, data) = match (text, data.is_empty()) {
            (true, false) => (Ppi::String, data),
            (false, false) => (Ppi::Binary, data),
            (true, true) => (Ppi::StringEmpty, &[0][..]),
            (false, true) => (Ppi::BinaryEmpty, &[0][..]),
        };
        let association = self.association.as_mut().ok_or(SendError::NotOpen)?;
        if !self.backlog.has_room(association, data.len()) {
            return Err(SendError::Stalled);
        }
        let mut stream = association.stream(id.0).map_err(|_| SendError::NotOpen)?;
        stream.write_with_ppi(data, ppi).map_err(|_| SendError::NotOpen)?;
        self.backlog.push(id.0, data.len());
        self.drain(now);
        Ok(())
    }

    /// The next packet for the peer, to be sent in one DTLS record.
    pub fn poll_packet(&mut self) -> Option<Bytes> {
        self.packets.pop_front()
    }

    /// The oldest event that has not been taken; `None` until there is input.
    pub fn poll_event(&mut self) -> Option<SctpEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.association.as_ref()?.poll_timeout(), self.answer.next()].into_iter().flatten().min()
    }

    fn drain(&mut self, now: Instant) {
        let Some(association) = &mut self.association else { return };
        while let Some(event) = association.poll() {
            match event {
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => {
                    self.events.push_back(SctpEvent::Lost);
                }
                Event::Stream(StreamEvent::Opened { .. }) => while association.accept_stream().is_some() {},
                // Its COOKIE ACK is late or lost: nothing can be written yet, and what is read now would not be answered.
                Event::Stream(StreamEvent::Readable { id }) if association.is_handshaking() => {
                    self.early.retain(|known| *known != id);
                    self.early.push(id);
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    read_stream(association, id, &mut self.guard, &mut self.backlog, &mut self.events);
                }
                Event::Connected => {
                    for id in self.early.drain(..) {
                        read_stream(association, id, &mut self.guard, &mut self.backlog, &mut self.events);
                    }
                }
                _ => {}
            }
        }
        while let Some(event) = association.poll_endpoint_event() {
            self.endpoint.handle_event(self.handle, event);
        }
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.payload {
                for packet in packets {
                    self.guard.sent(&packet);
                    self.answer.sent(now, &packet);
                    self.packets.push_back(packet);
                }
            }
        }
    }
}

fn read_stream(
    association: &mut Association,
    id: u16,
    guard: &mut SctpGuard,
    backlog: &mut Backlog,
    events: &mut VecDeque<SctpEvent>,
) {
    while let Ok(mut stream) = association.stream(id) {
        let Ok(Some(chunks)) = stream.read_sctp() else { return };
        guard.delivered(id);
        let mut data = vec![0; chunks.len().min(MAX_MESSAGE)];
        if chunks.read(&mut data).is_err() {
            continue;
        }
        match chunks.ppi {
            Ppi::Dcep => {
                let Some(open) = dcep::Open::parse(&data) else { continue };
                // Openings without end whose ACKs nobody takes are not answered.
                if !backlog.has_room(association, dcep::ACK.len()) {
                    continue;
                }
                let Ok(mut stream) = association.stream(id) else { return };
                let kind = match open.reliability {
                    dcep::Reliability::Reliable => ReliabilityType::Reliable,
                    dcep::Reliability::Retransmits => ReliabilityType::Rexmit,
                    dcep::Reliability::Lifetime => ReliabilityType::Timed,
                };
                // The stream exists, as we have just read from it: neither call can fail but by the peer's leaving.
                let _ = stream.set_reliability_params(open.unordered, kind, open.parameter);
                let _ = stream.write_with_ppi(&dcep::ACK, Ppi::Dcep);
                backlog.push(id, dcep::ACK.len());
                events.push_back(SctpEvent::ChannelOpen { id: ChannelId(id), label: open.label });
            }
            Ppi::StringEmpty | Ppi::BinaryEmpty => {
                let text = chunks.ppi == Ppi::StringEmpty;
                events.push_back(SctpEvent::Message { id: ChannelId(id), text, data: Vec::new() });
            }
            ppi => {
                events.push_back(SctpEvent::Message { id: ChannelId(id), text: ppi == Ppi::String, data });
            }
        }
    }
}

/// A zero checksum means "DTLS protects this already" (RFC 9653). The crate wants one, so it gets one.
fn fill_in_checksum(packet: &mut [u8]) {
    if packet.len() >= 12 && packet[8..12] == [0; 4] {
        let sum = crc32c::crc32c(packet);
        packet[8..12].copy_from_slice(&sum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
