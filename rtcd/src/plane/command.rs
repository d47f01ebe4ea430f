//! What control tells a worker: what its switch is to do, and what is the worker's own business.
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
    /// The worker ends.
    Stop,
}

impl From<SwitchCommand> for Command {
    fn from(command: SwitchCommand) -> Self {
        Self::Switch(command)
    }
}
