//! The HTTP and WebSocket API (contract, sections 1 and 2).
//!
//! A request's way: [`server`] takes the connection and bounds it, the routes below pick the handler, [`clients`],
//! [`calls`], [`info`] and [`ws`] answer it. [`control`] lets the machine's administrator in without a key. HTTP status codes are known to this directory alone.
mod calls;
mod check_links;
mod clients;
pub(crate) mod conn_id;
mod control;
mod error;
mod factory_reset;
mod guard;
mod guarded_io;
mod info;
mod load;
mod memory;
mod path;
mod refusals;
mod seats;
mod server;
mod status;
mod ws;

pub use control::{Control, SOCKET};
pub use server::serve;
pub(crate) use ws::is_foreign;

use crate::auth::{Auth, AuthError, Credentials, Denial, Identity, Secret, SessionRecord};
use crate::check_page::{CheckPage, Parts};
use crate::config::{Config, Rtc, Tls};
use crate::ids::ClientId;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::plane::PlaneHandle;
use crate::signal::SignalHandle;
use crate::store::Store;
use axum::Router;
use axum::http::{HeaderMap, header};
use axum::routing::{MethodRouter, get, post};
use futures_util::future::BoxFuture;
use guard::{Guard, Peer};
use load::CpuLoad;
use nix::sys::resource::{Resource, getrlimit};
use refusals::Refusals;
use rtcd_media::footprint::Tally;
use rtcd_media::sfu::command::WorkerId;
use rtcd_media::sfu::switch::PeerStatus;
use seats::Seats;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Connections that may be open besides the WebSockets. Mattermost nodes and Prometheus need a handful; a head of 64 KiB
/// from each is 128 MiB.
const MAX_CONNECTIONS: usize = 2048;

/// The share of all files that these connections may be: WebSockets and participants over TCP need files, too.
const SHARE_OF_FILES: usize = 4;

/// WebSockets that may be open: one for each Mattermost node.
const MAX_WEBSOCKETS: u32 = 2048;

/// WebSockets that have given up their seat and are still saying goodbye.
const LEAVING_WEBSOCKETS: u32 = 256;

/// Counters of the plane for `/metrics`, read at the moment of the request.
pub type PlaneCounters = Box<dyn Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync>;

/// The part of pictures that each worker of the plane has time for, 1 as a rule.
pub type PlaneShares = Box<dyn Fn() -> Vec<f64> + Send + Sync>;

/// How all peers are, by worker, asked for at the moment of the request.
pub type PlanePeers = Box<dyn Fn() -> BoxFuture<'static, Vec<(WorkerId, Vec<PeerStatus>)>> + Send + Sync>;

/// What the plane holds, asked for at the moment of the request.
pub type PlaneTally = Box<dyn Fn() -> BoxFuture<'static, Tally> + Send + Sync>;

/// What the API shows of the rest of the daemon.
pub struct Around {
    /// What is counted.
    pub metrics: Metrics,
    /// What the plane counts.
    pub plane: PlaneCounters,
    /// What it has time for.
    pub shares: PlaneShares,
    /// How its peers are.
    pub peers: PlanePeers,
    /// What it holds.
    pub tally: PlaneTally,
    /// What waits for the admin.
    pub notices: Notices,
}

/// What the API must know of the configuration.
pub struct ApiConfig {
    /// `api.security.allow_self_registration`.
    pub allow_self_registration: bool,
    /// `api.security.admin_secret_key` while `enable_admin` is on.
    pub admin_secret: Option<Secret>,
    /// `api.security.session_cache.expiration_minutes`.
    pub session_expiration: Duration,
    /// TLS from the first byte, or plain HTTP.
    pub tls: Option<Tls>,
    /// Deadlines towards slow and silent peers.
    pub deadlines: Deadlines,
}

