//! `rtcd check`: a running daemon seen from where this is run.
use crate::exit_code::ExitCode;

/// Arguments of `rtcd check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The daemon's API: http://host:8045
    pub url: String,
}

/// Runs all checks and prints their results.
pub fn run(_args: &Args) -> ExitCode {
    ExitCode::Failure
}
