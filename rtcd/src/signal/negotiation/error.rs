//! Why a description cannot be applied.
use rtcd_media::sdp::Mid;

/// Why a description cannot be applied: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum NegotiationError {
    /// Our own offer is pending, or the peer's is unanswered: it is the polite side.
    #[error("an offer while ours is pending")]
    Collision,
    /// An answer that nobody asked for.
    #[error("an answer without an offer")]
    UnexpectedAnswer,
    /// The order of sections changed, or one went missing.
    #[error("section {index} is {found}, expected {expected}")]
    SectionMismatch { index: usize, expected: Mid, found: Mid },
    /// A section that was known is missing.
    #[error("{missing} sections are missing")]
    SectionsMissing { missing: usize },
    /// A mid changed from sound to pictures or the like.
    #[error("mid {0} changed its kind")]
    KindChanged(Mid),
    /// DTLS would need a new association, which means a new session.
    #[error("the certificate changed in mid-session")]
    FingerprintChanged,
}
