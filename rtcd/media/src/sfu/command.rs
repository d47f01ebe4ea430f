//! The two enums in which control and the workers' switches meet, and the ids that both know.
use crate::codec::Codec;
use crate::dtls::{Fingerprint, Role};
use crate::footprint::{Footprint, flat};
use crate::ice::Credentials;
use crate::rtp::{ExtensionIds, Ssrc};
use crate::sdp::{MediaKind, Mid, Rid};
use crate::sfu::allocation::Kind;
use crate::sfu::rewrite::Numbers;
use crate::transport::{CloseReason, TransportEvent};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// One participant's transport, unique in the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TransportId(pub u64);

/// One incoming track, unique in the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TrackId(pub u64);

/// The number of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WorkerId(pub u8);

/// Most workers that a plane has; a [`WorkerSet`] has a bit for each.
pub const MAX_WORKERS: usize = 64;

/// Some workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WorkerSet(pub u64);

impl WorkerSet {
    /// Adds one.
    pub fn insert(&mut self, worker: WorkerId) {
        self.0 |= 1 << worker.0;
    }
    /// Removes one.
    pub fn remove(&mut self, worker: WorkerId) {
        self.0 &= !(1 << worker.0);
    }
    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = WorkerId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = (rest != 0).then(|| WorkerId(rest.trailing_zeros() as u8));
            rest &= rest.wrapping_sub(1);
            next
        })
    }
    /// Whether nobody is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Who owns a transport. Set once, by whoever hears its first authentic check.
#[derive(Debug, Default)]
pub struct Claim {
    owner: Home,
    home: Option<Arc<Home>>,
}

/// The worker that a transport is on, or the members of a small call, once there is one. Set once, by whoever is first.
#[derive(Debug)]
pub struct Home(AtomicU8);

impl Default for Home {
    fn default() -> Self {
        Self(AtomicU8::new(u8::MAX))
    }
}

impl Home {
    /// The worker, which is `worker` if nobody was faster.
    pub fn settle(&self, worker: WorkerId) -> WorkerId {
        match self.0.compare_exchange(u8::MAX, worker.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => worker,
            Err(known) => WorkerId(known),
        }
    }

    /// The worker, once there is one.
    pub fn worker(&self) -> Option<WorkerId> {
        Some(self.0.load(Ordering::Acquire)).filter(|known| *known != u8::MAX).map(WorkerId)
    }
}

impl Claim {
    /// The owner, which is `worker` if nobody was faster.
    pub fn claim(&self, worker: WorkerId) -> WorkerId {
        self.owner.settle(worker)
    }

    /// One that has its owner.
    pub fn owned(worker: WorkerId) -> Self {
        Self { owner: Home(AtomicU8::new(worker.0)), home: None }
    }

    /// One that goes where the others of its call are, if that worker does not have too many.
    pub fn at_home(home: Arc<Home>) -> Self {
        Self { home: Some(home), ..Self::default() }
    }

    /// Where the others of its call are; `None` in a call that is spread over all workers.
    pub fn home(&self) -> Option<&Home> {
        self.home.as_deref()
    }

    /// The owner, once an authentic check has come.
    pub fn owner(&self) -> Option<WorkerId> {
        self.owner.worker()
    }

    /// Whether an authentic check has come.
    pub fn is_claimed(&self) -> bool {
        self.owner().is_some()
    }
}

/// A transport to wait for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Its id.
    pub transport: TransportId,
    /// Our ICE credentials.
    pub local: Credentials,
    /// The peer's ufrag.
    pub remote_ufrag: String,
    /// The peer's certificate.
    pub fingerprint: Fingerprint,
    /// Our part in DTLS.
    pub role: Role,
}

/// A track that a peer may send, as its description announced it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Incoming {
    /// Its id.
    pub track: TrackId,
    /// Where it was announced.
    pub mid: Mid,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// Payload types that mean a codec of ours.
    pub formats: Vec<(u8, Codec)>,
    /// The peer's extension ids in this section.
    pub extensions: ExtensionIds,
    /// Announced streams, one per layer when there is no RID.
    pub ssrcs: Vec<Ssrc>,
    /// Payload types of RTX, each with the one that it repairs (RFC 4588, section 8.6: `apt`).
    pub rtx: Vec<(u8, u8)>,
    /// Announced streams of RTX, each with the one that it repairs (`a=ssrc-group:FID`).
    pub rtx_ssrcs: Vec<(Ssrc, Ssrc)>,
    /// Layers, lowest first; empty without simulcast.
    pub rids: Vec<Rid>,
    /// Whether the peer answers NACKs of sound, too (`a=rtcp-fb:.. nack`).
    pub nack: bool,
    /// Whether voice activity is looked for.
    pub detect_voice: bool,
    /// Whether its packets pass (the mute gate).
    pub open: bool,
}

