//! What signalling decides, as one sans-IO value: it owns groups, calls and sessions, their negotiations and locks, whose
//! turn it is, and all deadlines.
//!
//! What has happened goes in with `now`, what is to be done comes out as [`Output`]. A message's way: [`turns`] (whose turn
//! it is) -> [`dispatch`] (what it means) -> [`offers`], [`tracks`], [`forwarding`] -> [`deliver`].
// A test needs some instant to start from.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
mod away;
mod call;
mod candidates;
mod crash;
mod deliver;
pub(super) mod describe;
mod dispatch;
mod ended;
mod forwarding;
mod handover;
mod held;
mod intake;
mod life;
mod lock;
mod offers;
mod output;
mod quota;
mod router;
mod session;
mod tracks;
mod turns;

pub use handover::SignallingRecord;
pub(super) use output::{Count, Envelope, Output, Sample};

use super::message::{ClientMessage, MessageError, ServerMessage};
use super::{SessionInfo, Settings, Status};
use crate::ids::{CallId, ClientId, ConnId, SessionId};
use crate::metrics::ErrorKind;
use away::Away;
use call::Calls;
use ended::Ended;
use intake::Intake;
use life::EndReason;
use output::Outputs;
use quota::Quota;
use router::Router;
use rtcd_media::sdp::write::Candidate;
use rtcd_media::sfu::command::{TrackId, TransportId, WorkerId};
use rtcd_media::timers::Timers;
use session::{FIRST_OFFER_TIMEOUT, Session};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use turns::Payer;

/// How long a deadline of a session waits for a description of it that has not been read yet.
const DESCRIPTION_PATIENCE: Duration = Duration::from_millis(250);

/// All that signalling knows. After every `handle_*` and [`take_turn`](Self::take_turn) drain
/// [`poll_output`](Self::poll_output) and say by [`charge`](Self::charge) what it took; call `take_turn` until it has
/// nothing, and sleep until [`next_timeout`](Self::next_timeout).
pub(super) struct Signalling {
    /// Its candidates are those of the host and the relays.
    settings: Settings,
    host: Arc<[Candidate]>,
    relays: Arc<[Candidate]>,
    workers: usize,
    outputs: Outputs,
    router: Router,
    away: Away,
    /// In boxes: a table has room for twice as many as there are.
    sessions: HashMap<TransportId, Box<Session>>,
    names: HashMap<(ClientId, SessionId), TransportId>,
    ended: Ended,
    calls: Calls,
    intake: Intake,
    quota: Quota,
    payer: Option<Payer>,
    next_transport: u64,
    draining: bool,
    calls_while_draining: u64,
    stopped: bool,
    deadlines: Timers<TransportId>,
    next_track: u64,
}

impl Signalling {
    /// Knows nobody. `workers`: how many the plane has; `readers`: how many descriptions may be read at the same time.
    pub(super) fn new(settings: Settings, workers: usize, readers: usize) -> Self {
        Self {
            host: settings.candidates.clone(),
            relays: Arc::new([]),
            settings,
            workers,
            outputs: Outputs::default(),
            router: Router::default(),
            away: Away::default(),
            sessions: HashMap::new(),
            names: HashMap::new(),
            ended: Ended::default(),
            calls: Calls::default(),
            intake: Intake::new(readers),
            quota: Quota::default(),
            payer: None,
            next_transport: 0,
            draining: false,
            calls_while_draining: 0,
            stopped: false,
            deadlines: Timers::default(),
            next_track: 0,
        }
    }

