//! The signalling actor: one task that owns all groups, calls and sessions. What wakes it: an [`Input`] of the API, an
//! [`Event`] of the plane, a deadline. Nothing here waits for anybody.
use super::call::Calls;
use super::message::{ClientMessage, Join, MessageError, ServerMessage};
use super::quota::Quota;
use super::router::Router;
use super::session::{FIRST_OFFER_TIMEOUT, Link, Session};
use super::{Input, Settings, Status};
use crate::ids::{ClientId, ConnId, SessionId};
use crate::metrics::{ConnState, ErrorKind, Metrics};
use crate::plane::PlaneHandle;
use crate::plane::command::{Command, Event, TrackId, TransportId, WorkerId};
use rtcd_media::transport::CloseReason;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Refused messages of one session that are logged.
const REFUSALS_LOGGED: u32 = 20;
/// Commands that wait for a worker to claim a transport.
const MAX_WAITING: usize = 256;

/// The longest sleep: the watchdog wants to see that the actor lives.
const MAX_SLEEP: Duration = Duration::from_millis(500);

/// Why a session ends; the word goes into its log line.
pub(super) enum EndReason {
    Left,
    NoOffer,
    Transport(CloseReason),
    Protocol(&'static str),
    Unregistered,
    Stopping,
}

impl EndReason {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::NoOffer => "no_offer",
            Self::Transport(reason) => reason.as_str(),
            Self::Protocol(what) => what,
            Self::Unregistered => "unregistered",
            Self::Stopping => "stopping",
        }
    }
}

pub(super) struct Actor {
    pub(super) settings: Settings,
    pub(super) plane: PlaneHandle,
    pub(super) metrics: Metrics,
    pub(super) router: Router,
    pub(super) sessions: HashMap<TransportId, Session>,
    names: HashMap<(ClientId, SessionId), TransportId>,
    pub(super) calls: Calls,
    quota: Quota,
    deadlines: BinaryHeap<Reverse<(Instant, TransportId)>>,
    next_transport: u64,
    next_track: u64,
    draining: bool,
    status: watch::Sender<Status>,
    heartbeat: Arc<AtomicU64>,
}