impl std::fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiConfig")
            .field("allow_self_registration", &self.allow_self_registration)
            .field("admin", &self.admin_secret.is_some())
            .field("session_expiration", &self.session_expiration)
            .field("tls", &self.tls.is_some())
            .field("deadlines", &self.deadlines)
            .finish()
    }
}

/// Deadlines towards slow and silent peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the TLS handshake, for the head of a request, and then for its body.
    pub request: Duration,
    /// For a peer that takes nothing of what we write.
    pub write: Duration,
    /// Between our pings on a WebSocket.
    pub ping: Duration,
    /// For a WebSocket peer that says nothing, not even to our pings.
    pub silence: Duration,
    /// For open requests and WebSockets when the daemon stops.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { request: seconds(10), write: seconds(20), ping: seconds(10), silence: seconds(20), drain: seconds(5) }
    }
}

/// The API's state; clones share it.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    config: ApiConfig,
    /// `api.security.allow_self_registration`, as it is now.
    self_registration: AtomicBool,
    auth: Auth,
    signal: SignalHandle,
    metrics: Metrics,
    around: Around,
    started: std::time::Instant,
    load: CpuLoad,
    guard: Arc<Guard>,
    refusals: Refusals,
    seats: Arc<Seats>,
    websockets: Arc<Semaphore>,
    closing: watch::Sender<bool>,
    check_page: OnceLock<CheckPage>,
}

impl Api {
    /// An API over this store and this signalling actor. Blocks for some 50 ms (one bcrypt hash).
    pub fn new(config: ApiConfig, store: Store, signal: SignalHandle, around: Around) -> Self {
        let auth = Auth::new(store, config.admin_secret.clone(), config.session_expiration);
        let self_registration = AtomicBool::new(config.allow_self_registration);
        Self {
            inner: Arc::new(Inner {
                config,
                self_registration,
                auth,
                signal,
                metrics: around.metrics.clone(),
                around,
                started: std::time::Instant::now(),
                load: CpuLoad::new(),
                guard: Guard::new(max_connections()),
                refusals: Refusals::new(std::time::Instant::now()),
                seats: Seats::new(MAX_WEBSOCKETS as usize),
                websockets: Arc::new(Semaphore::new((MAX_WEBSOCKETS + LEAVING_WEBSOCKETS) as usize)),
                closing: watch::Sender::new(false),
                check_page: OnceLock::new(),
            }),
        }
    }

    /// Takes over who may register, and who the admin is.
    pub fn reconfigure(&self, allow_self_registration: bool, admin_secret: Option<Secret>) {
        self.inner.self_registration.store(allow_self_registration, Ordering::Relaxed);
        self.inner.auth.set_admin(admin_secret);
    }

