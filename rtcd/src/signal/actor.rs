//! The signalling actor: one task that owns all groups, calls and sessions. What wakes it: an [`Input`] of the API, an
//! [`Event`] of the plane, a deadline. Nothing here waits for anybody.
use super::call::Calls;
use super::ended::Ended;
use super::intake::Intake;
use super::life::EndReason;
use super::message::{ClientMessage, MessageError, ServerMessage};
use super::quota::Quota;
use super::reading::Outcome;
use super::router::Router;
use super::session::{FIRST_OFFER_TIMEOUT, Link, Session};
use super::{Input, Settings, Status};
use crate::ids::{ClientId, ConnId, SessionId};
use crate::metrics::{ErrorKind, Metrics};
use crate::plane::{PlaneHandle, command as plane};
use rtcd_media::sfu::command::{Command, Event, TrackId, TransportId, WorkerId};
use rtcd_media::timers::Timers;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Refused messages of one session that are logged.
const REFUSALS_LOGGED: u32 = 20;
/// Descriptions that are read at the same time.
const MAX_READERS: usize = 4;
/// Commands that wait for a worker to claim a transport.
const MAX_WAITING: usize = 256;

/// How long a deadline of a session waits for a description of it that has not been read yet.
const DESCRIPTION_PATIENCE: Duration = Duration::from_millis(250);

/// The longest sleep: the watchdog wants to see that the actor lives.
const MAX_SLEEP: Duration = Duration::from_millis(500);