impl Actor {
    pub(super) fn new(
        settings: Settings,
        plane: PlaneHandle,
        metrics: Metrics,
        status: watch::Sender<Status>,
        heartbeat: Arc<AtomicU64>,
    ) -> Self {
        Self {
            settings,
            plane,
            metrics,
            router: Router::default(),
            sessions: HashMap::new(),
            names: HashMap::new(),
            calls: Calls::default(),
            quota: Quota::default(),
            deadlines: BinaryHeap::new(),
            next_transport: 0,
            next_track: 0,
            draining: false,
            status,
            heartbeat,
        }
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut events: mpsc::Receiver<Event>) {
        loop {
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
            let sleep = self.next_wake(Instant::now());
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Stop { done }) => {
                        self.end_all();
                        let _ = done.send(());
                    }
                    Some(input) => self.guarded(|actor| actor.handle_input(Instant::now(), input)),
                    // The last handle has gone: the process is ending.
                    None => break,
                },
                event = events.recv() => match event {
                    Some(event) => self.guarded(|actor| actor.handle_event(Instant::now(), event)),
                    None => break,
                },
                () = tokio::time::sleep(sleep) => {}
            }
            self.guarded(|actor| actor.handle_timeouts(Instant::now()));
        }
    }

    /// A bug that one message hits must not end everybody's calls: it is logged (by the panic hook, too) and outlived.
    fn guarded(&mut self, handle: impl FnOnce(&mut Self)) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| handle(self))).is_err() {
            tracing::error!("a bug in signalling: the message that hit it was dropped");
        }
    }

    fn next_wake(&self, now: Instant) -> Duration {
        let next = self.deadlines.peek().map(|Reverse((at, _))| at.saturating_duration_since(now));
        next.unwrap_or(MAX_SLEEP).min(MAX_SLEEP)
    }

    /// Looks at a session's deadlines again. Entries that are out of date are harmless: they only look.
    pub(super) fn schedule(&mut self, id: TransportId) {
        if let Some(at) = self.sessions.get(&id).and_then(Session::next_timeout) {
            self.deadlines.push(Reverse((at, id)));
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.offered_at.is_none() && now >= session.joined_at + FIRST_OFFER_TIMEOUT {
                self.end(id, EndReason::NoOffer);
                continue;
            }
            if session.av1_deadline.is_some_and(|deadline| now >= deadline) {
                session.av1_deadline = None;
                self.publish(now, id);
            }
            self.handle_lock_timeouts(now, id);
            if self.sessions.get(&id).and_then(Session::next_timeout).is_some_and(|next| next > at) {
                self.schedule(id);
            }
        }
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Connected { client, conn, outgoing } => {
                tracing::debug!(group_id = client.as_str(), conn_id = conn.as_str(), "websocket known");
                self.router.connect(client, conn, outgoing);
            }
            Input::Disconnected { client, conn } => {
                tracing::debug!(conn_id = conn.as_str(), "websocket forgotten");
                self.router.disconnect(&conn);
                // Behind the last message of the connection: nothing is counted for a client that has gone.
                self.metrics.ws_disconnected(&client);
            }
            Input::Message { conn, message } => self.handle_message(now, conn, message),
            Input::Sessions { client, call, reply } => {
                let infos = self.calls.sessions(&client, &call).map(|ids| {
                    ids.iter().filter_map(|id| self.sessions.get(id)).map(Session::info).collect::<Vec<_>>()
                });
                // Whoever asked may have gone.
                let _ = reply.send(infos);
            }
            Input::ClientGone(client) => self.client_gone(&client),
            Input::Advertise(candidates) => self.settings.candidates = candidates,
            Input::SetDraining(draining) => {
                self.draining = draining;
                self.report();
            }
            Input::Stop { .. } => {}
        }
    }

    fn handle_message(&mut self, now: Instant, conn: ConnId, message: Result<ClientMessage, MessageError>) {
        // A message that overtook the end of its connection is nobody's.
        let Some(client) = self.router.client(&conn).cloned() else { return };
        match message {
            Ok(ClientMessage::Join(join)) => self.join(now, client, conn, join),
            Ok(ClientMessage::Leave { session }) => match self.find(&client, &session) {
                Some(id) => self.end(id, EndReason::Left),
                None => self.unknown_session(&client, &conn, &session),
            },
            Ok(ClientMessage::Reconnect { session }) => match self.find(&client, &session) {
                Some(id) => {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.span.in_scope(|| tracing::info!(conn_id = conn.as_str(), "session reconnected"));
                        session.conn = conn;
                    }
                }
                None => self.unknown_session(&client, &conn, &session),
            },
            Ok(ClientMessage::Rtc(message)) => match self.find(&client, &message.session) {
                Some(id) => self.handle_rtc(now, id, message),
                None => self.unknown_session(&client, &conn, &message.session),
            },
            Err(error) => {
                self.metrics.error(&client, ErrorKind::Signaling);
                let (group_id, conn_id) = (client.as_str(), conn.as_str());
                tracing::warn!(group_id, conn_id, %error, "websocket message dropped");
            }
        }
    }

    fn find(&self, client: &ClientId, session: &SessionId) -> Option<TransportId> {
        self.names.get(&(client.clone(), session.clone())).copied()
    }

    fn unknown_session(&self, client: &ClientId, conn: &ConnId, session: &SessionId) {
        // A session that has just ended by itself is often still spoken to.
        self.metrics.error(client, ErrorKind::Signaling);
        let (group_id, conn_id, session_id) = (client.as_str(), conn.as_str(), session.as_str());
        tracing::debug!(group_id, conn_id, session_id, "message for an unknown session dropped");
    }

    fn join(&mut self, now: Instant, group: ClientId, conn: ConnId, join: Join) {
        let (group_id, call_id, session_id) = (group.as_str(), join.call.as_str(), join.session.as_str());
        if self.find(&group, &join.session).is_some() {
            self.metrics.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: the session id is live already");
            return;
        }
        if self.draining && self.calls.sessions(&group, &join.call).is_none() {
            self.metrics.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: the daemon is draining, no new calls");
            let message = ServerMessage::Close { session: join.session };
            let _ = self.router.deliver(&group, &mut conn.clone(), message);
            return;
        }
        if !self.quota.take(&group, self.settings.max_sessions_per_client) {
            self.metrics.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: rtc.max_sessions_per_client is reached");
            let message = ServerMessage::Close { session: join.session };
            let _ = self.router.deliver(&group, &mut conn.clone(), message);
            return;
        }
        let id = TransportId(self.next_transport);
        self.next_transport += 1;
        self.names.insert((group.clone(), join.session.clone()), id);
        self.calls.join(&group, &join.call, id);
        let session = Session::new(group.clone(), join, conn, now);
        session.span.in_scope(|| tracing::info!(user_id = session.join.user.as_str(), "session joined"));
        self.sessions.insert(id, session);
        self.metrics.session_joined(&group);
        self.schedule(id);
        self.report();
    }

    pub(super) fn claimed(&mut self, id: TransportId, worker: WorkerId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Link::AwaitingClaim { waiting } = std::mem::replace(&mut session.link, Link::Claimed(worker)) {
            for command in waiting {
                self.send_to(worker, command);
            }
        }
    }

    /// To the owner of a transport; waits for it when it is not known yet.
    pub(super) fn send(&mut self, id: TransportId, command: Command) {
        match self.sessions.get_mut(&id).map(|session| &mut session.link) {
            Some(Link::Claimed(worker)) => {
                let worker = *worker;
                self.send_to(worker, command);
            }
            Some(Link::AwaitingClaim { waiting }) => {
                if let Command::SetIncoming { .. } = command {
                    waiting.retain(|earlier| !matches!(earlier, Command::SetIncoming { .. }));
                }
                // A client that says so much to a session without a peer is out of order.
                if waiting.len() < MAX_WAITING {
                    waiting.push(command);
                } else {
                    self.refuse(id, ErrorKind::Signaling, "more than a session without a peer can take");
                }
            }
            Some(Link::AwaitingOffer) | None => {}
        }
    }

    pub(super) fn send_channel(&mut self, id: TransportId, data: Vec<u8>) {
        self.send(id, Command::Send { transport: id, text: false, data });
    }

    pub(super) fn send_to_all(&self, mut command: impl FnMut() -> Command) {
        for worker in self.plane.workers() {
            self.send_to(worker, command());
        }
    }

    pub(super) fn send_to(&self, worker: WorkerId, command: Command) {
        if let Err(error) = self.plane.send(worker, command) {
            // The worker hangs: the watchdog will see it, too.
            tracing::error!(%error, "command dropped");
        }
    }

    /// Delivers a message about a session to its client.
    pub(super) fn deliver(&mut self, id: TransportId, message: ServerMessage) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if self.router.deliver(&session.group, &mut session.conn, message).is_err() {
            self.metrics.error(&session.group, ErrorKind::Undelivered);
            session.span.in_scope(|| tracing::warn!("message dropped: the client has no connection that takes it"));
        }
    }

    /// Counts and logs something that a participant did wrong; its session goes on.
    pub(super) fn refuse(&mut self, id: TransportId, kind: ErrorKind, why: &str) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.metrics.error(&session.group, kind);
        session.refusals += 1;
        // All are counted; a peer that goes on and on does not fill the log.
        if session.refusals <= REFUSALS_LOGGED {
            session.span.in_scope(|| tracing::warn!(why, "message refused"));
        }
    }

    pub(super) fn new_track(&mut self) -> TrackId {
        self.next_track += 1;
        TrackId(self.next_track)
    }

    pub(super) fn end(&mut self, id: TransportId, reason: EndReason) {
        let Some(session) = self.sessions.get(&id) else { return };
        let span = session.span.clone();
        let _in = span.enter();
        tracing::info!(reason = reason.as_str(), lived_s = session.joined_at.elapsed().as_secs(), "session closed");
        if let EndReason::Transport(CloseReason::Dtls(error)) = &reason {
            tracing::warn!(%error, "the peer broke DTLS");
        }
        self.metrics.conn_state(match reason {
            EndReason::Transport(CloseReason::ConsentExpired | CloseReason::ConnectTimeout) => ConnState::Failed,
            _ => ConnState::Closed,
        });
        let opened = !matches!(session.link, Link::AwaitingOffer);
        self.deliver(id, ServerMessage::Close { session: self.sessions[&id].join.session.clone() });
        self.withdraw(id);
        if opened {
            self.send_to_all(|| Command::Close { transport: id });
        }
        let Some(session) = self.sessions.remove(&id) else { return };
        self.names.remove(&(session.group.clone(), session.join.session.clone()));
        self.calls.leave(&session.group, &session.join.call, id);
        self.quota.give_back(&session.group);
        self.metrics.session_ended(&session.group);
        self.report();
    }

    fn end_all(&mut self) {
        let all: Vec<_> = self.sessions.keys().copied().collect();
        for id in all {
            self.end(id, EndReason::Stopping);
        }
    }

    fn report(&self) {
        self.status.send_replace(Status {
            calls: self.calls.len(),
            sessions: self.sessions.len(),
            draining: self.draining,
        });
    }
}
