//! What control tells a worker: what its switch is to do, and what is the worker's own business.
use super::socket::UdpSocket;
use rtcd_media::sfu::command::{Command as SwitchCommand, TrackId};
use std::net::TcpListener;

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
    /// The worker ends.
    Stop,
}

impl From<SwitchCommand> for Command {
    fn from(command: SwitchCommand) -> Self {
        Self::Switch(command)
    }
}
