//! What is said to participants, to their clients, and to the workers of the plane.
use super::Signalling;
use super::output::{Envelope, Output};
use super::router::Undelivered;
use super::session::Link;
use crate::ids::{ClientId, ConnId};
use crate::metrics::ErrorKind;
use crate::signal::message::ServerMessage;
use rtcd_media::sfu::command::{Command, TransportId, WorkerId};

/// Refused messages of one session that are logged.
const REFUSALS_LOGGED: u32 = 20;
/// Commands that wait for a worker to claim a transport.
const MAX_WAITING: usize = 256;

impl Signalling {
    /// Delivers a message about a session to its client.
    pub(super) fn deliver(&mut self, id: TransportId, message: ServerMessage) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (client, conn) = (session.group.clone(), session.conn.clone());
        let output = self.address(Envelope { client, conn, session: Some(id), message });
        output.into_iter().for_each(|output| self.outputs.push(output));
    }

    /// Tells a client of a session that it does not have; nobody counts whether it gets there.
    pub(super) fn reply(&mut self, client: ClientId, conn: ConnId, message: ServerMessage) {
        let output = self.address(Envelope { client, conn, session: None, message });
        output.into_iter().for_each(|output| self.outputs.push(output));
    }

    /// A connection has not taken its message, which takes another one of the client, if there is one. Nothing more goes to
    /// or comes from the connection.
    pub(in crate::signal) fn handle_refused(&mut self, envelope: Envelope) {
        // A connection that ends before its first message: what it said until then counts all the same.
        if let ServerMessage::Hello { .. } = envelope.message {
            return;
        }
        if self.router.disconnect(&envelope.conn) {
            tracing::warn!(conn_id = %envelope.conn, "websocket dropped: it does not take its messages");
        }
        let output = self.address(envelope);
        output.into_iter().for_each(|output| self.outputs.push_first(output));
    }

    /// Puts a live connection on an envelope; the session moves there, too. Without one, what is lost of a session is
    /// counted.
    fn address(&mut self, mut envelope: Envelope) -> Option<Output> {
        let routed = self.router.route(&envelope.client, &envelope.conn);
        let session = envelope.session.and_then(|id| self.sessions.get_mut(&id));
        match routed {
            Ok(conn) => {
                if let Some(session) = session {
                    session.conn = conn.clone();
                }
                envelope.conn = conn;
                Some(Output::Message(envelope))
            }
            Err(Undelivered) => {
                if envelope.session.is_some() {
                    self.keep_for_later(envelope);
                }
                None
            }
        }
    }

    /// A message waits for its client to come back.
    pub(super) fn keep_for_later(&mut self, envelope: Envelope) {
        let dropped = self.away.put(envelope);
        self.count_undelivered(dropped);
    }

    /// A connection of the client is up: it takes what has waited.
    pub(super) fn deliver_kept(&mut self, client: &ClientId, conn: &ConnId) {
        for mut envelope in self.away.take(client) {
            if let Some(session) = envelope.session.and_then(|id| self.sessions.get_mut(&id)) {
                session.conn = conn.clone();
            }
            envelope.conn = conn.clone();
            self.outputs.push(Output::Message(envelope));
        }
    }

    /// Messages that no connection has come for.
    pub(super) fn count_undelivered(&mut self, envelopes: Vec<Envelope>) {
        for Envelope { client, session, .. } in envelopes {
            // The end of a session may come back when the session has gone.
            let session = session.and_then(|id| self.sessions.get(&id));
            let _in = session.map(|session| session.span.clone().entered());
            tracing::warn!(group_id = %client, "message dropped: the client has no connection that takes it");
            self.outputs.error(&client, ErrorKind::Undelivered);
        }
    }

    /// A worker has heard the first authentic check of a transport: it gets what has waited for it.
    pub(super) fn claimed(&mut self, id: TransportId, worker: WorkerId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Link::AwaitingClaim { waiting } = std::mem::replace(&mut session.link, Link::Claimed(worker)) {
            waiting.into_iter().for_each(|command| self.outputs.command(worker, command));
        }
    }

    /// To the owner of a transport; waits for it when it is not known yet.
    pub(super) fn send(&mut self, id: TransportId, command: Command) {
        match self.sessions.get_mut(&id).map(|session| &mut session.link) {
            Some(Link::Claimed(worker)) => self.outputs.command(*worker, command),
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

    pub(super) fn send_to_all(&mut self, mut command: impl FnMut() -> Command) {
        self.workers().for_each(|worker| self.outputs.command(worker, command()));
    }

    /// Counts and logs something that a participant did wrong; its session goes on.
    pub(super) fn refuse(&mut self, id: TransportId, kind: ErrorKind, why: &str) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.outputs.error(&session.group, kind);
        session.refusals += 1;
        // All are counted; a peer that goes on and on does not fill the log.
        if session.refusals <= REFUSALS_LOGGED {
            session.span.in_scope(|| tracing::warn!(why, "message refused"));
        }
    }
}
