//! Metrics under the names that the published dashboards read (contract, section 6). A registry of our own, no global.
//!
//! A label's values are bounded by what is live: the series of a client go when its last connection and session are gone.
mod about;
mod advertised;
mod carried;
mod drops;
mod labels;
mod live;
mod process;
mod render;
#[cfg(test)]
mod tests;
mod turn;

pub use about::About;
pub use advertised::{Address, Advertised};
pub use carried::Counted;
pub use labels::{AuthRefusal, ConnState, Direction, ErrorKind, MediaType, MessageName, TrackType};
pub use turn::TurnMetrics;

use crate::ids::ClientId;
use live::Live;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seconds, for what has no buckets of its own: Prometheus' defaults.
const DEFAULT: &[f64] = prometheus::DEFAULT_BUCKETS;
/// Seconds, for what happens to packets.
const LATENCY: [f64; 14] = [0.001, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0];
const LOSS: [f64; 12] = [0.001, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0];

/// `reason` of `rtcd_signal_refused_total`.
pub const SIGNAL_REFUSALS: [&str; 2] = ["session", "all"];

struct Inner {
    turn: Arc<TurnMetrics>,
    registry: Registry,
    /// What has been counted before this process.
    before: Mutex<Counted>,
    live: Mutex<HashMap<ClientId, Live>>,
    sessions: IntGaugeVec,
    tracks: IntGaugeVec,
    writes_time: HistogramVec,
    conn_states: IntCounterVec,
    errors: IntCounterVec,
    connection_time: HistogramVec,
    dc_open_time: HistogramVec,
    lock_grab_time: HistogramVec,
    lock_locked_time: HistogramVec,
    client_loss_rate: HistogramVec,
    client_rtt: HistogramVec,
    client_jitter: HistogramVec,
    ws_connections: IntGaugeVec,
    ws_messages: IntCounterVec,
    signal_queue_time: Histogram,
    signal_refused: IntCounterVec,
    auth_refused: IntCounterVec,
    advertised: Arc<Advertised>,
    about: About,
    calls_while_draining: IntCounter,
    api_strangers_dropped: IntCounter,
    api_accept_failures: IntCounter,
}

