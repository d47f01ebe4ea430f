//! Why there is no allocation, in words for an operator.

/// Why a relay is no more. The text says what an operator is to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// No answer.
    #[error("the server does not answer")]
    Silence,
    /// 401 or 441 to credentials.
    #[error(
        "the server refuses the credentials (401): is the username, credential or static_auth_secret the server's?"
    )]
    Unauthorized,
    /// 437: it has been restarted, or the allocation has expired.
    #[error("the server does not know the allocation any more (437): it was restarted")]
    Forgotten,
    /// 486.
    #[error("the server's quota is used up (486): raise its user or total quota")]
    Quota,
    /// 508.
    #[error("the server has no relay address left (508)")]
    Capacity,
    /// 440 or 442: no relay for this family, or none over UDP.
    #[error("the server does not relay this address family ({0})")]
    Unsupported(u16),
    /// 403 to an allocation.
    #[error("the server forbids allocations to us (403)")]
    Forbidden,
    /// 300: RFC 8489, section 10.
    #[error("the server sends us to another one (300), which is not followed: name that one")]
    Redirected,
    /// Any other error.
    #[error("the server refuses with {code} {reason}")]
    Refused {
        /// ERROR-CODE
        code: u16,
        /// The server's words, printable ASCII of them.
        reason: String,
    },
    /// What it answers is not TURN.
    #[error("the server's answers are not of a TURN server")]
    Nonsense,
}

impl Ending {
    pub(super) fn of(code: u16, reason: &[u8]) -> Self {
        match code {
            300 => Self::Redirected,
            401 | 441 => Self::Unauthorized,
            403 => Self::Forbidden,
            437 => Self::Forgotten,
            440 | 442 => Self::Unsupported(code),
            486 => Self::Quota,
            508 => Self::Capacity,
            _ => {
                let printable = |byte: &&u8| byte.is_ascii_graphic() || **byte == b' ';
                let reason = reason.iter().filter(printable).take(64).map(|byte| char::from(*byte)).collect();
                Self::Refused { code, reason }
            }
        }
    }

    /// A constant word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Unauthorized => "unauthorized",
            Self::Forgotten => "forgotten",
            Self::Quota => "quota",
            Self::Capacity => "capacity",
            Self::Unsupported(_) => "unsupported",
            Self::Forbidden => "forbidden",
            Self::Redirected => "redirected",
            Self::Refused { .. } => "refused",
            Self::Nonsense => "nonsense",
        }
    }
}
