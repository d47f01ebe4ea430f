//! How the process ends.
use crate::net::listen::CannotBind;
use crate::plane::PlaneError;
use crate::store::StoreError;

/// Exit statuses that systemd and scripts can tell apart (sysexits.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    /// 0: stopped as asked, or the command succeeded.
    Success = 0,
    /// Something failed that a restart may cure.
    Failure = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// EX_UNAVAILABLE of sysexits.h: an address or a port that the configuration names cannot be had. A restart may cure it.
    /// The appliance's health check knows this number.
    Unavailable = 69,
    /// EX_CONFIG of sysexits.h: the configuration is wrong, or the reference's store that it names cannot be read, and no
    /// restart cures it. The unit knows this number.
    Config = 78,
}

impl ExitCode {
    /// Of a daemon that ends with this error.
    pub fn of(error: &anyhow::Error) -> Self {
        let cannot_bind = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<CannotBind>()
                || matches!(cause.downcast_ref(), Some(PlaneError::Bind { .. } | PlaneError::Taken { .. }))
        };
        if error.chain().any(cannot_bind) {
            Self::Unavailable
        } else if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Reference { .. }))) {
            Self::Config
        } else {
            Self::Failure
        }
    }
}

/// What `--help` says of them.
pub mod help {
    /// Of the daemon itself.
    pub const DAEMON: &str = "Exit codes: 0 stopped as asked, 1 failed, 2 the command line is wrong, 69 an address or a port \
                              cannot be had, 78 the configuration is wrong (a restart does not cure it)";
    /// Of `rtcd check`.
    pub const CHECK: &str = "Exit codes: 0 nothing fails (there may be warnings), 1 a line says FAIL, 2 the command line is \
                             wrong, 69 rtcd cannot be reached (--link), 78 the configuration is wrong";
    /// Of `rtcd client` and what it does.
    pub const CLIENT: &str = "Exit codes: 0 done, 1 failed, 2 the command line is wrong, 69 rtcd cannot be reached, 78 the \
                              configuration is wrong, or the store of Mattermost's rtcd that it names cannot be read";
    /// Of `rtcd hand-over`.
    pub const HAND_OVER: &str = "Exit codes: 0 done, or nothing to do, 1 failed, 2 the command line is wrong, 78 the \
                                 configuration is wrong";
    /// Of `rtcd demo`.
    pub const DEMO: &str = "Exit codes: 0 stopped as asked, 1 failed, 2 the command line is wrong";
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
