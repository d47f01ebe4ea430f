//! URLs: what is asked, what is shown, and the one place that may take every other one's.
use super::HttpError;
use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};

/// Scheme, host and port.
#[derive(Clone)]
pub(super) struct Endpoint {
    scheme: Scheme,
    authority: Authority,
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, HttpError> {
        let parts = parse(text).map_err(|_| HttpError::BadEndpoint)?.into_parts();
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) if bare => Ok(Self { scheme, authority }),
            _ => Err(HttpError::BadEndpoint),
        }
    }

    /// `url` at this place.
    pub(super) fn replace(&self, url: &str) -> Result<Uri, HttpError> {
        let mut parts = parse(url)?.into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        Uri::from_parts(parts).map_err(|_| HttpError::BadUrl(shown(url)))
    }
}

/// A URL with a scheme that we speak.
pub(super) fn parse(url: &str) -> Result<Uri, HttpError> {
    let uri: Option<Uri> = url.parse().ok();
    let known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    uri.filter(known).ok_or_else(|| HttpError::BadUrl(shown(url)))
}

/// A URL as it may be seen by everybody: without user name, password, query and fragment.
pub fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}
