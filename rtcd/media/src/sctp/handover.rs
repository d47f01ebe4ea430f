//! The association as plain data, for another process that goes on with it.
use super::trail::{Repetition, SctpNumbers, Trail};
use super::{Channel, Sctp, guard};
use dcsctp::api::DcSctpSocket as _;
use dcsctp::api::handover::{
    HandoverCapabilities, HandoverOrderedStream, HandoverOutgoingStream, HandoverOutstandingData, HandoverReceive,
    HandoverSocketState, HandoverStreamMessage, HandoverTransmission, HandoverUnorderedStream, SocketHandoverState,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::{Bytes, DeserializeAs, SerializeAs, serde_as};
use std::time::Instant;

/// What another process goes on with.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub(crate) struct SctpState {
    /// `None`: what its trail tells.
    #[serde_as(as = "Option<Association>")]
    association: Option<SocketHandoverState>,
    channels: Vec<Channel>,
    backlog: (usize, usize),
    window: guard::Window,
    #[serde(default)]
    trail: Trail,
}

impl SctpState {
    /// The association has gone on since: of that `numbers` tell, and what may have happened after them is passed over.
    pub(crate) fn leap(&mut self, numbers: Option<SctpNumbers>) {
        self.association = None;
        self.trail.leap(numbers);
    }

    /// How far it is.
    pub(crate) fn numbers(&self) -> SctpNumbers {
        self.trail.numbers()
    }
}

impl Sctp {
    /// Whether [`suspend`](Self::suspend) loses nothing: no handshake, no gap, no half message, no stream being reset.
    pub(crate) fn is_ready(&self) -> bool {
        // Between our INIT ACK and the peer's COOKIE ECHO the crate has no state, but the cookie is this process's.
        self.events.is_empty() && !self.guard.is_shaking_hands() && self.socket.get_handover_readiness().is_ready()
    }

    /// The association, which is dead here from now on. What is under way in one that is not [ready](Self::is_ready) is lost. Packets that
    /// have not been polled yet are lost, as any may be.
    pub(crate) fn suspend(mut self, now: Instant) -> SctpState {
        self.advance(now);
        let association = self.socket.get_handover_state_and_close().ok();
        let window = self.guard.window();
        let mut trail = self.trail;
        if association.is_none() {
            trail.leap(None);
        }
        SctpState { association, channels: self.channels, backlog: self.backlog, window, trail }
    }

    /// What a process needs to go on when this one has died.
    pub(crate) fn outline(&self) -> SctpState {
        let window = self.guard.window();
        let (channels, trail) = (self.channels.clone(), self.trail.clone());
        SctpState { association: None, channels, backlog: (0, 0), window, trail }
    }

    /// How far it is.
    pub(crate) fn numbers(&self) -> SctpNumbers {
        self.trail.numbers()
    }

    /// Goes on with an association. What was under way when it was left in the middle of something, or by a death, is lost.
    /// Where not enough is known of it the peer sees a restart (RFC 9260, section 5.2.2): its channels stay.
    pub(crate) fn resume(state: SctpState, now: Instant) -> Self {
        let mut sctp = Self { channels: state.channels, ..Self::new(now) };
        let guard = guard::SctpGuard::with_window(state.window, now);
        let revived = || state.trail.revive(&sctp.channels).filter(|_| guard.forwards());
        match (state.association, revived()) {
            (Some(association), _) if sctp.socket.restore_from_state(&association).is_ok() => {
                (sctp.guard, sctp.trail, sctp.backlog) = (guard, state.trail, state.backlog);
                sctp.forward = Repetition::begin(now);
                sctp.drain(now);
            }
            (None, Some(association)) if sctp.socket.restore_from_state(&association).is_ok() => {
                (sctp.guard, sctp.trail) = (guard::SctpGuard::adrift(now), state.trail);
                sctp.forward = Repetition::begin(now);
                sctp.repeat_forward(now);
                sctp.drain(now);
            }
            _ if !sctp.channels.is_empty() => sctp.connect(now),
            // The peer has not opened anything yet: it will try again.
            _ => {}
        }
        sctp
    }
}

/// Lets `serde_as` write one of `dcsctp`'s structs by its mirror here.
macro_rules! mirrors {
    ($($mirror:ident of $state:ty),+ $(,)?) => {$(
        impl SerializeAs<$state> for $mirror {
            fn serialize_as<S: Serializer>(state: &$state, serializer: S) -> Result<S::Ok, S::Error> {
                $mirror::serialize(state, serializer)
            }
        }
        impl<'de> DeserializeAs<'de, $state> for $mirror {
            fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<$state, D::Error> {
                $mirror::deserialize(deserializer)
            }
        }
    )+};
}

