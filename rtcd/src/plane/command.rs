//! What control tells a worker: what its switch is to do, and what is the worker's own business.
use super::handover::{Left, Meeting, WorkerStart};
use super::relay::{OpenRelay, RelayId};
use super::socket::UdpSocket;
use rtcd_media::footprint::Tally;
use rtcd_media::sfu::command::{Command as SwitchCommand, TrackId};
use rtcd_media::sfu::switch::{LocalSocket, PeerStatus};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// What control tells a worker.
#[derive(Debug)]
pub enum Command {
    /// To its switch.
    Switch(SwitchCommand),
    /// Before the first receiver of a track: where the times of writes are sampled into.
    Measure {
        /// The track.
        track: TrackId,
        /// In seconds.
        writes: prometheus::Histogram,
    },
    /// Its own socket of an address, in the place of the one that had the number before.
    Socket {
        /// The next one, or one that is known: `Path::local` of what travels by it.
        number: usize,
        /// The socket.
        socket: UdpSocket,
    },
    /// The same for a listener. Its number is in no path.
    Listener {
        /// The next one, or one that is known.
        number: usize,
        /// The listener.
        listener: TcpListener,
    },
    /// The sockets whose addresses this machine has now: checks of ours leave from them alone.
    LocalSockets(Vec<LocalSocket>),
    /// An allocation of a TURN server, for this worker's sockets and everybody's sessions.
    OpenRelay(Box<OpenRelay>),
    /// It is given back.
    CloseRelay(RelayId),
    /// What it goes on with, which another process has left: its first command.
    Start(Box<WorkerStart>),
    /// Data channels are suspended as they get ready, and all of them at `until`; then `done` is told.
    Suspend {
        /// When it loses something, it loses it.
        until: Instant,
        /// When nothing is half done any more.
        done: oneshot::Sender<()>,
    },
    /// The worker ends, and another process goes on.
    Leave {
        /// With the other workers.
        meeting: Arc<Meeting>,
        /// What it leaves.
        left: oneshot::Sender<Left>,
    },
    /// How its peers are, told to whoever waits.
    Describe(oneshot::Sender<Vec<PeerStatus>>),
    /// What it holds, told to whoever waits.
    Tally(oneshot::Sender<Tally>),
    /// It hits a bug.
    #[cfg(test)]
    HitBug,
    /// The worker ends.
    Stop,
}

impl From<SwitchCommand> for Command {
    fn from(command: SwitchCommand) -> Self {
        Self::Switch(command)
    }
}
