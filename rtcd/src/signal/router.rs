//! The WebSocket connections, and which of them a session's messages take.
use super::OUTGOING_MESSAGES;
use super::message::ServerMessage;
use crate::ids::{ClientId, ConnId};
use std::collections::HashMap;
use tokio::sync::mpsc;

struct Connection {
    client: ClientId,
    outgoing: mpsc::Sender<ServerMessage>,
    /// The youngest is the likeliest to be alive.
    age: u64,
}

/// The WebSocket connections by id, with the queue of each.
#[derive(Default)]
pub struct Router {
    connections: HashMap<ConnId, Connection>,
    next_age: u64,
}

/// Nobody can take the message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connection of the client takes the message")]
pub struct Undelivered;

impl Router {
    /// A connection is up; `hello` is its first message.
    pub fn connect(&mut self, client: ClientId, conn: ConnId, outgoing: mpsc::Sender<ServerMessage>) {
        // The queue is new: it takes the first message.
        let _ = outgoing.try_send(ServerMessage::Hello { client: client.clone(), conn: conn.clone() });
        let age = self.next_age;
        self.next_age += 1;
        self.connections.insert(conn, Connection { client, outgoing, age });
    }

    /// A connection has gone.
    pub fn disconnect(&mut self, conn: &ConnId) {
        self.connections.remove(conn);
    }

    /// All connections of a client end, once what is queued for them has gone out.
    pub fn drop_client(&mut self, client: &ClientId) {
        self.connections.retain(|_, connection| connection.client != *client);
    }

    /// The client of a live connection.
    pub fn client(&self, conn: &ConnId) -> Option<&ClientId> {
        self.connections.get(conn).map(|connection| &connection.client)
    }

    /// Delivers on `conn`, or on another live connection of the same client, which `conn` then becomes.
    /// A connection that does not keep up is dropped: its reader sees the end and closes it.
    pub fn deliver(&mut self, client: &ClientId, conn: &mut ConnId, message: ServerMessage) -> Result<(), Undelivered> {
        let mut message = message;
        loop {
            let Some(connection) = self.connections.get(conn) else {
                let youngest = self.connections.iter().filter(|(_, other)| other.client == *client);
                *conn = youngest.max_by_key(|(_, other)| other.age).map(|(id, _)| id.clone()).ok_or(Undelivered)?;
                continue;
            };
            // The places beyond are for the ends of sessions: when many end at once, each is still told.
            let is_end = matches!(message, ServerMessage::Close { .. });
            let queued = connection.outgoing.max_capacity() - connection.outgoing.capacity();
            let sent = match is_end || queued < OUTGOING_MESSAGES {
                true => connection.outgoing.try_send(message),
                false => Err(mpsc::error::TrySendError::Full(message)),
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                    self.connections.remove(conn);
                    tracing::warn!(conn_id = %conn, "websocket dropped: it does not take its messages");
                    message = back;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(session: &str) -> ServerMessage {
        ServerMessage::Close { session: session.into() }
    }

    #[test]
    fn a_message_whose_connection_died_takes_another_of_the_same_client() {
        let mut router = Router::default();
        let (first, mut first_out) = mpsc::channel(4);
        let (second, mut second_out) = mpsc::channel(4);
        let (stranger, mut stranger_out) = mpsc::channel(4);
        router.connect("mattermost".into(), "one".into(), first);
        router.connect("mattermost".into(), "two".into(), second);
        router.connect("stranger".into(), "three".into(), stranger);
        let mut conn = ConnId::from("one");
        assert_eq!(router.deliver(&"mattermost".into(), &mut conn, close("a")), Ok(()));
        assert!(matches!(first_out.try_recv(), Ok(ServerMessage::Hello { .. })));
        assert_eq!(first_out.try_recv(), Ok(close("a")));
        router.disconnect(&"one".into());
        assert_eq!(router.deliver(&"mattermost".into(), &mut conn, close("b")), Ok(()));
        assert_eq!(conn, ConnId::from("two"));
        assert!(matches!(second_out.try_recv(), Ok(ServerMessage::Hello { .. })));
        assert_eq!(second_out.try_recv(), Ok(close("b")));
        drop(second_out);
        assert_eq!(router.deliver(&"mattermost".into(), &mut conn, close("c")), Err(Undelivered));
        assert!(matches!(stranger_out.try_recv(), Ok(ServerMessage::Hello { .. })));
        assert!(stranger_out.try_recv().is_err(), "another client never sees it");
    }

    #[test]
    fn many_sessions_that_end_at_once_are_all_told_of() {
        let mut router = Router::default();
        let (outgoing, mut reader) = mpsc::channel(crate::signal::OUTGOING_QUEUE);
        router.connect("mattermost".into(), "one".into(), outgoing);
        let mut conn = ConnId::from("one");
        for number in 0..10_000 {
            assert_eq!(router.deliver(&"mattermost".into(), &mut conn, close(&number.to_string())), Ok(()));
        }
        let hello = ServerMessage::Hello { client: "mattermost".into(), conn: "one".into() };
        assert_eq!(router.deliver(&"mattermost".into(), &mut conn, hello), Err(Undelivered), "others are too many");
        assert_eq!(std::iter::from_fn(|| reader.try_recv().ok()).count(), 10_001);
    }

    #[test]
    fn a_connection_with_a_full_queue_is_dropped() {
        let mut router = Router::default();
        let (outgoing, _reader) = mpsc::channel(1);
        router.connect("mattermost".into(), "one".into(), outgoing);
        let mut conn = ConnId::from("one");
        assert_eq!(router.deliver(&"mattermost".into(), &mut conn, close("a")), Err(Undelivered));
        assert_eq!(router.client(&"one".into()), None);
    }
}