pub(super) struct Actor {
    pub(super) settings: Settings,
    pub(super) plane: PlaneHandle,
    pub(super) metrics: Metrics,
    pub(super) router: Router,
    pub(super) sessions: HashMap<TransportId, Session>,
    pub(super) names: HashMap<(ClientId, SessionId), TransportId>,
    pub(super) ended: Ended,
    pub(super) calls: Calls,
    pub(super) intake: Intake,
    pub(super) outcomes: mpsc::UnboundedSender<Outcome>,
    pub(super) quota: Quota,
    deadlines: Timers<TransportId>,
    pub(super) next_transport: u64,
    next_track: u64,
    pub(super) draining: bool,
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
        outcomes: mpsc::UnboundedSender<Outcome>,
    ) -> Self {
        // Half of the cores at most: the rest is for media.
        let readers = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() / 2).clamp(1, MAX_READERS);
        Self {
            settings,
            plane,
            metrics,
            router: Router::default(),
            sessions: HashMap::new(),
            names: HashMap::new(),
            ended: Ended::default(),
            calls: Calls::default(),
            intake: Intake::new(readers),
            outcomes,
            quota: Quota::default(),
            deadlines: Timers::default(),
            next_transport: 0,
            next_track: 0,
            draining: false,
            status,
            heartbeat,
        }
    }

    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut events: mpsc::Receiver<Event>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
    ) {
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
                // The actor holds a sender: there is no end.
                Some(outcome) = outcomes.recv() => self.guarded(|actor| actor.handle_outcome(Instant::now(), outcome)),
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
        let next = self.deadlines.next().into_iter().chain(self.intake.next_timeout(now)).min();
        next.map_or(MAX_SLEEP, |at| at.saturating_duration_since(now)).min(MAX_SLEEP)
    }

    /// Looks at a session's deadlines again. There is one entry that counts for each session: a later deadline needs none,
    /// the earlier one fires, finds nothing and schedules again.
    pub(super) fn schedule(&mut self, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(at) = session.next_timeout() else { return };
        // What is still to be read may be what a deadline waits for: it is looked at again in a while.
        let at = if self.intake.describes(id) { at.max(Instant::now() + DESCRIPTION_PATIENCE) } else { at };
        self.deadlines.schedule(id, Some(at), &mut session.scheduled);
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.pop_due(now) {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| session.scheduled == Some(at)) else {
                continue;
            };
            session.scheduled = None;
            self.handle_session_timeout(now, id);
            self.schedule(id);
        }
        self.take_turns(now);
    }

    fn handle_session_timeout(&mut self, now: Instant, id: TransportId) {
        // A description that is still to be read may be what is waited for: twice the time, but not for ever.
        let describes = self.intake.describes(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let first_offer_timeout = FIRST_OFFER_TIMEOUT * if describes { 2 } else { 1 };
        if session.offered_at.is_none() && now >= session.joined_at + first_offer_timeout {
            return self.end(id, EndReason::NoOffer);
        }
        if session.first_check_due().is_some_and(|due| now >= due) {
            return self.end(id, EndReason::NoCheck);
        }
        if session.av1_deadline.is_some_and(|deadline| now >= deadline) {
            session.av1_deadline = None;
            self.publish(now, id);
        }
        // Whoever keeps us from its answer by endless descriptions keeps nobody but itself from our offers.
        if !describes {
            self.handle_lock_timeouts(now, id);
        }
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Connected { client, conn, outgoing } => {
                tracing::debug!(group_id = client.as_str(), conn_id = conn.as_str(), "websocket known");
                self.intake.connect(Instant::now(), conn.clone());
                self.router.connect(client, conn, outgoing);
            }
            Input::Disconnected { client, conn } => {
                tracing::debug!(conn_id = conn.as_str(), "websocket forgotten");
                self.router.disconnect(&conn);
                self.intake.forget_connection(&conn);
                // Behind the last message of the connection: nothing is counted for a client that has gone.
                self.metrics.ws_disconnected(&client);
            }
            Input::Message { conn, message, .. } => self.handle_message(now, conn, message),
            Input::Sessions { client, call, reply } => {
                let infos = self.calls.sessions(&client, &call).map(|ids| {
                    ids.iter().filter_map(|id| self.sessions.get(id)).map(Session::info).collect::<Vec<_>>()
                });
                // Whoever asked may have gone.
                let _ = reply.send(infos);
            }
            Input::ClientGone(client) => self.client_gone(&client),
            Input::Advertise(candidates) => {
                self.settings.candidates = candidates;
                // Who still looks for a way to us may find it there.
                let looking = |(id, session): (&TransportId, &Session)| session.first_check_due().map(|_| *id);
                let looking: Vec<_> = self.sessions.iter().filter_map(looking).collect();
                looking.into_iter().for_each(|id| self.trickle(id));
            }
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
                // It ended while nobody could be told, or with the process before: the participant waits to hear of it.
                None => {
                    self.unknown_session(&client, &conn, &session);
                    let _ = self.router.deliver(&client, &mut conn.clone(), ServerMessage::Close { session });
                }
            },
            Ok(ClientMessage::Rtc(message)) => match self.find(&client, &message.session) {
                Some(id) => self.take_rtc(now, id, &conn, message),
                None => self.unknown_session(&client, &conn, &message.session),
            },
            Err(error) => {
                self.metrics.error(&client, ErrorKind::Signaling);
                let (group_id, conn_id) = (client.as_str(), conn.as_str());
                tracing::warn!(group_id, conn_id, %error, "websocket message dropped");
            }
        }
    }

    pub(super) fn find(&self, client: &ClientId, session: &SessionId) -> Option<TransportId> {
        self.names.get(&(client.clone(), session.clone())).copied()
    }

    fn unknown_session(&self, client: &ClientId, conn: &ConnId, session: &SessionId) {
        // A session that has just ended by itself is often still spoken to.
        if !self.ended.contains(client, session) {
            self.metrics.error(client, ErrorKind::Signaling);
        }
        let (group_id, conn_id, session_id) = (client.as_str(), conn.as_str(), session.as_str());
        tracing::debug!(group_id, conn_id, session_id, "message for an unknown session dropped");
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

    pub(super) fn send_to(&self, worker: WorkerId, command: impl Into<plane::Command>) {
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

    pub(super) fn report(&self) {
        self.status.send_replace(Status {
            calls: self.calls.len(),
            sessions: self.sessions.len(),
            draining: self.draining,
        });
    }
}
