//! How a session begins and how it ends.
use super::Signalling;
use super::output::Count;
use super::session::{Link, Session};
use crate::ids::{ClientId, ConnId, SessionId};
use crate::metrics::{ConnState, ErrorKind};
use crate::signal::message::{Join, ServerMessage};
use rtcd_media::sfu::command::{Command, TransportId};
use rtcd_media::transport::CloseReason;
use std::time::Instant;

/// Why a session ends; the word goes into its log line.
pub(super) enum EndReason {
    Left,
    NoOffer,
    NoCheck,
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
            Self::NoCheck => "no_check",
            Self::Transport(reason) => reason.as_str(),
            Self::Protocol(what) => what,
            Self::Unregistered => "unregistered",
            Self::Stopping => "stopping",
        }
    }
}

impl Signalling {
    pub(super) fn join(&mut self, now: Instant, group: ClientId, conn: ConnId, join: Join) {
        let (group_id, call_id, session_id) = (group.as_str(), join.call.as_str(), join.session.as_str());
        if self.find(&group, &join.session).is_some() {
            self.outputs.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: the session id is live already");
            return;
        }
        let unwanted = self.draining && self.calls.sessions(&group, &join.call).is_none();
        if self.stopped || (unwanted && self.settings.refuse_calls_while_draining) {
            let why = if self.stopped { "the daemon ends" } else { "the daemon is draining, no new calls" };
            self.outputs.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: {why}");
            return self.turn_away(group, conn, join.session);
        }
        if !self.quota.take(&group, self.settings.max_sessions_per_client) {
            self.outputs.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: rtc.max_sessions_per_client is reached");
            return self.turn_away(group, conn, join.session);
        }
        if unwanted {
            self.calls_while_draining += 1;
            self.outputs.count(Count::CallWhileDraining);
            tracing::info!(group_id, call_id, "a new call has come while draining");
        }
        let id = TransportId(self.next_transport);
        self.next_transport += 1;
        self.names.insert((group.clone(), join.session.clone()), id);
        self.calls.join(&group, &join.call, id);
        let session = Session::new(group.clone(), join, conn, now);
        session.span.in_scope(|| tracing::info!(user_id = session.join.user.as_str(), "session joined"));
        self.sessions.insert(id, Box::new(session));
        self.outputs.count(Count::SessionJoined(group));
        self.schedule(now, id);
    }

    /// A session that never began ends at once: what is still said for it is no fault.
    fn turn_away(&mut self, group: ClientId, conn: ConnId, session: SessionId) {
        self.reply(group.clone(), conn, ServerMessage::Close { session: session.clone() });
        self.ended.insert(group, session);
    }

    pub(super) fn end(&mut self, now: Instant, id: TransportId, reason: EndReason) {
        let Some(session) = self.sessions.get(&id) else { return };
        let span = session.span.clone();
        let _in = span.enter();
        let lived_s = now.saturating_duration_since(session.joined_at).as_secs();
        tracing::info!(reason = reason.as_str(), lived_s, "session closed");
        match &reason {
            EndReason::Transport(CloseReason::Dtls(error)) => tracing::warn!(%error, "the peer broke DTLS"),
            EndReason::Transport(CloseReason::ConnectTimeout) => tracing::warn!(
                "the participant was heard, but no DTLS handshake came to its end: is one direction blocked?"
            ),
            EndReason::NoCheck => tracing::warn!(
                "no connectivity check of the participant has come: is the media port blocked, UDP and TCP, or are the \
                 advertised addresses not ours?"
            ),
            EndReason::Transport(reason @ CloseReason::NotCarried(_)) => {
                tracing::warn!(%reason, "a call was interrupted")
            }
            _ => {}
        }
        self.outputs.count(Count::ConnState(match reason {
            EndReason::NoCheck | EndReason::Transport(CloseReason::ConsentExpired | CloseReason::ConnectTimeout) => {
                ConnState::Failed
            }
            _ => ConnState::Closed,
        }));
        let opened = !matches!(session.link, Link::AwaitingOffer);
        self.withdraw(now, id);
        self.deliver(id, ServerMessage::Close { session: self.sessions[&id].join.session.clone() });
        if opened {
            self.send_to_all(|| Command::Close { transport: id });
        }
        let Some(session) = self.sessions.remove(&id) else { return };
        self.names.remove(&(session.group.clone(), session.join.session.clone()));
        self.ended.insert(session.group.clone(), session.join.session.clone());
        self.intake.forget(id);
        self.calls.leave(&session.group, &session.join.call, id);
        self.quota.give_back(&session.group);
        self.outputs.count(Count::SessionEnded(session.group));
    }

    /// A session's messages take this connection from now on.
    pub(super) fn reconnect(&mut self, client: ClientId, conn: ConnId, session: SessionId) {
        match self.find(&client, &session).and_then(|id| self.sessions.get_mut(&id)) {
            Some(session) => {
                session.span.in_scope(|| tracing::info!(conn_id = conn.as_str(), "session reconnected"));
                session.conn = conn;
            }
            // It ended while nobody could be told, or with the process before: the participant waits to hear of it.
            None => {
                self.unknown_session(&client, &conn, &session);
                self.reply(client, conn, ServerMessage::Close { session });
            }
        }
    }

    pub(super) fn unknown_session(&mut self, client: &ClientId, conn: &ConnId, session: &SessionId) {
        // A session that has just ended by itself is often still spoken to.
        if !self.ended.contains(client, session) {
            self.outputs.error(client, ErrorKind::Signaling);
        }
        let (group_id, conn_id, session_id) = (client.as_str(), conn.as_str(), session.as_str());
        tracing::debug!(group_id, conn_id, session_id, "message for an unknown session dropped");
    }
}
