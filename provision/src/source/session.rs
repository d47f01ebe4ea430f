//! Services that want a token first (EC2, Akamai): so that nobody can be tricked into reading them with a mere GET.
use super::SourceError;
use super::fields::Checked;
use crate::http::{Answer, Client, Request};
use std::cell::RefCell;

/// EC2's tokens have 56 characters.
const TOKEN_LIMIT: usize = 4096;

/// How a service wants it.
pub(super) struct Service {
    /// The source's name, for errors.
    pub name: &'static str,
    /// The addresses that it answers at.
    pub bases: [&'static str; 2],
    /// Where to `PUT` for a token.
    pub token_path: &'static str,
    /// The header that says for how many seconds.
    pub lifetime: (&'static str, &'static str),
    /// The header that carries the token.
    pub header: &'static str,
}

/// A service that has given a token.
pub(super) struct Session<'a> {
    service: &'static Service,
    http: &'a Client,
    base: &'static str,
    token: RefCell<String>,
}

impl<'a> Session<'a> {
    /// Asks at all addresses for a token; the one that answers is asked from then on.
    pub(super) fn start(service: &'static Service, http: &'a Client) -> Result<Self, SourceError> {
        let [base, other] = service.bases;
        let request = token_request(service, base).or(format!("{other}/{}", service.token_path));
        let answer = http.send(&request).map_err(SourceError::http(service.name))?;
        let base = if answer.by_other { other } else { base };
        Ok(Self { service, http, base, token: RefCell::new(token(service, answer)?) })
    }

    /// `GET path`, with a new token if the old one is over. `shape` says what is expected.
    pub(super) fn get(&self, path: &str, shape: impl Fn(Request) -> Request) -> Result<Option<Vec<u8>>, SourceError> {
        let failed = SourceError::http(self.service.name);
        let ask = || {
            let request = Request::get(format!("{}/{path}", self.base));
            let request = shape(request).header(self.service.header, self.token.borrow().clone());
            self.http.send(&request).map_err(&failed)
        };
        let mut answer = ask()?;
        if answer.status == 401 {
            let request = token_request(self.service, self.base);
            let fresh = token(self.service, self.http.send(&request).map_err(&failed)?)?;
            self.token.replace(fresh);
            answer = ask()?;
        }
        answer.optional().map_err(failed)
    }

    /// A text of metadata; empty is the same as absent.
    pub(super) fn text(&self, field: &str) -> Result<Option<String>, SourceError> {
        let Some(body) = self.get(field, |request| request)? else { return Ok(None) };
        let text = Checked(self.service.name).utf8(field, body)?;
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }
}

fn token_request(service: &Service, base: &str) -> Request {
    let (header, seconds) = service.lifetime;
    Request::put(format!("{base}/{}", service.token_path)).header(header, seconds)
}

fn token(service: &Service, answer: Answer) -> Result<String, SourceError> {
    let body = answer.required().map_err(SourceError::http(service.name))?;
    let token = Checked(service.name).utf8(service.token_path, body)?.trim().to_owned();
    if token.is_empty() || token.len() > TOKEN_LIMIT || !token.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(SourceError::field(service.name, service.token_path, "gave no token"));
    }
    Ok(token)
}
