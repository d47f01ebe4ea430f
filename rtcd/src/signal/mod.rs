//! Signalling: who is in which call, offers and answers, who may hear whom. Knows no packet and no HTTP.
//!
//! What is decided is one value, [`signalling`]; the [`actor`] around it is the task that everything wakes, by an [`Input`].
mod actor;
pub mod data_channel;
mod keep;
pub mod message;
pub mod negotiation;
mod outgoing;
mod reading;
mod signalling;

pub use signalling::SignallingRecord;
pub use signalling::describe::Reported;

use crate::handover::control::ControlMemory;
use crate::ids::{CallId, ClientId, ConnId, SessionId, UserId};
use crate::metrics::Metrics;
use crate::plane::PlaneHandle;
use data_channel::TrackKind;
use message::{ClientMessage, MessageError, ServerMessage};
use rtcd_media::codec::Codec;
use rtcd_media::dtls::Fingerprint;
use rtcd_media::footprint::Tally;
use rtcd_media::ice::candidate::PeerPolicy;
use rtcd_media::sdp::write::Candidate;
use rtcd_media::sfu::command::{Event, TrackId, TransportId};
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Everything that can wake the signalling actor.
#[derive(Debug)]
pub enum Input {
    /// A client's WebSocket is up.
    Connected {
        /// The client id of its credentials.
        client: ClientId,
        /// An id of ours, new for each WebSocket.
        conn: ConnId,
        /// Where messages to it go.
        outgoing: mpsc::Sender<ServerMessage>,
    },
    /// A message, or what could not be read as one, came in on a connection.
    Message {
        /// The connection it came from.
        conn: ConnId,
        /// The decoded message, or why it was refused.
        message: Result<ClientMessage, MessageError>,
        /// Its part of what may be under way to the actor; given back when the actor has taken the message.
        room: Option<OwnedSemaphorePermit>,
    },
    /// A WebSocket has gone.
    Disconnected {
        /// The client that the connection was authenticated as.
        client: ClientId,
        /// As given to `Connect`.
        conn: ConnId,
    },
    /// The HTTP API asks for the sessions of a call.
    Sessions {
        /// The authenticated client: its group is looked into.
        client: ClientId,
        /// `callID` within the client's group.
        call: CallId,
        /// `None`: the call is not known (it has ended).
        reply: oneshot::Sender<Option<Vec<SessionInfo>>>,
    },
    /// The admin asks how all sessions are.
    Describe(oneshot::Sender<Vec<SessionStatus>>),
    /// The admin asks what signalling holds.
    Tally(oneshot::Sender<Tally>),
    /// Participants are told these candidates from now on.
    Advertise(Arc<[Candidate]>),
    /// And these relayed ones.
    AdvertiseRelays(Arc<[Candidate]>),
    /// Where participants may be from now on, as far as they are sent anything before they have been heard.
    SetPeers(PeerPolicy),
    /// A client has been unregistered: its sessions end and its WebSockets are closed.
    ClientGone(ClientId),
    /// Whether new calls shall go elsewhere from now on.
    SetDraining(bool),
    /// Another process goes on. Nothing is taken any more, from anybody.
    Leave(Leaving),
    /// Ends all sessions; each is told by a `close`, and so is whoever joins afterwards.
    Stop {
        /// Only if there is no session.
        if_idle: bool,
        /// Told when `close` has been queued for each; `false`: there is a session, and nothing was done.
        done: oneshot::Sender<bool>,
    },
}

/// How signalling leaves for another process.
#[derive(Debug)]
pub struct Leaving {
    /// Told when everything that was asked for is done, and nothing more will be.
    held: oneshot::Sender<()>,
    /// Tells that the plane has ended, and all its events are there.
    plane_ended: oneshot::Receiver<()>,
    /// What the other process needs to know.
    record: oneshot::Sender<SignallingRecord>,
}

/// Inputs that may wait for the actor; whoever has more to say waits.
const INPUTS: usize = 4096;
/// Bytes of messages that may wait for the actor, besides those of a few bytes: 16 of the longest.
const INPUT_BYTES: usize = 16 * 1024 * 1024;

/// What the signalling actor needs to know of the media side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where participants reach us.
    pub candidates: Arc<[Candidate]>,
    /// Where they may be, as far as we send them anything before they have been heard.
    pub peers: PeerPolicy,
    /// SHA-256 of our DTLS certificate, for descriptions.
    pub fingerprint: Fingerprint,
    /// Sessions that one client may have at a time.
    pub max_sessions_per_client: usize,
    /// Whether new calls are refused while they shall go elsewhere.
    pub refuse_calls_while_draining: bool,
}

