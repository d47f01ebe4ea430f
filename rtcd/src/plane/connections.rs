//! The TCP connections of a worker: taken, told from strangers', written, and let go.
use super::counters::count;
use super::io::Io;
use super::strangers::{MAX_STRANGERS, Strangers};
use super::tcp::Connection;
use super::torn::Torn;
use super::web::Visitor;
use super::worker::CONNECTION;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::footprint::{Footprint, flat_table};
use rtcd_media::rtp::Ssrc;
use rtcd_media::source::Source;
use std::collections::HashMap;
use std::time::Instant;

/// Connections by their ids, and which of them have not shown that they belong to a session.
#[derive(Default)]
pub(super) struct Connections {
    by_id: HashMap<u32, Connection>,
    strangers: Strangers,
    next_id: u32,
    is_changed: bool,
}

impl Footprint for Connections {
    fn heap_bytes(&self) -> usize {
        flat_table(&self.by_id) + self.by_id.values().map(Connection::heap_bytes).sum::<usize>()
    }
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Connection> {
        self.by_id.get_mut(&id)
    }

    /// Those that carry calls.
    pub(super) fn known(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.by_id.iter().filter(|(_, connection)| connection.deadline.is_none()).map(|(id, known)| (*id, known))
    }

    /// Whether one that carries a call has come or gone since the last time.
    pub(super) fn have_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// An authentic check has come over it.
    pub(super) fn authenticated(&mut self, id: u32) {
        self.is_changed = true;
        if let Some(connection) = self.by_id.get_mut(&id) {
            connection.deadline = None;
            self.strangers.remove(Source::from(connection.remote()), id);
        }
    }

    /// Takes a connection out, as it is.
    pub(super) fn take(&mut self, id: u32) -> Option<Connection> {
        let connection = self.by_id.remove(&id)?;
        self.is_changed |= connection.deadline.is_none();
        if connection.deadline.is_some() {
            self.strangers.remove(Source::from(connection.remote()), id);
        }
        Some(connection)
    }

    /// The stranger who is to go for a newcomer.
    pub(super) fn heaviest_stranger(&self) -> Option<u32> {
        self.strangers.heaviest()
    }

    /// The next stranger who has had its time.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        while let Some(id) = self.strangers.pop_expired(now) {
            if self.by_id.get(&id).is_some_and(|connection| connection.deadline.is_some_and(|at| at <= now)) {
                return Some(id);
            }
        }
        None
    }

    /// When [`pop_expired`](Self::pop_expired) may have one.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.strangers.next_timeout()
    }
}

/// What came of writing to all connections that had something to say.
#[derive(Default)]
pub(super) struct Written {
    /// Connections that are closed now.
    pub(super) closed: Vec<Path>,
    /// Streams that need a key frame now, since something of them was dropped.
    pub(super) broken: Vec<(Path, Ssrc)>,
    /// Connections that have taken a part of a frame, by their ids.
    pub(super) torn: Vec<(u32, Torn)>,
}

impl Io {
    /// A connection that has this id from another process on.
    pub(super) fn adopt_connection(&mut self, id: u32, connection: Connection) {
        self.connections.next_id = id;
        self.connections.is_changed = true;
        self.add_connection(connection);
        // What has begun to leave goes on.
        self.batch.dirty_connections.push(id);
    }

    /// All connections, by their ids.
    pub(super) fn take_connections(&mut self) -> impl Iterator<Item = (u32, Connection)> + use<> {
        std::mem::take(&mut self.connections.by_id).into_iter()
    }

    /// A connection, of a stranger until it has carried an authentic check. The oldest of the source that has most of
    /// them makes room.
    pub(super) fn add_connection(&mut self, connection: Connection) -> u32 {
        while self.connections.strangers.count() >= MAX_STRANGERS && self.evict_stranger() {}
        let id = self.connections.next_id;
        self.connections.next_id = id.wrapping_add(1);
        let event = EpollEvent::new(EpollFlags::EPOLLIN, CONNECTION | u64::from(id));
        if self.epoll.add(connection.stream(), event).is_ok() {
            if let Some(deadline) = connection.deadline {
                self.connections.strangers.insert(Source::from(connection.remote()), id, deadline);
            }
            self.connections.by_id.insert(id, connection);
        } else {
            count(&self.shared.inbox(self.id).counters.tcp_refused);
        }
        id
    }

    /// Closes the connection of a stranger for a newcomer; false when there is none. Strangers have no path that the
    /// switch would know.
    pub(super) fn evict_stranger(&mut self) -> bool {
        let Some(id) = self.connections.heaviest_stranger() else { return false };
        count(&self.shared.inbox(self.id).counters.tcp_evicted);
        self.close(id);
        true
    }

    /// Lets a browser go to whoever serves it. False where nobody does: then it is as everything that is not ICE's.
    pub(super) fn pass_browser(&mut self, id: u32) -> bool {
        let shared = self.shared.clone();
        let counters = &shared.inbox(self.id).counters;
        if !shared.web.is_open() {
            count(&counters.web_refused);
            return false;
        }
        let Some(connection) = self.connections.take(id) else { return false };
        let _ = self.epoll.delete(connection.stream());
        let remote = connection.remote();
        let passed = shared.web.pass(Visitor { stream: connection.into_stream(), remote });
        count(if passed { &counters.web_passed } else { &counters.web_refused });
        true
    }

    /// Closes a connection, after a last try to get out what it has to say; returns its path.
    pub(super) fn close(&mut self, id: u32) -> Option<Path> {
        let mut connection = self.connections.take(id)?;
        let counters = &self.shared.inbox(self.id).counters;
        if connection.deadline.is_some() {
            count(&counters.tcp_refused);
        }
        // What does not go out now goes nowhere.
        let _ = connection.flush(self.batch.now, counters);
        // Somebody else may have a copy of it, for whoever goes on after a crash.
        let _ = connection.stream().shutdown(std::net::Shutdown::Both);
        Some(Path { protocol: Protocol::Tcp, local: id, remote: connection.remote() })
    }

    /// Writes what connections have to say, as far as they take it.
    pub(super) fn write_connections(&mut self, now: Instant) -> Written {
        let mut written = Written::default();
        while let Some(id) = self.batch.dirty_connections.pop() {
            let counters = &self.shared.inbox(self.id).counters;
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let flags = match connection.flush(now, counters) {
                Ok(true) => EpollFlags::EPOLLIN,
                Ok(false) => {
                    written.torn.extend(connection.torn().map(|torn| (id, torn)));
                    EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT
                }
                Err(_) => {
                    written.closed.extend(self.close(id));
                    continue;
                }
            };
            let path = Path { protocol: Protocol::Tcp, local: id, remote: connection.remote() };
            written.broken.extend(connection.take_broken(now).into_iter().map(|ssrc| (path, ssrc)));
            let mut event = EpollEvent::new(flags, CONNECTION | u64::from(id));
            // The connection is in the set as long as it is in the map.
            let _ = self.epoll.modify(connection.stream(), &mut event);
        }
        written
    }
}
