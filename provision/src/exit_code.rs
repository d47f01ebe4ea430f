//! How the process ends.

/// The exit status; `--help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    /// 0: configured, or nothing to do.
    Success = 0,
    /// What the admin wrote has mistakes; they have been named.
    Mistakes = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// There is no source of metadata.
    NoSource = 3,
    /// The source cannot be read, and there is no earlier result to use in its place.
    Source = 4,
    /// The outcome cannot be written, or the machine cannot be told.
    System = 5,
}

/// The list for `--help`.
pub const HELP: &str = "\
Exit status:
  0  done
  1  the user data has mistakes; all of them have been named, and nothing was written
  2  the command line cannot be understood
  3  there is no source of metadata
  4  the source cannot be read, and there is no earlier result to use in its place
  5  the outcome cannot be written, or the image is not as it must be";

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
