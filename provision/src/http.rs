//! The HTTP client: blocking, and bounded in time and size.
//!
//! It follows no redirect, keeps no cookie and asks no proxy. What is not an answer (a refused connection, a timeout, a
//! body that breaks off, 429 and the 5xx of a service that starts) is asked again, with growing pauses, until the time
//! for the whole fetch is over. A 404 is an answer.
mod agent;
mod error;
mod low_port;
mod pace;
#[cfg(test)]
mod tests;
mod url;

pub use error::HttpError;
pub use pace::Pace;
pub use url::shown;

use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, StatusCode, header};
use url::Endpoint;

/// Statuses of a service that is there, but not ready.
const NOT_READY: [u16; 5] = [429, 500, 502, 503, 504];
/// A `Retry-After` beyond this is not obeyed: nobody waits that long for a boot.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(30);
/// A document at most, unless the request says another limit. EC2's and Azure's metadata, with everything, have some 20 KiB.
pub const DOCUMENT_LIMIT: usize = 256 << 10;
/// How long a cloud is told how it went.
const REPORT: Duration = Duration::from_secs(45);
/// So much of a foreign header is shown.
const SHOWN_LIMIT: usize = 200;

/// The client of one fetch: the time for all its requests begins when it is made.
pub struct Client {
    endpoint: Option<Endpoint>,
    pace: Pace,
    deadline: Instant,
}

/// One question: method, URL, headers and what may come back.
pub struct Request {
    method: &'static str,
    url: String,
    other: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    media: Media,
    limit: usize,
    asked_again: &'static [u16],
    low_port: bool,
}

/// What kind of body is expected. A captive portal answers everything, with a web page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Media {
    /// Whatever an admin may have written.
    Any,
    /// Anything but a web page.
    Text,
    /// JSON, or bytes of no particular type.
    Json,
}

/// An answer with a 2xx or 4xx status.
pub struct Answer {
    /// What was asked, without its query.
    pub url: String,
    /// Whether the second of two URLs answered.
    pub by_other: bool,
    /// The status code: 200 to 299 or 400 to 499.
    pub status: u16,
    /// The whole body, within the limit of the request.
    pub body: Vec<u8>,
    headers: HeaderMap,
}

impl Client {
    /// `endpoint` takes the place of scheme, host and port of every URL.
    pub fn new(endpoint: Option<&str>, pace: Pace) -> Result<Self, HttpError> {
        let endpoint = endpoint.map(Endpoint::parse).transpose()?;
        Ok(Self { endpoint, deadline: Instant::now() + pace.total, pace })
    }

    /// Another one to the same places, whose time begins now: with the five minutes of a fetch it has to fit into the six
    /// that the unit gives.
    pub fn for_report(&self) -> Self {
        let pace = Pace { total: self.pace.total.min(REPORT), ..self.pace };
        Self { endpoint: self.endpoint.clone(), deadline: Instant::now() + pace.total, pace }
    }

    /// Asks until there is an answer. With two URLs they are asked in turn.
    pub fn send(&self, request: &Request) -> Result<Answer, HttpError> {
        let mut delays = self.pace.delays();
        let mut attempt = 0_u64;
        loop {
            let other = request.other.as_ref().filter(|_| attempt % 2 == 1);
            let url = other.unwrap_or(&request.url);
            let left = self.deadline.saturating_duration_since(Instant::now());
            let again = match self.attempt(request, url, self.pace.request.min(left)) {
                Ok(answer) => return Ok(Answer { by_other: other.is_some(), ..answer }),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(again)) => again,
            };
            // The machine may lack the first address's family: the other one is asked at once.
            let at_once = attempt == 0 && request.other.is_some();
            let delay = if at_once { Duration::ZERO } else { delays.next().max(again.after.unwrap_or_default()) };
            let url = shown(url);
            if delay >= self.deadline.saturating_duration_since(Instant::now()) {
                return Err(HttpError::NoAnswer { url, total: self.pace.total, last: again.why });
            }
            tracing::info!(url, why = again.why, "no answer yet, asking again");
            std::thread::sleep(delay);
            attempt += 1;
        }
    }

    fn attempt(&self, request: &Request, url: &str, time: Duration) -> Result<Answer, Failure> {
        let target = match &self.endpoint {
            Some(endpoint) => endpoint.replace(url)?,
            None => url::parse(url)?,
        };
        let low_port = request.low_port.then_some(low_port::LowPort { required: self.endpoint.is_none() });
        let agent = agent::new(&target, time, low_port);
        let mut asked = ureq::http::Request::builder().method(request.method).uri(target);
        for (name, value) in &request.headers {
            asked = asked.header(*name, value);
        }
        let asked = asked.body(&request.body[..]).map_err(|_| HttpError::BadUrl(shown(url)))?;
        let mut answer = agent.run(asked).map_err(|error| error::sort(url, request, error))?;
        let status = answer.status().as_u16();
        if NOT_READY.contains(&status) || request.asked_again.contains(&status) {
            return Err(Failure::Again(Again {
                why: format!("status {status}"),
                after: retry_after(answer.headers()),
            }));
        }
        request.accept(url, answer.status(), answer.headers())?;
        let body = answer.body_mut().with_config().limit(request.limit as u64).read_to_vec();
        let body = body.map_err(|error| error::sort(url, request, error))?;
        Ok(Answer { url: shown(url), by_other: false, status, body, headers: answer.headers().clone() })
    }
}