mirrors! {
    Association of SocketHandoverState,
    State of HandoverSocketState,
    Capabilities of HandoverCapabilities,
    Transmission of HandoverTransmission,
    OutgoingStream of HandoverOutgoingStream,
    QueuedMessage of HandoverStreamMessage,
    Outstanding of HandoverOutstandingData,
    Receive of HandoverReceive,
    OrderedStream of HandoverOrderedStream,
    UnorderedStream of HandoverUnorderedStream,
}

#[serde_as]
#[derive(Serialize, Deserialize)]
#[serde(remote = "SocketHandoverState")]
struct Association {
    #[serde_as(as = "State")]
    socket_state: HandoverSocketState,
    my_verification_tag: u32,
    my_initial_tsn: u32,
    peer_verification_tag: u32,
    peer_initial_tsn: u32,
    tie_tag: u64,
    #[serde_as(as = "Capabilities")]
    capabilities: HandoverCapabilities,
    #[serde_as(as = "Transmission")]
    tx: HandoverTransmission,
    #[serde_as(as = "Receive")]
    rx: HandoverReceive,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverSocketState")]
enum State {
    Closed,
    Connected,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverCapabilities")]
struct Capabilities {
    partial_reliability: bool,
    message_interleaving: bool,
    reconfig: bool,
    zero_checksum: bool,
    negotiated_maximum_incoming_streams: u16,
    negotiated_maximum_outgoing_streams: u16,
}

#[serde_as]
#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverTransmission")]
struct Transmission {
    next_tsn: u32,
    next_outgoing_message_id: u64,
    next_reset_req_sn: u32,
    cwnd: u32,
    rwnd: u32,
    ssthresh: u32,
    partial_bytes_acked: u32,
    #[serde_as(as = "Vec<OutgoingStream>")]
    streams: Vec<HandoverOutgoingStream>,
    #[serde_as(as = "Vec<QueuedMessage>")]
    queued_messages: Vec<HandoverStreamMessage>,
    #[serde_as(as = "Vec<Outstanding>")]
    outstanding_data: Vec<HandoverOutstandingData>,
    last_cumulative_tsn_ack: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverOutgoingStream")]
struct OutgoingStream {
    id: u16,
    next_ssn: u16,
    next_unordered_mid: u32,
    next_ordered_mid: u32,
    priority: u16,
}

#[serde_as]
#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverStreamMessage")]
struct QueuedMessage {
    stream_id: u16,
    ppid: u32,
    #[serde_as(as = "Bytes")]
    payload: Vec<u8>,
    expires_in_ms: Option<i32>,
    max_retransmissions: u16,
    unordered: bool,
    lifecycle_id: u64,
    message_id: u64,
    remaining_offset: usize,
    mid: Option<u32>,
    ssn: Option<u16>,
    fsn: u32,
}

#[serde_as]
#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverOutstandingData")]
struct Outstanding {
    mid: u32,
    stream_id: u16,
    ssn: u16,
    fsn: u32,
    ppid: u32,
    #[serde_as(as = "Bytes")]
    payload: Vec<u8>,
    expires_in_ms: Option<i32>,
    max_retransmissions: u16,
    is_beginning: bool,
    is_end: bool,
    is_unordered: bool,
    lifecycle_id: u64,
    time_since_sent_ms: i32,
    retransmission_count: u16,
    acked: bool,
    is_abandoned: bool,
    is_nacked: bool,
    is_to_be_retransmitted: bool,
    message_id: u64,
}

#[serde_as]
#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverReceive")]
struct Receive {
    seen_packet: bool,
    last_cumulative_acked_tsn: u32,
    last_assembled_tsn: u32,
    last_completed_deferred_reset_req_sn: u32,
    last_completed_reset_req_sn: u32,
    #[serde_as(as = "Vec<OrderedStream>")]
    ordered_streams: Vec<HandoverOrderedStream>,
    #[serde_as(as = "Vec<UnorderedStream>")]
    unordered_streams: Vec<HandoverUnorderedStream>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverOrderedStream")]
struct OrderedStream {
    id: u16,
    next_ssn: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandoverUnorderedStream")]
struct UnorderedStream {
    id: u16,
}
