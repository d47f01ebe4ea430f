//! How the process ends.

/// The exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    /// All went well.
    Success = 0,
    /// Something failed that a restart may cure.
    Failure = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// EX_CONFIG of sysexits.h: the configuration is wrong, and no restart cures it. The unit knows this number.
    Config = 78,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
