//! Why there is no answer, sorted by who must act. URLs are shown without user names, passwords and queries.
use super::{Again, Failure, Request, shown};
use std::io;
use std::time::Duration;

/// Why there is no usable answer; no query and no header is shown.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum HttpError {
    /// The admin: the place to ask is no place.
    #[error("the endpoint is not of the form http://HOST:PORT")]
    BadEndpoint,
    /// The admin: a URL that cannot be asked.
    #[error("{0:?} is not an http or https URL")]
    BadUrl(String),
    /// The network or the cloud: nobody answers.
    #[error("{url} gave no answer in {} s; at last: {last}", total.as_secs())]
    NoAnswer {
        url: String,
        total: Duration,
        /// What the last attempt ended with.
        last: String,
    },
    /// The cloud: it refuses.
    #[error("{url} answered with status {status}")]
    Status { url: String, status: u16 },
    /// The cloud or something in between: metadata services do not redirect.
    #[error("{url} answered with status {status}, a redirect to {target}, which is not followed")]
    Redirect { url: String, status: u16, target: String },
    /// The cloud, or something in between, as a captive portal.
    #[error("{url} answered with the content type {media:?}, expected {expected}")]
    WrongType {
        url: String,
        media: String,
        /// What the protocol says.
        expected: &'static str,
    },
    /// The cloud: more than anything that belongs there.
    #[error("{url} answered with more than {limit} bytes")]
    TooBig { url: String, limit: usize },
    /// The cloud: this is not HTTP, or TLS that we trust.
    #[error("{url} gave an answer that cannot be read: {why}")]
    Garbled {
        url: String,
        /// What the library says.
        why: String,
    },
    /// The machine: it does not let us bind a port below 1024.
    #[error("{url} has to be asked from a port below 1024, and none can be bound")]
    LowPort {
        /// What was to be asked.
        url: String,
        #[source]
        error: io::Error,
    },
}

/// Whether it is worth another attempt.
pub(super) fn sort(url: &str, request: &Request, error: ureq::Error) -> Failure {
    let url = shown(url);
    Failure::Final(match error {
        ureq::Error::Io(error) if super::low_port::refused(&error) => HttpError::LowPort { url, error },
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            HttpError::Garbled { url, why: error.to_string() }
        }
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            return Failure::Again(Again { why: error.to_string(), after: None });
        }
        ureq::Error::BodyExceedsLimit(_) => HttpError::TooBig { url, limit: request.limit },
        ureq::Error::BadUri(_) => HttpError::BadUrl(url),
        other => HttpError::Garbled { url, why: other.to_string() },
    })
}
