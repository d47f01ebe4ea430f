//! The queues of messages to the WebSocket connections, each with a bound.
use super::message::ServerMessage;
use crate::ids::ConnId;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Messages that may wait for one WebSocket connection; a slower reader loses its connection.
const OUTGOING_MESSAGES: usize = 1024;
/// The same with the ends of sessions: all those of a client may end at once.
pub const OUTGOING_QUEUE: usize = OUTGOING_MESSAGES + 16 * 1024;

/// The queue of each connection; a connection whose queue is dropped closes behind what it holds.
#[derive(Debug, Default)]
pub(super) struct Outgoing(HashMap<ConnId, mpsc::Sender<ServerMessage>>);

impl Outgoing {
    /// A connection is up; `queue` is what its writer reads.
    pub(super) fn connect(&mut self, conn: ConnId, queue: mpsc::Sender<ServerMessage>) {
        self.0.insert(conn, queue);
    }

    /// A connection has gone, or is to go.
    pub(super) fn disconnect(&mut self, conn: &ConnId) {
        self.0.remove(conn);
    }

    /// Queues a message, or gives it back. The queue of a connection that does not keep up ends: its reader sees the end
    /// and closes it.
    pub(super) fn send(&mut self, conn: &ConnId, message: ServerMessage) -> Result<(), ServerMessage> {
        let Some(queue) = self.0.get(conn) else { return Err(message) };
        // The places beyond are for the ends of sessions: when many end at once, each is still told.
        let is_end = matches!(message, ServerMessage::Close { .. });
        let queued = queue.max_capacity() - queue.capacity();
        let sent = match is_end || queued < OUTGOING_MESSAGES {
            true => queue.try_send(message),
            false => Err(TrySendError::Full(message)),
        };
        sent.map_err(|refused| {
            self.0.remove(conn);
            refused.into_inner()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(session: &str) -> ServerMessage {
        ServerMessage::Close { session: session.into() }
    }

    #[test]
    fn many_sessions_that_end_at_once_are_all_told_of() {
        let mut outgoing = Outgoing::default();
        let (queue, mut reader) = mpsc::channel(OUTGOING_QUEUE);
        let conn = ConnId::from("one");
        outgoing.connect(conn.clone(), queue);
        for number in 0..10_000 {
            assert_eq!(outgoing.send(&conn, close(&number.to_string())), Ok(()));
        }
        let hello = ServerMessage::Hello { client: "mattermost".into(), conn: conn.clone() };
        assert_eq!(outgoing.send(&conn, hello.clone()), Err(hello), "others are too many");
        assert_eq!(std::iter::from_fn(|| reader.try_recv().ok()).count(), 10_000);
    }

    #[test]
    fn a_connection_with_a_full_queue_is_dropped() {
        let mut outgoing = Outgoing::default();
        let (queue, mut reader) = mpsc::channel(1);
        let conn = ConnId::from("one");
        outgoing.connect(conn.clone(), queue);
        assert_eq!(outgoing.send(&conn, close("a")), Ok(()));
        assert_eq!(outgoing.send(&conn, close("b")), Err(close("b")));
        assert_eq!(outgoing.send(&conn, close("c")), Err(close("c")));
        assert_eq!(reader.try_recv(), Ok(close("a")), "what was queued still goes out");
        assert_eq!(reader.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_message_to_a_connection_whose_reader_has_gone_comes_back() {
        let mut outgoing = Outgoing::default();
        let (queue, reader) = mpsc::channel(4);
        outgoing.connect("one".into(), queue);
        drop(reader);
        assert_eq!(outgoing.send(&"one".into(), close("a")), Err(close("a")));
    }
}