/// Numbers of calls and sessions that are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Calls with at least one session.
    pub calls: usize,
    /// Sessions that have joined and not ended.
    pub sessions: usize,
    /// Whether new calls shall go elsewhere.
    pub draining: bool,
    /// New calls that were taken all the same since it began.
    pub calls_while_draining: u64,
}

/// The signalling actor, and what others may have of it.
pub struct Signal {
    /// To talk to it.
    pub handle: SignalHandle,
    /// Numbers of calls and sessions that are live.
    pub status: watch::Receiver<Status>,
    /// Grows at least twice a second while the actor lives.
    pub heartbeat: Arc<AtomicU64>,
}

/// What signalling goes on with, which another process has left.
pub struct Legacy {
    /// All that it knew.
    pub record: SignallingRecord,
    /// When it was written, by the clock of this process.
    pub written: Instant,
    /// After a crash: the sessions that workers go on with.
    pub survivors: Option<HashSet<TransportId>>,
}

/// Starts the actor on the current tokio runtime. It ends with the last handle, or with the plane.
pub fn start(
    settings: Settings,
    plane: PlaneHandle,
    events: mpsc::Receiver<Event>,
    metrics: Metrics,
    legacy: Option<Legacy>,
    memory: ControlMemory,
) -> Signal {
    let (input, inputs) = mpsc::channel(INPUTS);
    let candidates = settings.candidates.to_vec();
    let (status, status_out) = watch::channel(Status::default());
    let heartbeat = Arc::new(AtomicU64::new(0));
    let (outcome, outcomes) = mpsc::unbounded_channel();
    let mut actor = actor::Actor::new(settings, plane, metrics, status, heartbeat.clone(), outcome, memory);
    if let Some(legacy) = legacy {
        actor.begin(legacy);
    }
    tokio::spawn(actor.run(inputs, events, outcomes));
    let handle = SignalHandle::new(input);
    handle.told.lock().unwrap_or_else(PoisonError::into_inner).0 = candidates;
    Signal { handle, status: status_out, heartbeat }
}

/// What the API says of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The group, which is the client's id.
    pub group: ClientId,
    /// `callID` within the client's group.
    pub call: CallId,
    /// `userID`, as it joined.
    pub user: UserId,
    /// `sessionID`, as it joined.
    pub session: SessionId,
    /// `channelID` of the join.
    pub channel_id: String,
    /// Whether the participant can receive AV1.
    pub av1_support: bool,
    /// Whether offers and answers travel over the data channel.
    pub dc_signaling: bool,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It has joined and not offered yet.
    AwaitsOffer,
    /// Its first connectivity check has not come yet: as a rule a firewall is in between.
    AwaitsCheck,
    /// It was heard, and the data channel is not open yet.
    Connecting,
    /// All is open.
    InCall,
}

/// A track that a participant sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentTrack {
    /// The plane's name for it.
    pub track: TrackId,
    /// What it is to participants.
    pub kind: TrackKind,
    /// What it carries.
    pub codec: Codec,
    /// A voice that is heard now.
    pub speaking: bool,
}

/// A track that a participant receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedTrack {
    /// The plane's name for it.
    pub track: TrackId,
    /// What it is to participants.
    pub kind: TrackKind,
    /// What it carries.
    pub codec: Codec,
    /// Whose it is.
    pub from: SessionId,
}

/// How a session is, as far as signalling knows.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionStatus {
    /// The plane's name for it.
    pub transport: TransportId,
    /// The group, which is the client's id.
    pub group: ClientId,
    /// `callID` within the client's group.
    pub call: CallId,
    /// `userID`, as it joined.
    pub user: UserId,
    /// `sessionID`, as it joined.
    pub session: SessionId,
    /// The WebSocket that its messages take.
    pub conn: ConnId,
    /// How long ago it joined.
    pub joined: Duration,
    /// How far it has come.
    pub stage: Stage,
    /// Its microphone is off.
    pub muted: bool,
    /// Messages of it that were refused.
    pub refusals: u32,
    /// What it sends.
    pub sends: Vec<SentTrack>,
    /// What it receives.
    pub receives: Vec<ReceivedTrack>,
    /// What it has said last of its own way.
    pub reported: Reported,
}

/// The signalling actor has ended (the process is stopping).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopped;

/// A cheap handle on the signalling actor.
#[derive(Clone)]
pub struct SignalHandle {
    input: mpsc::Sender<Input>,
    /// First come, first served: each connection has one message that waits.
    room: Arc<Semaphore>,
    /// What was said to be told last: of this machine, and of relays.
    told: Arc<Mutex<(Vec<Candidate>, Vec<Candidate>)>>,
}

