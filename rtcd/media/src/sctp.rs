//! One SCTP association with its data channels, by `dcsctp`, behind a face of our own (RFC 8831, RFC 8832).
mod dcep;
mod guard;
mod handover;
mod handshake;
mod trail;

pub(crate) use handover::SctpState;
pub(crate) use trail::SctpNumbers;

use crate::footprint::{Footprint, flat, flat_queue};
use bytes::Bytes;
use dcsctp::api::{
    DcSctpSocket as _, LifecycleId, Message, Options, PpId, SendOptions, Socket, SocketEvent, SocketTime, StreamId,
    ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS as DTLS_PROTECTS,
};
use guard::SctpGuard;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use trail::{Repetition, Sight, Trail};

/// The longest message either way, as browsers have it: a description of 1 MiB (contract, section 2) is compressed to a
/// tenth of that.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// What the peer may have in flight towards us: the longest message, and a half. The crate drops what exceeds nine tenths.
const RECEIVE_BUFFER: usize = 432 * 1024;
/// Streams in either direction: `calls-dc` needs one.
const MAX_STREAMS: u16 = guard::STREAMS as u16;
/// What we keep for a peer that does not read; beyond it the channel is considered dead.
const MAX_BUFFERED: usize = 512 * 1024;
/// What a message costs besides its payload: a peer that acknowledges nothing could make us keep half a million answers of
/// one byte.
const OVERHEAD: usize = 512;

/// What the crate holds for an association with one channel beside its socket and messages (heaptrack).
const HELD: usize = 2048;

/// Payload protocol identifiers (RFC 8831, section 8).
const DCEP: PpId = PpId(50);
const STRING: PpId = PpId(51);
const BINARY: PpId = PpId(53);
const STRING_EMPTY: PpId = PpId(56);
const BINARY_EMPTY: PpId = PpId(57);

/// A data channel: the SCTP stream that carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
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

/// A channel that the peer has opened, and how it wants to be written to.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Channel {
    id: u16,
    unordered: bool,
    max_retransmissions: Option<u16>,
    lifetime: Option<Duration>,
}

/// One association. Drain [`poll_packet`](Self::poll_packet) and [`poll_event`](Self::poll_event) after each input.
pub struct Sctp {
    socket: Box<Socket>,
    /// The socket counts time from here.
    epoch: Instant,
    guard: SctpGuard,
    answer: handshake::Answer,
    trail: Trail,
    forward: Repetition,
    channels: Vec<Channel>,
    /// Messages and bytes that were sent and not acknowledged.
    backlog: (usize, usize),
    packets: VecDeque<Bytes>,
    events: VecDeque<SctpEvent>,
    lost: bool,
}

fn options() -> Options {
    Options {
        announced_maximum_incoming_streams: MAX_STREAMS,
        announced_maximum_outgoing_streams: MAX_STREAMS,
        max_message_size: MAX_MESSAGE,
        max_receiver_window_buffer_size: RECEIVE_BUFFER,
        max_send_buffer_size: MAX_BUFFERED,
        per_stream_send_queue_limit: MAX_BUFFERED,
        // RFC 9260 says 1 s for networks of 1990. A spurious INIT costs 100 bytes.
        t1_init_timeout: Duration::from_millis(250),
        t1_cookie_timeout: Duration::from_millis(250),
        rto_initial: Duration::from_millis(250),
        // A peer may delay its acknowledgement by 200 ms.
        rto_min: Duration::from_millis(200),
        // After an outage the channel is back within this time.
        rto_max: Duration::from_secs(2),
        max_timer_backoff_duration: Some(Duration::from_secs(2)),
        min_rtt_variance: Duration::from_millis(100),
        // A peer that is silent is ICE's business, which gives it 30 s.
        max_retransmissions: None,
        max_init_retransmits: None,
        heartbeat_interval: Duration::ZERO,
        zero_checksum_alternate_error_detection_method: DTLS_PROTECTS,
        enable_handover_with_outstanding_data: true,
        ..Options::default()
    }
}

impl Sctp {
    /// A side that waits for the peer's INIT; the DTLS server does.
    pub fn new(now: Instant) -> Self {
        Self::with(&options(), now)
    }

    fn with(options: &Options, now: Instant) -> Self {
        Self {
            socket: Box::new(Socket::new("", options)),
            epoch: now,
            guard: SctpGuard::new(now),
            answer: handshake::Answer::default(),
            trail: Trail::default(),
            forward: Repetition::default(),
            channels: Vec::new(),
            backlog: (0, 0),
            packets: VecDeque::new(),
            events: VecDeque::new(),
            lost: false,
        }
    }

