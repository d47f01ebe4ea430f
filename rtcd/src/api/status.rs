//! `/status`: how the daemon is, and `/status/log`: what it has said of late. For the admin, as pages or for programs.
use super::Api;
use super::error::{json, refuse_auth_text};
use super::guard::Peer;
use crate::auth::{AuthError, Denial, Identity};
use crate::client::nobody_can;
use crate::logging;
use crate::notices::{OF_THE_MACHINE, of_directory};
use crate::status::log::{self, Level, Log, Of};
use crate::status::page::{self, POLICY, SCRIPT, STYLE};
use crate::status::{Look, Status, gather};
use crate::web_page;
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Headers of proxies: whoever sends one of them is not on this machine, whatever its address says.
const OF_PROXIES: [&str; 7] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "cf-connecting-ip"];

/// The daemon's own lines, as they are asked for.
const OWN: &str = "rtcd";
const NO_SUCH_LINES: &str = "of: rtcd, errors, provision, updates, daemon, network, logs, kernel or everything\n";
const NOT_HERE: &str = "The status is for the admin. Open it with the admin's key (api.security.enable_admin and \
                        .admin_secret_key; any user name), or from the machine itself, by curl or through ssh -L.\n";

/// `GET /status`.
pub async fn status(State(api): State<Api>, OfAdmin(request): OfAdmin) -> Response {
    let wants_page = wants_page(&request.headers);
    let status = api.status().await;
    match wants_page {
        true => file("text/html", page::page(&status)),
        false => json(StatusCode::OK, &serde_json::json!(status)),
    }
}

/// `GET /status/log?of=WHOSE&level=warn`: the last lines.
pub async fn lines(OfAdmin(request): OfAdmin) -> Response {
    let parameters = request.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let (mut of, mut warnings_only) = (None, false);
    for (name, value) in parameters {
        match (name, value) {
            ("of", "rtcd") => of = None,
            ("of", value) => match Of::ALL.into_iter().find(|known| known.as_str() == value) {
                Some(known) => of = Some(known),
                None => return (StatusCode::BAD_REQUEST, NO_SUCH_LINES).into_response(),
            },
            ("level", value) => warnings_only = value == "warn",
            _ => {}
        }
    }
    let log = last_lines(of, warnings_only).await;
    match wanted(&request.headers) {
        Wanted::Page => file("text/html", log::page(&log)),
        Wanted::Text => file("text/plain", log.text()),
        Wanted::Json => json(StatusCode::OK, &serde_json::json!(log)),
    }
}

async fn last_lines(of: Option<Of>, warnings_only: bool) -> Log {
    let mut choices = vec![OWN];
    if log::can_be_read() {
        choices.extend(Of::ALL.map(Of::as_str));
    }
    let read = match of {
        None => Ok(logging::recent().into_iter().filter_map(log::own).collect()),
        Some(of) => log::read(of, warnings_only).await,
    };
    let (mut lines, unreadable) = match read {
        Ok(lines) => (lines, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    if warnings_only {
        lines.retain(|line| line.level <= Level::Warn);
    }
    Log { of: of.map_or(OWN, Of::as_str), warnings_only, lines, unreadable, choices }
}

/// `GET /status/style.css`: nobody's secret.
pub async fn style() -> Response {
    file("text/css", STYLE)
}

/// `GET /status/script.js`: nobody's secret.
pub async fn script() -> Response {
    file("text/javascript", SCRIPT)
}

fn file(kind: &str, text: impl IntoResponse) -> Response {
    (web_page::headers(kind, POLICY, "no-store"), text).into_response()
}

/// The head of a request of the machine's administrator, by where they are or by their key; nobody else's gets so far.
pub struct OfAdmin(pub(super) Parts);

impl FromRequestParts<Api> for OfAdmin {
    type Rejection = Response;

    async fn from_request_parts(request: &mut Parts, api: &Api) -> Result<Self, Response> {
        let peer = Extension::<Peer>::from_request_parts(request, api).await;
        let Extension(peer) = peer.map_err(IntoResponse::into_response)?;
        if !is_own_machine(&peer, request.version, &request.headers) {
            admin_only(api, &peer, &request.headers).await?;
        }
        Ok(Self(request.clone()))
    }
}

async fn admin_only(api: &Api, peer: &Peer, headers: &HeaderMap) -> Result<(), Response> {
    if !api.inner.auth.admin_enabled() {
        return Err((StatusCode::FORBIDDEN, NOT_HERE).into_response());
    }
    // What every browser does first is no refusal to speak of.
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(refuse_auth_text(&AuthError::Denied(Denial::NoCredentials)));
    }
    match api.identify(headers, peer).await {
        Ok(Identity::Admin) => Ok(()),
        Ok(Identity::Client(_)) => Err((StatusCode::FORBIDDEN, NOT_HERE).into_response()),
        Err(error) => Err(refuse_auth_text(&error)),
    }
}

/// A browser asks for pages before anything else.
fn wants_page(headers: &HeaderMap) -> bool {
    let place = |kind: &str| accepted(headers).find(kind).unwrap_or(usize::MAX);
    place("text/html") < place("application/json")
}

fn accepted(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default()
}

/// In which form lines are wanted: whatever is named first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Page,
    Text,
    Json,
}