impl SignalHandle {
    /// A handle that feeds `input`.
    pub fn new(input: mpsc::Sender<Input>) -> Self {
        Self { input, room: Arc::new(Semaphore::new(INPUT_BYTES)), told: Arc::default() }
    }
    /// Announces a WebSocket connection of an authenticated client; `hello` is its first outgoing message.
    pub async fn connect(&self, client: ClientId, conn: ConnId) -> Result<mpsc::Receiver<ServerMessage>, Stopped> {
        let (outgoing, receiver) = mpsc::channel(outgoing::OUTGOING_QUEUE);
        self.send(Input::Connected { client, conn, outgoing }).await?;
        Ok(receiver)
    }
    /// Hands over one frame of a connection, decoded or refused.
    pub async fn message(&self, conn: ConnId, message: Result<ClientMessage, MessageError>) -> Result<(), Stopped> {
        let bytes = if let Ok(ClientMessage::Rtc(message)) = &message { message.data.len() } else { 0 };
        let room = match u32::try_from(bytes.min(INPUT_BYTES)) {
            Ok(0) | Err(_) => None,
            Ok(bytes) => Some(self.room.clone().acquire_many_owned(bytes).await.map_err(|_| Stopped)?),
        };
        self.send(Input::Message { conn, message, room }).await
    }
    /// The connection has gone.
    pub async fn disconnect(&self, client: ClientId, conn: ConnId) -> Result<(), Stopped> {
        self.send(Input::Disconnected { client, conn }).await
    }
    /// The sessions of a call, `None` when the group or the call is unknown.
    pub async fn sessions(&self, client: ClientId, call: CallId) -> Result<Option<Vec<SessionInfo>>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Sessions { client, call, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }
    /// How all sessions are.
    pub async fn describe(&self) -> Result<Vec<SessionStatus>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Describe(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }
    /// What all sessions hold here.
    pub async fn tally(&self) -> Result<Tally, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Tally(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }
    /// Whoever joins, or restarts ICE, is told these candidates from now on.
    pub async fn advertise(&self, candidates: Vec<Candidate>) -> Result<(), Stopped> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0 = candidates.clone();
        self.send(Input::Advertise(candidates.into())).await
    }
    /// And these relayed ones, beside what [`advertise`](Self::advertise) has said.
    pub async fn advertise_relays(&self, relays: Vec<Candidate>) -> Result<(), Stopped> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).1 = relays.clone();
        self.send(Input::AdvertiseRelays(relays.into())).await
    }
    /// What whoever joins is told now, the relayed ones last.
    pub fn told(&self) -> Vec<Candidate> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        [&told.0[..], &told.1].concat()
    }
    /// Addresses of this machine have come or gone, and with them where participants may be.
    pub async fn set_peers(&self, peers: PeerPolicy) -> Result<(), Stopped> {
        self.send(Input::SetPeers(peers)).await
    }
    /// A client has been unregistered: nothing of it is left when what is queued before has been seen to.
    pub async fn client_gone(&self, client: ClientId) -> Result<(), Stopped> {
        self.send(Input::ClientGone(client)).await
    }
    /// Whether new calls shall go elsewhere from now on.
    pub async fn set_draining(&self, draining: bool) -> Result<(), Stopped> {
        self.send(Input::SetDraining(draining)).await
    }
    /// Ends all sessions; returns when their `close` messages are queued. Whoever joins afterwards gets a `close`, too.
    pub async fn stop(&self) -> Result<(), Stopped> {
        self.end(false).await.map(drop)
    }
    /// The same if there is no session; else `false`, and sessions come and go as before.
    pub async fn stop_if_idle(&self) -> Result<bool, Stopped> {
        self.end(true).await
    }
    /// Another process goes on with the calls: all that it needs to know. When everything is done that was asked for, `plane`
    /// is to end; what it has still told is in the record.
    pub async fn leave<T>(&self, plane: impl Future<Output = T>) -> Result<(T, SignallingRecord), Stopped> {
        let (held, is_held) = oneshot::channel();
        let (ended, plane_ended) = oneshot::channel();
        let (record, left) = oneshot::channel();
        self.send(Input::Leave(Leaving { held, plane_ended, record })).await?;
        is_held.await.map_err(|_| Stopped)?;
        let plane = plane.await;
        // An actor that has ended does not answer below.
        let _ = ended.send(());
        Ok((plane, left.await.map_err(|_| Stopped)?))
    }
    async fn end(&self, if_idle: bool) -> Result<bool, Stopped> {
        let (done, ended) = oneshot::channel();
        self.send(Input::Stop { if_idle, done }).await?;
        ended.await.map_err(|_| Stopped)
    }
    async fn send(&self, input: Input) -> Result<(), Stopped> {
        self.input.send(input).await.map_err(|_| Stopped)
    }
}
