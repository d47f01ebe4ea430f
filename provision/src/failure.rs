//! Why provisioning failed, sorted by who must act.
use crate::apply::ApplyError;
use crate::detect::DetectError;
use crate::exit_code::ExitCode;
use crate::mistake::{Mistake, Mistakes};
use crate::source::SourceError;

/// What the user data are called in messages.
pub const USER_DATA: &str = "user-data";

/// Ends the run; [`Failure::exit_code`] tells systemd how.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The admin: the user data have mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// The admin: no source, or one that we do not know.
    #[error(transparent)]
    NoSource(#[from] DetectError),
    /// The cloud, or whoever made the seed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The cloud: the firmware names it, and it has nothing for this machine.
    #[error("{0} has no metadata for this machine")]
    Empty(&'static str),
    /// Two at once, for one report.
    #[error("{0}\n{1}")]
    Both(Box<Failure>, Box<Failure>),
    /// Whoever built the image, or a disk.
    #[error(transparent)]
    System(#[from] ApplyError),
}

impl Failure {
    /// Mistakes in user data.
    pub fn mistakes(all: Vec<Mistake>) -> Self {
        Self::Mistakes(Mistakes { name: USER_DATA.to_owned(), all })
    }

    /// With all that caused it.
    pub fn in_full(&self) -> String {
        match self {
            Self::Both(one, other) => format!("{}\n{}", one.in_full(), other.in_full()),
            failure => crate::chain::chain(failure),
        }
    }

    /// How the process ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Mistakes(_) => ExitCode::Mistakes,
            Self::Both(one, _) => one.exit_code(),
            Self::NoSource(_) => ExitCode::NoSource,
            Self::Source(_) | Self::Empty(_) => ExitCode::Source,
            Self::System(_) => ExitCode::System,
        }
    }
}