/// A cheap handle on all metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(format!("rtcd_{name}"), help), labels))
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(format!("rtcd_{name}"), help), labels))
        };
        let count = |name: &str, help: &str| {
            register(&registry, IntCounter::with_opts(Opts::new(format!("rtcd_{name}"), help)))
        };
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(format!("rtcd_{name}"), help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(options, labels))
        };
        let group = &["groupID"][..];
        let metrics = Self(Arc::new(Inner {
            before: Mutex::default(),
            live: Mutex::default(),
            sessions: gauge("rtc_sessions_total", "Sessions that are live", group),
            tracks: gauge("rtc_rtp_tracks_total", "Tracks that are live", &["groupID", "direction", "type"]),
            writes_time: histogram(
                "rtc_rtp_tracks_writes_time",
                "Seconds from a packet's arrival until its copies were handed to the kernel, sampled",
                &LATENCY,
                &["groupID", "type"],
            ),
            conn_states: counter("rtc_conn_states_total", "Changes of peer connection states", &["type"]),
            errors: counter("rtc_errors_total", "Errors by what they concern", &["groupID", "type"]),
            connection_time: histogram(
                "rtc_connection_time",
                "Seconds from the join to the connection",
                DEFAULT,
                group,
            ),
            dc_open_time: histogram(
                "rtc_dc_open_time",
                "Seconds from the join to the open data channel",
                DEFAULT,
                group,
            ),
            lock_grab_time: histogram(
                "rtc_signaling_lock_grab_time",
                "Seconds that our offers waited for the signalling lock",
                DEFAULT,
                group,
            ),
            lock_locked_time: histogram(
                "rtc_signaling_lock_locked_time",
                "Seconds that the signalling lock was held",
                DEFAULT,
                group,
            ),
            client_loss_rate: histogram("rtc_client_loss_rate", "Loss that participants report", &LOSS, group),
            client_rtt: histogram("rtc_client_rtt", "Round trip that participants report, in seconds", &LATENCY, group),
            client_jitter: histogram(
                "rtc_client_jitter",
                "Jitter that participants report, in seconds",
                &LATENCY,
                group,
            ),
            ws_connections: gauge("ws_connections_total", "WebSocket connections that are open", &["clientID"]),
            ws_messages: counter("ws_messages_total", "WebSocket messages", &["clientID", "type", "direction"]),
            signal_queue_time: {
                let help = "Seconds that descriptions of participants waited for their turn to be read";
                let options = HistogramOpts::new("rtcd_signal_queue_time", help).buckets(LATENCY.to_vec());
                register(&registry, Histogram::with_opts(options))
            },
            signal_refused: counter(
                "signal_refused_total",
                "Messages of participants refused because too much of their session, or of all, was waiting",
                &["reason"],
            ),
            auth_refused: counter(
                "auth_refused_total",
                "Requests and logins whose credentials were refused, by reason",
                &["reason"],
            ),
            advertised: Arc::new(Advertised::new(&registry)),
            about: About::new(&registry),
            calls_while_draining: count(
                "calls_while_draining_total",
                "Calls that began here while new ones were to go to other hosts",
            ),
            api_strangers_dropped: count(
                "api_strangers_dropped_total",
                "Connections to the API that were dropped for newcomers before they had shown who they are",
            ),
            api_accept_failures: count("api_accept_failures_total", "Connections to the API that could not be taken"),
            turn: Arc::new(TurnMetrics::new(&registry)),
            registry,
        }));
        metrics.begin_counting();
        metrics
    }

    /// Facts that do not count: what runs, and how it stands.
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// What participants are told.
    pub fn advertised(&self) -> Arc<Advertised> {
        self.0.advertised.clone()
    }

    /// Clients that are live, with their WebSockets and their sessions.
    pub fn clients(&self) -> Vec<(ClientId, usize, usize)> {
        let live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter().map(|(id, live)| (id.clone(), live.connections, live.sessions)).collect()
    }

    /// Packets dropped, by reason. `plane` as for [`render`](Self::render).
    pub fn drops(&self, plane: &[(&'static str, &'static str, u64)]) -> Vec<(&'static str, u64)> {
        drops::by_reason(&self.with_plane(plane)).collect()
    }

    /// Somebody's credentials were refused.
    pub fn auth_refused(&self, reason: AuthRefusal) {
        self.0.auth_refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// What TURN servers give us.
    pub fn turn(&self) -> Arc<TurnMetrics> {
        self.0.turn.clone()
    }

    /// A WebSocket of a client is up.
    pub fn ws_connected(&self, client: &ClientId) {
        self.live(client, |live| live.connections += 1);
        self.0.ws_connections.with_label_values(&[client.as_str()]).inc();
    }

    /// A WebSocket of a client has gone.
    pub fn ws_disconnected(&self, client: &ClientId) {
        self.0.ws_connections.with_label_values(&[client.as_str()]).dec();
        self.live(client, |live| live.connections = live.connections.saturating_sub(1));
    }

    /// A WebSocket message; a `name` that no message has counts as `invalid`.
    pub fn ws_message(&self, client: &ClientId, name: &str, direction: Direction) {
        let known = MessageName::ALL.iter().find(|known| known.as_str() == name).unwrap_or(&MessageName::Invalid);
        self.0.ws_messages.with_label_values(&[client.as_str(), known.as_str(), direction.as_str()]).inc();
    }

    /// A call has begun while new ones were to go elsewhere.
    pub fn call_while_draining(&self) {
        self.0.calls_while_draining.inc();
    }

    /// A connection to the API had to make room, or found none.
    pub fn api_stranger_dropped(&self) {
        self.0.api_strangers_dropped.inc();
    }

    /// A connection to the API could not be taken.
    pub fn api_accept_failed(&self) {
        self.0.api_accept_failures.inc();
    }

    /// A session has joined.
    pub fn session_joined(&self, group: &ClientId) {
        self.live(group, |live| live.sessions += 1);
        self.0.sessions.with_label_values(&[group.as_str()]).inc();
    }

    /// A session has ended.
    pub fn session_ended(&self, group: &ClientId) {
        self.0.sessions.with_label_values(&[group.as_str()]).dec();
        self.live(group, |live| live.sessions = live.sessions.saturating_sub(1));
    }

    /// A track has started; undone by [`track_ended`](Self::track_ended).
    pub fn track_started(&self, group: &ClientId, direction: Direction, kind: TrackType) {
        self.0.tracks.with_label_values(&[group.as_str(), direction.as_str(), kind.as_str()]).inc();
    }

    /// A track has ended.
    pub fn track_ended(&self, group: &ClientId, direction: Direction, kind: TrackType) {
        self.0.tracks.with_label_values(&[group.as_str(), direction.as_str(), kind.as_str()]).dec();
    }

    /// What the plane feeds with the times of its writes.
    pub fn writes_time(&self, group: &ClientId, kind: MediaType) -> Histogram {
        self.0.writes_time.with_label_values(&[group.as_str(), kind.as_str()])
    }

    /// A peer connection changed its state.
    pub fn conn_state(&self, state: ConnState) {
        self.0.conn_states.with_label_values(&[state.as_str()]).inc();
    }

    /// Something went wrong for a group.
    pub fn error(&self, group: &ClientId, kind: ErrorKind) {
        self.0.errors.with_label_values(&[group.as_str(), kind.as_str()]).inc();
    }

    /// A peer connection is up, so long after its join.
    pub fn connection_time(&self, group: &ClientId, seconds: f64) {
        self.0.connection_time.with_label_values(&[group.as_str()]).observe(seconds);
    }

    /// A data channel is open, so long after the join.
    pub fn dc_open_time(&self, group: &ClientId, seconds: f64) {
        self.0.dc_open_time.with_label_values(&[group.as_str()]).observe(seconds);
    }

    /// We got the signalling lock, after so long.
    pub fn lock_grab_time(&self, group: &ClientId, seconds: f64) {
        self.0.lock_grab_time.with_label_values(&[group.as_str()]).observe(seconds);
    }

    /// The signalling lock is free again, after so long.
    pub fn lock_locked_time(&self, group: &ClientId, seconds: f64) {
        self.0.lock_locked_time.with_label_values(&[group.as_str()]).observe(seconds);
    }

    /// A participant reports its loss, 0..=1.
    pub fn client_loss_rate(&self, group: &ClientId, share: f64) {
        self.0.client_loss_rate.with_label_values(&[group.as_str()]).observe(share);
    }

    /// A participant reports its round trip time.
    pub fn client_rtt(&self, group: &ClientId, seconds: f64) {
        self.0.client_rtt.with_label_values(&[group.as_str()]).observe(seconds);
    }

    /// A participant reports its jitter.
    pub fn client_jitter(&self, group: &ClientId, seconds: f64) {
        self.0.client_jitter.with_label_values(&[group.as_str()]).observe(seconds);
    }

    /// A description has waited so long to be read.
    pub fn signal_queue_time(&self, seconds: f64) {
        self.0.signal_queue_time.observe(seconds);
    }

    /// A message was refused because too much was waiting.
    pub fn signal_refused(&self, reason: &str) {
        self.0.signal_refused.with_label_values(&[reason]).inc();
    }

    /// The text that Prometheus reads. `plane`: counters with their help, from the packet plane.
    pub fn render(&self, plane: &[(&'static str, &'static str, u64)]) -> String {
        render::text(&self.gather(), &self.with_plane(plane))
    }

    /// What is to be counted on by another process. `plane` as for [`render`](Self::render).
    pub fn counted(&self, plane: &[(&'static str, &'static str, u64)]) -> Counted {
        Counted::of(&self.gather(), &self.with_plane(plane))
    }

    /// Counts on from where another process was.
    pub fn go_on(&self, counted: Counted) {
        *self.before() = counted;
    }

    fn before(&self) -> MutexGuard<'_, Counted> {
        self.0.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.0.registry.gather();
        self.before().add_to(&mut families);
        families
    }

    fn with_plane<'a>(&self, plane: &[(&'a str, &'a str, u64)]) -> Vec<(&'a str, &'a str, u64)> {
        let before = self.before();
        plane.iter().map(|(name, help, value)| (*name, *help, value + before.of_plane(name))).collect()
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    // Names and labels are constants above: a mistake in them fails every test.
    let collector = made.expect("the metric's description is well formed");
    registry.register(Box::new(collector.clone())).expect("the metric's name is given once");
    collector
}
