//! What comes out of [`Signalling`](super::Signalling): all that is to be done, in its order.
use crate::ids::{ClientId, ConnId};
use crate::metrics::{ConnState, Direction, ErrorKind, MediaType, TrackType};
use crate::signal::message::ServerMessage;
use crate::signal::reading::SignalingChannel;
use rtcd_media::footprint::{Footprint, flat_queue};
use rtcd_media::sfu::command::{Command, TrackId, TransportId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Something to be done by whoever has the connections, the plane, the threads and the metrics.
#[derive(Debug)]
pub(in crate::signal) enum Output {
    /// To a WebSocket. If its queue has no room, or has gone, the queue ends and the message comes back by
    /// [`handle_refused`](super::Signalling::handle_refused), before the next output is taken.
    Message(Envelope),
    /// The WebSocket is closed behind what is queued for it.
    Disconnect(ConnId),
    /// To a worker of the plane. One that finds no room is lost: the worker hangs.
    Command { worker: WorkerId, command: Command },
    /// The worker samples the times of its writes of this track, for the group.
    Measure { worker: WorkerId, track: TrackId, group: ClientId, kind: MediaType },
    /// A description is read beside, which takes milliseconds; what it says comes back by
    /// [`handle_description_read`](super::Signalling::handle_description_read).
    Read { id: TransportId, channel: SignalingChannel, bytes: Vec<u8> },
    /// Something is counted or measured.
    Count(Count),
}

/// A message on its way to a WebSocket.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::signal) struct Envelope {
    /// Whose WebSocket it must be.
    pub(in crate::signal) client: ClientId,
    /// The one that it takes.
    pub(in crate::signal) conn: ConnId,
    /// The session that it is about; it follows its messages to another WebSocket.
    pub(in crate::signal) session: Option<TransportId>,
    pub(in crate::signal) message: ServerMessage,
}

/// What is counted: a line here for each kind of [`Metrics`](crate::metrics::Metrics).
#[derive(Debug, Clone, PartialEq)]
pub(in crate::signal) enum Count {
    Disconnected(ClientId),
    SessionJoined(ClientId),
    SessionEnded(ClientId),
    TrackStarted(ClientId, Direction, TrackType),
    TrackEnded(ClientId, Direction, TrackType),
    ConnState(ConnState),
    Error(ClientId, ErrorKind),
    Sample(ClientId, Sample),
    /// A description has waited so long for its turn.
    Waited(Duration),
    /// A message found no room; the label says where.
    Refused(&'static str),
    /// A call began while new calls were to go elsewhere.
    CallWhileDraining,
}

/// One value of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::signal) enum Sample {
    /// From the join until DTLS was through.
    Connected(Duration),
    /// From the join until the data channel was open.
    ChannelOpen(Duration),
    /// How long an offer of ours waited for the signalling lock.
    LockGrabbed(Duration),
    /// How long the signalling lock was held.
    LockHeld(Duration),
    /// Share of packets that a participant says it lost, 0..=1.
    LossRate(f64),
    /// As a participant measures it, in seconds.
    RoundTripTime(f64),
    /// As a participant measures it, in seconds.
    Jitter(f64),
}

/// The outputs that have not been taken yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Outputs(VecDeque<Output>);

/// Without what they say.
impl Footprint for Outputs {
    fn heap_bytes(&self) -> usize {
        flat_queue(&self.0)
    }
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.0.push_back(output);
    }

    /// Before all others: it takes the place of one that was taken.
    pub(super) fn push_first(&mut self, output: Output) {
        self.0.push_front(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }

    pub(super) fn command(&mut self, worker: WorkerId, command: Command) {
        self.push(Output::Command { worker, command });
    }

    pub(super) fn count(&mut self, count: Count) {
        self.push(Output::Count(count));
    }

    pub(super) fn error(&mut self, group: &ClientId, kind: ErrorKind) {
        self.count(Count::Error(group.clone(), kind));
    }

    pub(super) fn sample(&mut self, group: &ClientId, sample: Sample) {
        self.count(Count::Sample(group.clone(), sample));
    }
}