/// A track that is sent to a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outgoing {
    /// The receiver.
    pub transport: TransportId,
    /// What is sent.
    pub track: TrackId,
    /// The sender's transport, and its worker: where key frames are asked for.
    pub publisher: (TransportId, WorkerId),
    /// The stream to the receiver.
    pub ssrc: Ssrc,
    /// What it carries.
    pub codec: Codec,
    /// What it shows; `None`: it is sound.
    pub kind: Option<Kind>,
    /// What the receiver calls it.
    pub numbers: Numbers,
    /// The sender's session id.
    pub cname: String,
}

/// What control tells a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// To every worker: the first to hear an authentic check claims the transport.
    #[serde(skip)]
    Open {
        /// What is waited for.
        open: Arc<Open>,
        /// Where the owner is noted.
        claim: Arc<Claim>,
    },
    /// To every worker: checks of this transport will use new credentials.
    RestartIce {
        /// Which.
        transport: TransportId,
        /// Our new credentials.
        local: Credentials,
        /// The peer's new ufrag.
        remote_ufrag: String,
    },
    /// To every worker: where the peer says that its checks will come from. Until the first one has come, `opens` sends some
    /// of ours there, for what is between us to let the peer's pass.
    Candidates {
        /// Which.
        transport: TransportId,
        /// The peer's ICE credentials.
        remote: Credentials,
        /// All that are known, at most [`MAX_CANDIDATES`](crate::ice::candidate::MAX_CANDIDATES).
        candidates: Vec<SocketAddr>,
        /// The worker that does.
        opens: WorkerId,
    },
    /// To every worker: the transport ends, its paths and ufrags are forgotten.
    Close {
        /// Which.
        transport: TransportId,
    },
    /// A data channel message.
    Send {
        /// To whom.
        transport: TransportId,
        /// As text.
        text: bool,
        /// What it says.
        data: Vec<u8>,
    },
    /// All that the peer may send from now on; what is missing from the list has ended.
    SetIncoming {
        /// The sender.
        transport: TransportId,
        /// The list.
        tracks: Vec<Incoming>,
    },
    /// The mute gate of a track.
    SetGate {
        /// The sender.
        transport: TransportId,
        /// The track.
        track: TrackId,
        /// Whether packets pass.
        open: bool,
    },
    /// To the sender's worker: which workers have receivers of the track.
    Route {
        /// The track.
        track: TrackId,
        /// The workers.
        workers: WorkerSet,
    },
    /// To the receiver's worker.
    AddOutgoing(Box<Outgoing>),
    /// To the receiver's worker: it has agreed to other numbers.
    Renumber {
        /// The receiver.
        transport: TransportId,
        /// The stream.
        ssrc: Ssrc,
        /// What holds from the next packet on.
        numbers: Numbers,
    },
    /// To the receiver's worker.
    RemoveOutgoing {
        /// The receiver.
        transport: TransportId,
        /// The stream.
        ssrc: Ssrc,
    },
    /// To the receiver's worker, which goes on after a crash: it may have written down streams that have ended since.
    RetainOutgoing {
        /// The receiver.
        transport: TransportId,
        /// All that it is sent.
        ssrcs: Vec<Ssrc>,
    },
}

/// What a worker tells control.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The transport lives on this worker from now on.
    Claimed {
        /// Which.
        transport: TransportId,
        /// Where.
        worker: WorkerId,
    },
    /// Something happened to a transport.
    Transport {
        /// Which.
        transport: TransportId,
        /// What.
        event: TransportEvent,
    },
    /// The first authentic packet of a track has come, or the first one of another codec.
    TrackStarted {
        /// The sender.
        transport: TransportId,
        /// The track.
        track: TrackId,
        /// What it carries.
        codec: Codec,
    },
    /// The worker has hit a bug, and goes on with what it had written down.
    BegunAgain {
        /// Which.
        worker: WorkerId,
        /// Those who go on; the ends of others have been told.
        transports: Vec<TransportId>,
    },
    /// Voice has begun or ended.
    Voice {
        /// The sender.
        transport: TransportId,
        /// The track.
        track: TrackId,
        /// Begun.
        active: bool,
    },
}

impl Event {
    /// Whether it may be dropped when control does not keep up: the state is not lost with it.
    pub fn is_droppable(&self) -> bool {
        matches!(self, Self::Voice { .. } | Self::Transport { event: TransportEvent::Message { .. }, .. })
    }
    /// The end of a transport.
    pub fn closed(transport: TransportId, reason: CloseReason) -> Self {
        Self::Transport { transport, event: TransportEvent::Closed(reason) }
    }
}

impl Footprint for Open {
    fn heap_bytes(&self) -> usize {
        self.local.heap_bytes() + self.remote_ufrag.heap_bytes()
    }
}

impl Footprint for Incoming {
    fn heap_bytes(&self) -> usize {
        let names = self.mid.heap_bytes() + self.rids.heap_bytes();
        let streams = flat(&self.ssrcs) + flat(&self.rtx_ssrcs);
        names + streams + flat(&self.formats) + flat(&self.rtx)
    }
}