/// Why an attempt gave no answer.
enum Failure {
    /// It is worth another one.
    Again(Again),
    /// It will never be better.
    Final(HttpError),
}

struct Again {
    why: String,
    after: Option<Duration>,
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Final(error)
    }
}

impl Request {
    /// `GET url`, metadata of at most 256 KiB.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET",
            url: url.into(),
            other: None,
            headers: Vec::new(),
            body: Vec::new(),
            media: Media::Text,
            limit: DOCUMENT_LIMIT,
            asked_again: &[],
            low_port: false,
        }
    }

    /// `PUT url`, with an empty body.
    pub fn put(url: impl Into<String>) -> Self {
        Self { method: "PUT", ..Self::get(url) }
    }

    /// `POST url`
    pub fn post(url: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: "POST", body, ..Self::get(url) }
    }

    /// Another address of the same service, asked in turn with the first.
    pub fn or(mut self, url: impl Into<String>) -> Self {
        self.other = Some(url.into());
        self
    }

    /// With a header; its value is never shown.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The body is JSON.
    pub fn json(mut self) -> Self {
        self.media = Media::Json;
        self
    }

    /// The body is what an admin wrote: of any type.
    pub fn any(mut self) -> Self {
        self.media = Media::Any;
        self
    }

    /// At most so many bytes of body.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// These statuses mean here that the service is not ready.
    pub fn asked_again(mut self, statuses: &'static [u16]) -> Self {
        self.asked_again = statuses;
        self
    }

    /// The service answers only those who ask from a port below 1024, which only root can.
    pub fn from_low_port(mut self) -> Self {
        self.low_port = true;
        self
    }

    fn accept(&self, url: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), HttpError> {
        let text = |name| {
            let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            text.get(..SHOWN_LIMIT).unwrap_or(text)
        };
        let url = || shown(url);
        if status.is_redirection() {
            let target = shown(text(header::LOCATION));
            return Err(HttpError::Redirect { url: url(), status: status.as_u16(), target });
        }
        if !status.is_success() && !status.is_client_error() {
            return Err(HttpError::Status { url: url(), status: status.as_u16() });
        }
        let media = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let accepted = match self.media {
            Media::Any => true,
            Media::Text => media != "text/html",
            Media::Json => {
                matches!(
                    media.as_str(),
                    "" | "application/json" | "text/json" | "text/plain" | "application/octet-stream"
                )
            }
        };
        if status.is_success() && !accepted {
            let expected = if self.media == Media::Json { "application/json" } else { "plain text" };
            return Err(HttpError::WrongType { url: url(), media, expected });
        }
        Ok(())
    }
}

impl Answer {
    /// The body; `None` when there is no such thing (404). Any other 4xx is an error.
    pub fn optional(self) -> Result<Option<Vec<u8>>, HttpError> {
        match self.status {
            404 => Ok(None),
            200..=299 => Ok(Some(self.body)),
            status => Err(HttpError::Status { url: self.url, status }),
        }
    }

    /// The body, which has to be there.
    pub fn required(self) -> Result<Vec<u8>, HttpError> {
        let url = self.url.clone();
        self.optional()?.ok_or(HttpError::Status { url, status: 404 })
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_LIMIT))
}