/// Whoever says nothing reads lines on a terminal.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let kinds = [("text/html", Wanted::Page), ("application/json", Wanted::Json), ("text/plain", Wanted::Text)];
    let named = kinds.into_iter().filter_map(|(kind, wanted)| Some((accepted(headers).find(kind)?, wanted)));
    named.min_by_key(|(place, _)| *place).map_or(Wanted::Text, |(_, wanted)| wanted)
}

/// Somebody on this machine who is no proxy: it is let in without a key, as it is by the control socket. A reverse proxy on
/// the same machine comes from loopback, too: it is known by what it adds, or by the name that it was asked for. nginx adds
/// nothing unless it is told to, but speaks HTTP/1.0, or passes `Connection` on as the guide for WebSockets has it.
fn is_own_machine(peer: &Peer, version: Version, headers: &HeaderMap) -> bool {
    if peer.is_local() {
        return true;
    }
    // Of a source of IPv6 the first half is known: no other address is in ::1's.
    let ip = peer.source().ip();
    if !ip.is_loopback() && !ip.is_unspecified() {
        return false;
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_proxied = OF_PROXIES.iter().any(|name| headers.contains_key(*name))
        || version < Version::HTTP_11
        || text(header::CONNECTION).eq_ignore_ascii_case("upgrade");
    let host = text(header::HOST);
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    !is_proxied && matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

impl Api {
    /// How the daemon is.
    pub(super) async fn status(&self) -> Status {
        let inner = &self.inner;
        let (sessions, peers, registered) =
            tokio::join!(inner.signal.describe(), (inner.around.peers)(), inner.auth.clients());
        let registered = registered.ok();
        let (open, admin) = (self.is_open(), inner.auth.admin_enabled());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gather(Look {
            uptime: inner.started.elapsed(),
            draining: inner.load.is_draining(),
            cpu_load: inner.load.get(),
            worker_cpu: inner.load.workers(),
            overloaded: inner.load.share() < 1.0,
            notices: inner.around.notices.all(),
            machine: OF_THE_MACHINE.iter().flat_map(|directory| of_directory(directory.as_ref())).collect(),
            nobody_can_register: nobody_can(open, admin, registered.as_ref().map(Vec::len)),
            certificate: self.certificate_end().map(|end| Duration::from_secs(end).saturating_sub(now)),
            advertised: inner.metrics.advertised().all(),
            registered: registered.unwrap_or_default(),
            live: inner.metrics.clients(),
            // Signalling has ended: so does everything else.
            sessions: sessions.unwrap_or_default(),
            peers,
            drops: inner.metrics.drops(&(inner.around.plane)()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn whoever_is_on_the_machine_needs_no_key_and_a_proxy_there_does() {
        let here = Peer::of("127.0.0.1".parse::<std::net::IpAddr>().expect("an address").into());
        let check = |peer: &Peer, version, pairs: &[(&'static str, &str)], expected| {
            assert_eq!(is_own_machine(peer, version, &headers(pairs)), expected, "{pairs:?}");
        };
        let good = ("host", "localhost:8045");
        check(&here, Version::HTTP_11, &[good], true);
        check(&here, Version::HTTP_11, &[("host", "[::1]:8045")], true);
        check(&here, Version::HTTP_11, &[("host", "[::1]")], true);
        check(&here, Version::HTTP_11, &[("host", "127.0.0.1")], true);
        check(&here, Version::HTTP_10, &[good], false);
        check(&here, Version::HTTP_11, &[("host", "rtcd.example.com")], false);
        check(&here, Version::HTTP_11, &[("host", "localhost.evil.example")], false);
        check(&here, Version::HTTP_11, &[], false);
        check(&here, Version::HTTP_11, &[good, ("x-forwarded-for", "192.0.2.1")], false);
        check(&here, Version::HTTP_11, &[good, ("connection", "upgrade")], false);
        check(&here, Version::HTTP_11, &[good, ("connection", "close")], true);
        let six = Peer::of("::1".parse::<std::net::IpAddr>().expect("an address").into());
        check(&six, Version::HTTP_11, &[good], true);
        let away = Peer::of("192.0.2.1".parse::<std::net::IpAddr>().expect("an address").into());
        check(&away, Version::HTTP_11, &[good], false);
        check(&Peer::local(), Version::HTTP_11, &[], true);
    }

    #[test]
    fn browsers_get_the_page_and_programs_the_json() {
        let accept = |value: &str| wants_page(&headers(&[("accept", value)]));
        assert!(accept("text/html,application/xhtml+xml,*/*;q=0.8") && !accept("*/*") && !accept("application/json"));
        assert!(!accept("application/json, text/html") && !wants_page(&HeaderMap::new()));
    }
}
