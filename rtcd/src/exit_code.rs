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

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
