//! What each cloud wants of a request, and how it refuses.
use super::Fault;
use super::message::{Reply, Seen};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The protocol of one source, with the tokens that it has given.
pub struct Rules {
    source: String,
    given: AtomicUsize,
    good: Mutex<Vec<String>>,
}

impl Rules {
    pub fn of(source: &str) -> Self {
        Self { source: source.to_owned(), given: AtomicUsize::new(0), good: Mutex::default() }
    }

    /// A token, or a refusal; `None` when the body may be given.
    pub fn before(&self, request: &Seen, fault: &Fault) -> Option<Reply> {
        let is = |name: &str, value: &str| request.header(name) == Some(value);
        let refuse = |status, what: &str| Some(Reply::new(status, "text/plain", what));
        // All of them take such a request for one that a proxy was tricked into.
        if request.headers.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("x-forwarded-")) {
            return refuse(403, "forwarded");
        }
        match self.source.as_str() {
            "ec2" => {
                let header = ("X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token");
                self.token(request, fault, "/latest/api/token", header)
            }
            "akamai" => {
                let header = ("Metadata-Token-Expiry-Seconds", "Metadata-Token");
                self.token(request, fault, "/v1/token", header)
            }
            "gce" if !is("Metadata-Flavor", "Google") => refuse(403, "Missing required header: Metadata-Flavor"),
            "azure" if request.path.starts_with("/machine") => {
                let known = is("x-ms-version", "2012-11-30") && request.header("x-ms-agent-name").is_some();
                let health = request.method != "POST" || is("content-type", "text/xml; charset=utf-8");
                if known && health { None } else { refuse(400, "InvalidHeader") }
            }
            "azure" if !is("Metadata", "true") => refuse(400, "Bad request: missing header Metadata"),
            "azure" if !request.query.starts_with("api-version=20") => refuse(400, "Bad request: api-version"),
            "azure" if *fault == Fault::OldVersion && request.query.contains("2021-") => refuse(400, "api-version"),
            "vultr" if !is("Metadata-Token", "cloudinit") => refuse(401, "Unauthorized"),
            "oracle" if !is("Authorization", "Bearer Oracle") => refuse(404, "Not found"),
            "scaleway" if request.path == "/conf" && request.query != "format=json" => {
                Some(Reply::new(200, "text/plain", "ID=1"))
            }
            _ => None,
        }
    }

    /// `PUT` gives a token, everything else wants one.
    fn token(&self, request: &Seen, fault: &Fault, path: &str, header: (&str, &str)) -> Option<Reply> {
        let refuse = |status| Some(Reply::new(status, "text/plain", "no"));
        let mut good = self.good.lock().expect("no panic");
        if request.path == path {
            let seconds = request.header(header.0).and_then(|seconds| seconds.parse::<u32>().ok());
            if request.method != "PUT" {
                return refuse(405);
            }
            if !seconds.is_some_and(|seconds| (1..=21600).contains(&seconds)) {
                return refuse(400);
            }
            let token = format!("AQAEA-{}", self.given.fetch_add(1, Ordering::SeqCst));
            good.push(token.clone());
            return Some(Reply::new(200, "text/plain", token));
        }
        let place = good.iter().position(|token| request.header(header.1) == Some(token));
        let Some(place) = place.filter(|_| *fault != Fault::NoToken) else { return refuse(401) };
        if *fault == Fault::ShortTokens {
            good.remove(place);
        }
        None
    }

    /// The answer as the cloud dresses it.
    pub fn after(&self, reply: Reply) -> Reply {
        if self.source == "gce" { reply.with("Metadata-Flavor", "Google") } else { reply }
    }

    pub fn media(&self, path: &str) -> &'static str {
        match self.source.as_str() {
            _ if path.contains("user_data") || path.contains("user-data") || path.contains("userdata") => {
                "application/octet-stream"
            }
            "gce" => "application/text",
            "azure" if path.starts_with("/machine") => "text/xml; charset=utf-8",
            "azure" => "application/json; charset=utf-8",
            "openstack" if path.ends_with(".json") => "application/json",
            "digitalocean" | "vultr" | "oracle" | "scaleway" | "akamai" => "application/json",
            _ => "text/plain; charset=utf-8",
        }
    }
}
