//! `provision run` and `provision refresh`: the whole way, with everybody told how it went.
use crate::apply::disk::{Disk, Owner};
use crate::apply::{self, Changed, Paths, write};
use crate::detect::{self, Choice, DetectError};
use crate::draft::{Draft, Request};
use crate::exit_code::ExitCode;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::http::Client;
use crate::metadata::Metadata;
use crate::plan;
use crate::source::{self, Context, Outcome, Source};
use crate::state::LastGood;
use crate::status::{self, Status};
use crate::system::Action;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The agent on one machine.
pub struct Agent<'a> {
    /// All facts and all files are below it.
    pub root: &'a Path,
    /// `$CREDENTIALS_DIRECTORY`
    pub credentials: Option<PathBuf>,
    /// The way to the metadata services.
    pub http: &'a Client,
    /// The way to the files.
    pub disk: &'a dyn Disk,
    /// The machine's clock.
    pub now: SystemTime,
}

/// What a source said, this time or an earlier one.
struct Answer {
    source: &'static str,
    metadata: Metadata,
}
