//! How a session begins and how it ends.
use super::actor::Actor;
use super::message::{Join, ServerMessage};
use super::session::{Link, Session};
use crate::ids::{ClientId, ConnId, SessionId};
use crate::metrics::{ConnState, ErrorKind};
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

impl Actor {
    pub(super) fn join(&mut self, now: Instant, group: ClientId, conn: ConnId, join: Join) {
        let (group_id, call_id, session_id) = (group.as_str(), join.call.as_str(), join.session.as_str());
        if self.find(&group, &join.session).is_some() {
            self.metrics.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: the session id is live already");
            return;
        }
        if self.draining && self.calls.sessions(&group, &join.call).is_none() {
            self.metrics.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: the daemon is draining, no new calls");
            return self.turn_away(group, conn, join.session);
        }
        if !self.quota.take(&group, self.settings.max_sessions_per_client) {
            self.metrics.error(&group, ErrorKind::Join);
            tracing::warn!(group_id, call_id, session_id, "join refused: rtc.max_sessions_per_client is reached");
            return self.turn_away(group, conn, join.session);
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

    /// A session that never began ends at once: what is still said for it is no fault.
    fn turn_away(&mut self, group: ClientId, mut conn: ConnId, session: SessionId) {
        // Whoever asked may have gone.
        let _ = self.router.deliver(&group, &mut conn, ServerMessage::Close { session: session.clone() });
        self.ended.insert(group, session);
    }

    pub(super) fn end(&mut self, id: TransportId, reason: EndReason) {
        let Some(session) = self.sessions.get(&id) else { return };
        let span = session.span.clone();
        let _in = span.enter();
        tracing::info!(reason = reason.as_str(), lived_s = session.joined_at.elapsed().as_secs(), "session closed");
        match &reason {
            EndReason::Transport(CloseReason::Dtls(error)) => tracing::warn!(%error, "the peer broke DTLS"),
            EndReason::Transport(CloseReason::ConnectTimeout) => tracing::warn!(
                "the participant was heard, but no DTLS handshake came to its end: is one direction blocked?"
            ),
            EndReason::NoCheck => tracing::warn!(
                "no connectivity check of the participant has come: is the media port blocked, UDP and TCP, or are the \
                 advertised addresses not ours?"
            ),
            _ => {}
        }
        self.metrics.conn_state(match reason {
            EndReason::NoCheck | EndReason::Transport(CloseReason::ConsentExpired | CloseReason::ConnectTimeout) => {
                ConnState::Failed
            }
            _ => ConnState::Closed,
        });
        let opened = !matches!(session.link, Link::AwaitingOffer);
        self.withdraw(id);
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
        self.metrics.session_ended(&session.group);
        self.report();
    }

    pub(super) fn end_all(&mut self) {
        let all: Vec<_> = self.sessions.keys().copied().collect();
        for id in all {
            self.end(id, EndReason::Stopping);
        }
    }
}
