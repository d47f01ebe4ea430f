//! What can be wrong with a service.
use super::message::{Reply, Seen};

/// One thing that is wrong, with every request unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The first so many requests get this status.
    First(usize, u16),
    /// All requests get this status.
    Always(u16),
    /// Tokens are good for one request.
    ShortTokens,
    /// No token is ever good.
    NoToken,
    /// A byte now and then.
    Slow,
    /// The body ends before its length.
    Truncated,
    /// The body does not end.
    Huge,
    /// A captive portal's page.
    WebPage,
    /// A redirect to somewhere else.
    Redirect,
    /// Azure before it knew user data.
    OldVersion,
}

impl Fault {
    /// What is said in place of the answer.
    pub fn instead(&self, before: usize, _request: &Seen) -> Option<Reply> {
        match self {
            Self::First(count, status) if before < *count => {
                Some(Reply::new(*status, "text/plain", "later").with("Retry-After", "0"))
            }
            Self::Always(status) => Some(Reply::new(*status, "text/plain", "no")),
            Self::WebPage => Some(
                Reply::new(200, "text/html; charset=utf-8", "<html>Welcome to our hotel</html>")
                    .with("Metadata-Flavor", "Google"),
            ),
            Self::Redirect => {
                let target = "http://user:password@127.0.0.1:9/elsewhere?token=hidden";
                Some(Reply::new(302, "text/plain", "").with("Location", target))
            }
            _ => None,
        }
    }
}