    /// Sends INIT; the DTLS client does.
    pub fn connect(&mut self, now: Instant) {
        self.advance(now);
        self.socket.connect();
        self.drain(now);
    }

    /// Handles one packet, which came in one DTLS record.
    pub fn handle_packet(&mut self, now: Instant, mut packet: Vec<u8>) {
        fill_in_checksum(&mut packet);
        let step = match self.trail.look(&packet) {
            Sight::Step(step) => Some(step),
            Sight::Nothing => None,
            Sight::Rest => return,
        };
        if let Some(step) = &step {
            self.guard.expect(step.cumulative, step.stream, step.ssn);
        }
        if !self.guard.admit(&packet, now) {
            return;
        }
        self.answer.heard();
        self.trail.heard(&packet);
        self.advance(now);
        if let Some(forward) = step.and_then(|step| self.trail.take(step)) {
            self.socket.handle_input(&forward);
        }
        self.socket.handle_input(&packet);
        self.drain(now);
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.packets.extend(self.answer.repeat(now));
        self.repeat_forward(now);
        self.drain(now);
    }

    fn repeat_forward(&mut self, now: Instant) {
        let packet = self.trail.forward(&self.channels);
        if self.forward.poll(now, packet.is_some()) {
            self.packets.extend(packet);
        }
    }

    /// A peer whose timers are those of browsers, for tests.
    #[cfg(test)]
    pub(crate) fn browser(now: Instant) -> Self {
        let defaults = Options::default();
        let timers = Options {
            t1_init_timeout: defaults.t1_init_timeout,
            t1_cookie_timeout: defaults.t1_cookie_timeout,
            rto_initial: defaults.rto_initial,
            rto_min: defaults.rto_min,
            max_timer_backoff_duration: Some(Duration::from_secs(3)),
            ..options()
        };
        let mut browser = Self::with(&timers, now);
        browser.guard.trust();
        browser
    }

    /// Opens a channel, as only peers do; for tests. False while there is no association.
    #[cfg(test)]
    pub(crate) fn open(&mut self, now: Instant, label: &str) -> bool {
        if self.socket.state() != dcsctp::api::SocketState::Connected {
            return false;
        }
        let mut open = vec![3, 0, 0, 0, 0, 0, 0, 0, 0, label.len() as u8, 0, 0];
        open.extend(label.as_bytes());
        let channel = Channel { id: 1, unordered: false, max_retransmissions: None, lifetime: None };
        self.advance(now);
        let is_sent = self.write(channel, DCEP, &open).is_ok();
        self.channels.push(channel);
        self.drain(now);
        is_sent
    }

    /// Queues a message on a channel.
    pub fn send(&mut self, now: Instant, id: ChannelId, text: bool, data: &[u8]) -> Result<(), SendError> {
        if data.len() > MAX_MESSAGE {
            return Err(SendError::TooLong);
        }
        // An empty message travels as one zero byte with a type of its own (RFC 8831, section 6.6).
        let (ppid, data) = match (text, data.is_empty()) {
            (true, false) => (STRING, data),
            (false, false) => (BINARY, data),
            (true, true) => (STRING_EMPTY, &[0][..]),
            (false, true) => (BINARY_EMPTY, &[0][..]),
        };
        let channel = *self.channels.iter().find(|channel| channel.id == id.0).ok_or(SendError::NotOpen)?;
        self.advance(now);
        self.write(channel, ppid, data)?;
        self.drain(now);
        Ok(())
    }

    /// Queues a message. The name of its life is its length: when it ends, that much is no longer kept.
    fn write(&mut self, channel: Channel, ppid: PpId, data: &[u8]) -> Result<(), SendError> {
        let (messages, bytes) = self.backlog;
        if bytes + data.len() + (messages + 1) * OVERHEAD > MAX_BUFFERED {
            return Err(SendError::Stalled);
        }
        let options = SendOptions {
            unordered: channel.unordered,
            lifetime: channel.lifetime,
            max_retransmissions: channel.max_retransmissions,
            lifecycle_id: LifecycleId::new(data.len() as u64),
        };
        match self.socket.send(Message::new(StreamId(channel.id), ppid, data.to_vec()), &options) {
            Ok(()) => {
                self.backlog = (messages + 1, bytes + data.len());
                Ok(())
            }
            Err(dcsctp::api::SendError::ResourceExhaustion) => Err(SendError::Stalled),
            Err(_) => Err(SendError::NotOpen),
        }
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
        let at = self.socket.poll_timeout();
        let socket = (at != SocketTime::infinite_future()).then(|| self.epoch + (at - SocketTime::zero()));
        [socket, self.answer.next(), self.forward.next()].into_iter().flatten().min()
    }

