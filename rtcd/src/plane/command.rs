//! What control tells a worker: what its switch is to do, and what is the worker's own business.
use super::relay::{OpenRelay, RelayId};
use rtcd_media::sfu::command::{Command as SwitchCommand, TrackId};

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
    /// An allocation of a TURN server, for this worker's sockets and everybody's sessions.
    OpenRelay(Box<OpenRelay>),
    /// It is given back.
    CloseRelay(RelayId),
    /// The worker ends.
    Stop,
}

impl From<SwitchCommand> for Command {
    fn from(command: SwitchCommand) -> Self {
        Self::Switch(command)
    }
}
