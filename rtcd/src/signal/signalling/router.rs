//! The WebSocket connections, and which of them a session's messages take.
use crate::ids::{ClientId, ConnId};
use std::collections::HashMap;

#[derive(Debug)]
struct Connection {
    client: ClientId,
    /// The youngest is the likeliest to be alive.
    age: u64,
}

/// The WebSocket connections by id.
#[derive(Debug, Default)]
pub(super) struct Router {
    connections: HashMap<ConnId, Connection>,
    next_age: u64,
}

/// Nobody can take the message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connection of the client takes the message")]
pub(super) struct Undelivered;

impl Router {
    /// A connection is up.
    pub(super) fn connect(&mut self, client: ClientId, conn: ConnId) {
        let age = self.next_age;
        self.next_age += 1;
        self.connections.insert(conn, Connection { client, age });
    }

    /// A connection has gone, or does not take its messages; whether it was known.
    pub(super) fn disconnect(&mut self, conn: &ConnId) -> bool {
        self.connections.remove(conn).is_some()
    }

    /// All connections of a client.
    pub(super) fn of_client(&self, client: &ClientId) -> Vec<ConnId> {
        let theirs = self.connections.iter().filter(|(_, connection)| connection.client == *client);
        theirs.map(|(conn, _)| conn.clone()).collect()
    }

    /// The client of a live connection.
    pub(super) fn client(&self, conn: &ConnId) -> Option<&ClientId> {
        self.connections.get(conn).map(|connection| &connection.client)
    }

    /// The connection that a message takes: `conn` while it lives, else the youngest one of the same client.
    pub(super) fn route(&self, client: &ClientId, conn: &ConnId) -> Result<ConnId, Undelivered> {
        if self.connections.contains_key(conn) {
            return Ok(conn.clone());
        }
        let theirs = self.connections.iter().filter(|(_, other)| other.client == *client);
        theirs.max_by_key(|(_, other)| other.age).map(|(id, _)| id.clone()).ok_or(Undelivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_whose_connection_died_takes_the_youngest_of_the_same_client() {
        let mut router = Router::default();
        let client = ClientId::from("mattermost");
        for conn in ["one", "two", "three"] {
            router.connect(client.clone(), conn.into());
        }
        router.connect("stranger".into(), "four".into());
        assert_eq!(router.route(&client, &"one".into()), Ok("one".into()));
        router.disconnect(&"one".into());
        assert_eq!(router.route(&client, &"one".into()), Ok("three".into()));
        router.disconnect(&"three".into());
        assert_eq!(router.route(&client, &"one".into()), Ok("two".into()));
        router.disconnect(&"two".into());
        assert_eq!(router.route(&client, &"one".into()), Err(Undelivered), "another client never sees it");
    }
}