    /// The next thing to be done.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop();
        if let Some(Output::Disconnect(conn)) = &output {
            // Not before: until then it takes what another connection of its client refuses.
            self.router.disconnect(conn);
        }
        output
    }

    /// The WebSocket of an authenticated client is up.
    pub(super) fn handle_connected(&mut self, now: Instant, client: ClientId, conn: ConnId) {
        tracing::debug!(group_id = client.as_str(), conn_id = conn.as_str(), "websocket known");
        self.intake.connect(now, conn.clone());
        self.router.connect(client.clone(), conn.clone());
        let message = ServerMessage::Hello { client: client.clone(), conn: conn.clone() };
        let hello = Envelope { client: client.clone(), conn: conn.clone(), session: None, message };
        self.outputs.push(Output::Message(hello));
        self.deliver_kept(&client, &conn);
    }

    /// A WebSocket has gone, and all that came over it has been handled. Its sessions go on.
    pub(super) fn handle_disconnected(&mut self, client: ClientId, conn: &ConnId) {
        tracing::debug!(conn_id = conn.as_str(), "websocket forgotten");
        self.router.disconnect(conn);
        self.intake.forget_connection(conn);
        // Behind the last message of the connection: nothing is counted for a client that has gone.
        self.outputs.count(Count::Disconnected(client));
    }

    /// A message, or what could not be read as one, has come over a WebSocket.
    pub(super) fn handle_message(&mut self, now: Instant, conn: ConnId, message: Result<ClientMessage, MessageError>) {
        // A message that overtook the end of its connection is nobody's.
        let Some(client) = self.router.client(&conn).cloned() else { return };
        match message {
            Ok(ClientMessage::Join(join)) => self.join(now, client, conn, join),
            Ok(ClientMessage::Leave { session }) => match self.find(&client, &session) {
                Some(id) => self.end(now, id, EndReason::Left),
                None => self.unknown_session(&client, &conn, &session),
            },
            Ok(ClientMessage::Reconnect { session }) => self.reconnect(client, conn, session),
            Ok(ClientMessage::Rtc(message)) => match self.find(&client, &message.session) {
                Some(id) => self.take_rtc(now, id, &conn, message),
                None => self.unknown_session(&client, &conn, &message.session),
            },
            Err(error) => {
                self.outputs.error(&client, ErrorKind::Signaling);
                let (group_id, conn_id) = (client.as_str(), conn.as_str());
                tracing::warn!(group_id, conn_id, %error, "websocket message dropped");
            }
        }
    }

    /// A client has been unregistered: its sessions end, then its connections; the `close` of each goes out before.
    pub(super) fn handle_client_gone(&mut self, now: Instant, client: &ClientId) {
        let theirs: Vec<_> =
            self.sessions.iter().filter(|(_, session)| session.group == *client).map(|(id, _)| *id).collect();
        theirs.into_iter().for_each(|id| self.end(now, id, EndReason::Unregistered));
        self.router.of_client(client).into_iter().for_each(|conn| self.outputs.push(Output::Disconnect(conn)));
    }

    /// The process is about to end: all sessions do, and each is told by a `close`. So is whoever joins afterwards.
    pub(super) fn handle_stop(&mut self, now: Instant) {
        self.stopped = true;
        let all: Vec<_> = self.sessions.keys().copied().collect();
        all.into_iter().for_each(|id| self.end(now, id, EndReason::Stopping));
    }

    /// Whether new calls shall go elsewhere from now on.
    pub(super) fn set_draining(&mut self, draining: bool) {
        if draining && !self.draining {
            self.calls_while_draining = 0;
        }
        self.draining = draining;
    }

    /// The sessions of a call by age, `None` when the group or the call is unknown.
    pub(super) fn sessions(&self, client: &ClientId, call: &CallId) -> Option<Vec<SessionInfo>> {
        let ids = self.calls.sessions(client, call)?;
        Some(ids.iter().filter_map(|id| self.sessions.get(id)).map(|session| session.info()).collect())
    }

    /// What is live.
    pub(super) fn status(&self) -> Status {
        let (calls, sessions) = (self.calls.len(), self.sessions.len());
        Status { calls, sessions, draining: self.draining, calls_while_draining: self.calls_while_draining }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and [`take_turn`](Self::take_turn) before it.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let others = [self.intake.next_timeout(now), self.away.next_timeout()];
        self.deadlines.next().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The time that [`next_timeout`](Self::next_timeout) gave has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.pop_due(now) {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| session.scheduled == Some(at)) else {
                continue;
            };
            session.scheduled = None;
            self.handle_session_timeout(now, id);
            self.schedule(now, id);
        }
        // Behind everything: what waits from now on is seen to.
        let expired = self.away.expire(now);
        self.count_undelivered(expired);
    }

    fn handle_session_timeout(&mut self, now: Instant, id: TransportId) {
        // A description that is still to be read may be what is waited for: twice the time, but not for ever.
        let describes = self.intake.describes(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let first_offer_timeout = FIRST_OFFER_TIMEOUT * if describes { 2 } else { 1 };
        if session.offered_at.is_none() && now >= session.joined_at + first_offer_timeout {
            return self.end(now, id, EndReason::NoOffer);
        }
        if session.first_check_due().is_some_and(|due| now >= due) {
            return self.end(now, id, EndReason::NoCheck);
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

    /// Looks at a session's deadlines again. There is one entry that counts for each session: a later deadline needs none,
    /// the earlier one fires, finds nothing and schedules again.
    fn schedule(&mut self, now: Instant, id: TransportId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(at) = session.next_timeout() else { return };
        // What is still to be read may be what a deadline waits for: it is looked at again in a while.
        let at = if self.intake.describes(id) { at.max(now + DESCRIPTION_PATIENCE) } else { at };
        self.deadlines.schedule(id, Some(at), &mut session.scheduled);
    }

    fn find(&self, client: &ClientId, session: &SessionId) -> Option<TransportId> {
        self.names.get(&(client.clone(), session.clone())).copied()
    }

    /// The workers of the plane.
    fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.workers as u8).map(WorkerId)
    }

    fn new_track(&mut self) -> TrackId {
        self.next_track += 1;
        TrackId(self.next_track)
    }
}

#[cfg(test)]
mod tests;