    fn advance(&mut self, now: Instant) {
        self.socket.advance_time(SocketTime::zero() + now.saturating_duration_since(self.epoch));
    }

    fn drain(&mut self, now: Instant) {
        loop {
            while let Some(message) = self.socket.get_next_message() {
                self.receive(message);
            }
            let Some(event) = self.socket.poll_event() else { return };
            match event {
                SocketEvent::SendPacket(packet) => {
                    let packet = Bytes::from(packet);
                    self.guard.sent(&packet);
                    self.trail.sent(&packet);
                    self.answer.sent(now, &packet);
                    self.packets.push_back(packet);
                }
                SocketEvent::OnLifecycleEnd(id) => {
                    let (messages, bytes) = self.backlog;
                    self.backlog = (messages.saturating_sub(1), bytes.saturating_sub(id.value() as usize));
                }
                SocketEvent::OnAborted(..) | SocketEvent::OnClosed() if !self.lost => {
                    self.lost = true;
                    self.events.push_back(SctpEvent::Lost);
                }
                SocketEvent::OnIncomingStreamReset(streams) => self.close_channels(&streams),
                SocketEvent::OnConnectionRestarted() => self.backlog = (0, 0),
                _ => {}
            }
        }
    }

    /// The peer has closed channels: we close our direction (RFC 8831, section 6.7). No streams means all of them.
    fn close_channels(&mut self, streams: &[StreamId]) {
        let gone = |channel: &mut Channel| streams.is_empty() || streams.contains(&StreamId(channel.id));
        let ours: Vec<_> = self.channels.extract_if(.., gone).map(|channel| StreamId(channel.id)).collect();
        if !ours.is_empty() {
            // A peer that cannot reset streams would not have reset its own.
            let _ = self.socket.reset_streams(&ours);
        }
    }

    fn receive(&mut self, message: Message) {
        let StreamId(stream) = message.stream_id;
        let id = ChannelId(stream);
        self.trail.delivered(stream, self.guard.is_ordered(stream));
        self.guard.delivered(stream);
        let (text, data) = match message.ppid {
            DCEP => return self.accept_channel(stream, &message.payload),
            STRING_EMPTY => (true, Vec::new()),
            BINARY_EMPTY => (false, Vec::new()),
            ppid => (ppid == STRING, message.payload),
        };
        if data.len() <= MAX_MESSAGE {
            self.events.push_back(SctpEvent::Message { id, text, data });
        }
    }

    fn accept_channel(&mut self, id: u16, data: &[u8]) {
        let Some(open) = dcep::Open::parse(data) else { return };
        let ordered = Channel { id, unordered: false, max_retransmissions: None, lifetime: None };
        // Openings without end whose ACKs nobody takes are not answered.
        if self.write(ordered, DCEP, &dcep::ACK).is_err() {
            return;
        }
        let limit = open.parameter;
        self.channels.retain(|channel| channel.id != id);
        self.channels.push(Channel {
            unordered: open.unordered,
            max_retransmissions: (open.reliability == dcep::Reliability::Retransmits)
                .then_some(u16::try_from(limit).unwrap_or(u16::MAX)),
            lifetime: (open.reliability == dcep::Reliability::Lifetime).then_some(Duration::from_millis(limit.into())),
            ..ordered
        });
        self.events.push_back(SctpEvent::ChannelOpen { id: ChannelId(id), label: open.label });
    }
}

/// A zero checksum means "DTLS protects this already" (RFC 9653). The crate wants one, so it gets one.
fn fill_in_checksum(packet: &mut [u8]) {
    if packet.len() >= 12 && packet[8..12] == [0; 4] {
        let sum = crc32c::crc32c(packet);
        packet[8..12].copy_from_slice(&sum.to_le_bytes());
    }
}

impl Footprint for Sctp {
    fn heap_bytes(&self) -> usize {
        let (messages, bytes) = self.backlog;
        let socket = size_of::<Socket>() + HELD + messages * OVERHEAD + bytes;
        let packets: usize = self.packets.iter().map(Bytes::len).sum();
        socket + flat(&self.channels) + packets + flat_queue(&self.packets) + flat_queue(&self.events)
    }
}

#[cfg(test)]
mod tests;