    /// When the certificate ends that handshakes show, in seconds since the epoch.
    fn certificate_end(&self) -> Option<u64> {
        let end = crate::check::not_after(&self.inner.config.tls.as_ref()?.leaf()?)?;
        end.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// Whether anybody may register.
    fn is_open(&self) -> bool {
        self.inner.self_registration.load(Ordering::Relaxed)
    }

    /// Serves the check page, too; before [`serve`].
    pub fn start_check_page(&self, plane: PlaneHandle, config: &Config) {
        let parts = Parts {
            signal: self.inner.signal.clone(),
            plane,
            closing: self.inner.closing.subscribe(),
            websockets: self.inner.websockets.clone(),
        };
        // There is one.
        let _ = self.inner.check_page.set(CheckPage::start(parts, config));
    }

    /// The check page tries these servers from now on.
    pub fn set_ice_servers(&self, rtc: &Rtc) {
        self.inner.check_page.get().inspect(|page| page.set_servers(rtc));
    }

    /// All bearer tokens in force, for another process.
    pub fn bearers(&self, now: std::time::Instant) -> Vec<SessionRecord> {
        self.inner.auth.bearers(now)
    }

    /// Bearer tokens that another process has handed out stay good.
    pub fn start_bearers(&self, records: Vec<SessionRecord>, now: std::time::Instant) {
        self.inner.auth.start_bearers(records, now);
    }

    /// While draining `/system` reports a load that sends new calls elsewhere. Everything else goes on.
    pub fn set_draining(&self, draining: bool) {
        self.inner.load.set_draining(draining);
    }

    fn router(&self) -> Router {
        let only = |route: MethodRouter<Api>| route.fallback(error::not_found);
        Router::new()
            .route("/version", only(get(info::version)))
            .route("/system", only(get(info::system)))
            .route("/metrics", only(get(info::metrics)))
            .route("/status", only(get(status::status)))
            .route("/status/log", only(get(status::lines)))
            .route("/debug/memory", only(get(memory::memory)))
            .route("/status/style.css", only(get(status::style)))
            .route("/status/script.js", only(get(status::script)))
            .route("/register", only(post(clients::register)))
            .route("/unregister", only(post(clients::unregister)))
            .route("/rotate", only(post(clients::rotate)))
            .route("/clients", only(get(clients::list)))
            .route("/login", only(post(clients::login)))
            .route("/calls/{call}/sessions", only(get(calls::sessions)))
            .route("/calls/{call}/sessions/{session}", only(get(calls::session)))
            .route("/ws", only(get(ws::upgrade)))
            .route("/check-links", only(post(check_links::make)))
            .route("/factory-reset", only(post(factory_reset::ask)))
            .merge(self.inner.check_page.get().map(CheckPage::router).unwrap_or_default())
            .fallback(error::not_found)
            .layer(axum::middleware::from_fn(path::clean))
            .with_state(self.clone())
    }

    /// What is answered at the control socket.
    fn control_router(&self) -> Router {
        let only = |route: MethodRouter<Api>| route.fallback(error::not_found);
        Router::new()
            .route("/version", only(get(info::version)))
            .route("/status", only(get(status::status)))
            .route("/status/log", only(get(status::lines)))
            .route("/debug/memory", only(get(memory::memory)))
            .route("/register", only(post(clients::register)))
            .route("/unregister", only(post(clients::unregister)))
            .route("/rotate", only(post(clients::rotate)))
            .route("/clients", only(get(clients::list)))
            .route("/check-links", only(post(check_links::make)))
            .route("/factory-reset", only(post(factory_reset::ask)))
            .fallback(error::not_found)
            .with_state(self.clone())
    }

    /// Whose request it is.
    async fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Identity, AuthError> {
        if peer.is_local() {
            return Ok(Identity::Admin);
        }
        let credentials = self.credentials(headers, peer)?;
        let identity = self.inner.auth.identify(&credentials, peer.source()).await;
        let identity = identity.inspect_err(|error| self.note_refusal(error, credentials.client(), peer))?;
        peer.known();
        Ok(identity)
    }

    /// Which registered client's request it is; the admin is none.
    async fn identify_client(&self, headers: &HeaderMap, peer: &Peer) -> Result<ClientId, AuthError> {
        let credentials = self.credentials(headers, peer)?;
        let client = self.inner.auth.identify_client(&credentials, peer.source()).await;
        let client = client.inspect_err(|error| self.note_refusal(error, credentials.client(), peer))?;
        peer.known();
        Ok(client)
    }

    fn credentials(&self, headers: &HeaderMap, peer: &Peer) -> Result<Credentials, AuthError> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credentials = value.and_then(Credentials::parse).ok_or(AuthError::Denied(Denial::NoCredentials));
        credentials.inspect_err(|error| self.note_refusal(error, None, peer))
    }

    /// Counts that somebody was refused, and says who it was to be and why.
    fn note_refusal(&self, error: &AuthError, client: Option<&str>, peer: &Peer) {
        self.inner.refusals.note(&self.inner.metrics, error, client, peer.source());
    }
}

fn max_connections() -> usize {
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    MAX_CONNECTIONS.min(usize::try_from(files).unwrap_or(usize::MAX) / SHARE_OF_FILES).max(1)
}

#[cfg(test)]
mod tests;
