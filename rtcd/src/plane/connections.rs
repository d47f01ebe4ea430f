//! The TCP connections of a worker: taken, told from strangers', read, written, and let go.
use super::counters::count;
use super::strangers::MAX_STRANGERS;
use super::tcp::Connection;
use super::worker::{BELL, CONNECTION, LISTENER, Owner, Worker};
use crate::source::Source;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rtcd_media::demux::{Path, Protocol};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Connections that are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Descriptors that each worker keeps for newcomers: when the process has no other left, that many strangers have a place.
const RESERVE: usize = 8;
/// How long nobody is accepted after descriptors have run out and no stranger had one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

impl Worker {
    pub(super) fn accept(&mut self, now: Instant, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listeners[index].accept() {
                Ok((stream, remote)) => match Connection::new(stream, remote, Vec::new(), now) {
                    Ok(connection) => {
                        self.add_connection(connection);
                    }
                    Err(_) => count(&self.shared.inbox(self.id).counters.tcp_refused),
                },
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        // The kernel says so before it looks whether anybody waits.
                        if !self.somebody_waits(index) {
                            return;
                        }
                        count(&self.shared.inbox(self.id).counters.accept_failed);
                        // A descriptor of ours goes to the newcomer, else a stranger's; where there is none, the listener
                        // would be ready for ever: it has to wait.
                        if self.reserve.pop().is_none() && !self.evict_stranger() {
                            return self.pause_accepting(now);
                        }
                    }
                    // The queue is empty.
                    Some(Errno::EAGAIN) | None => return,
                    // The newcomer has gone again: the next one.
                    Some(_) => {}
                },
            }
        }
    }

    fn somebody_waits(&self, index: usize) -> bool {
        let mut listener = [PollFd::new(self.listeners[index].as_fd(), PollFlags::POLLIN)];
        poll(&mut listener, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn evict_stranger(&mut self) -> bool {
        let Some(id) = self.strangers.heaviest() else { return false };
        count(&self.shared.inbox(self.id).counters.tcp_evicted);
        self.drop_connection(id);
        true
    }

    fn pause_accepting(&mut self, now: Instant) {
        self.accepts_again = Some(now + ACCEPT_PAUSE);
        self.listen(EpollFlags::empty());
    }

    /// Descriptors put by for newcomers, when there are any to be had.
    pub(super) fn refill_reserve(&mut self, now: Instant) {
        if self.reserve.len() == RESERVE || self.listeners.is_empty() || self.refills_at > now {
            return;
        }
        self.refills_at = now + ACCEPT_PAUSE;
        while self.reserve.len() < RESERVE {
            match EventFd::from_flags(EfdFlags::EFD_CLOEXEC) {
                Ok(descriptor) => self.reserve.push(descriptor),
                Err(_) => return,
            }
        }
    }

    pub(super) fn resume_accepting(&mut self, now: Instant) {
        self.refill_reserve(now);
        if self.accepts_again.is_some_and(|at| at <= now) {
            self.accepts_again = None;
            self.listen(EpollFlags::EPOLLIN);
        }
    }

    fn listen(&mut self, flags: EpollFlags) {
        for (at, listener) in self.listeners.iter().enumerate() {
            // Listeners are in the set from the start to the end.
            let _ = self.epoll.modify(listener, &mut EpollEvent::new(flags, LISTENER | at as u64));
        }
    }

    /// A connection, of a stranger until it has carried an authentic check. The oldest of the source that has most of
    /// them makes room.
    pub(super) fn add_connection(&mut self, connection: Connection) -> u32 {
        while self.strangers.count() >= MAX_STRANGERS && self.evict_stranger() {}
        let id = self.next_connection;
        self.next_connection = self.next_connection.wrapping_add(1);
        let event = EpollEvent::new(EpollFlags::EPOLLIN, CONNECTION | u64::from(id));
        if self.epoll.add(connection.stream(), event).is_ok() {
            if let Some(deadline) = connection.deadline {
                self.strangers.insert(Source::from(connection.remote()), id, deadline);
            }
            self.connections.insert(id, connection);
        } else {
            count(&self.shared.inbox(self.id).counters.tcp_refused);
        }
        id
    }

    pub(super) fn connection_ready(&mut self, now: Instant, id: u32, events: EpollFlags, frame: &mut [u8]) {
        debug_assert_ne!(CONNECTION, BELL);
        if events.contains(EpollFlags::EPOLLOUT) {
            self.batch.dirty_connections.push(id);
        }
        if !events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.fill(frame) {
            Ok(true) => {
                self.discards_media = self.stalls.is_catching_up(now);
                self.read_frames(now, id, frame);
                self.discards_media = false;
            }
            Ok(false) | Err(_) => self.drop_connection(id),
        }
    }

    pub(super) fn read_frames(&mut self, now: Instant, id: u32, frame: &mut [u8]) {
        while let Some(connection) = self.connections.get_mut(&id) {
            let path = Path { protocol: Protocol::Tcp, local: id, remote: connection.remote() };
            match connection.next_frame(frame) {
                Ok(Some(len)) => {
                    count(&self.shared.inbox(self.id).counters.received);
                    self.handle_alone(now, path, &mut frame[..len]);
                }
                Ok(None) => return,
                Err(_) => return self.drop_connection(id),
            }
        }
    }

    /// Closes a connection; its path leads nowhere.
    pub(super) fn drop_connection(&mut self, id: u32) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if connection.deadline.is_some() {
            count(&self.shared.inbox(self.id).counters.tcp_refused);
            self.strangers.remove(Source::from(connection.remote()), id);
        }
        let path = Path { protocol: Protocol::Tcp, local: id, remote: connection.remote() };
        if let Some(Owner::Peer(key)) = self.paths.remove(&path)
            && let Some(peer) = self.peers.get_mut(key)
        {
            peer.transport.forget_path(&path);
        }
    }

    /// Connections of strangers that have had their time.
    pub(super) fn close_silent_connections(&mut self, now: Instant) {
        while let Some(id) = self.strangers.pop_expired(now) {
            if self.connections.get(&id).is_some_and(|connection| connection.deadline.is_some_and(|at| at <= now)) {
                self.drop_connection(id);
            }
        }
    }

    pub(super) fn flush_connections(&mut self, now: Instant) {
        let shared = self.shared.clone();
        let counters = &shared.inbox(self.id).counters;
        let mut broken = Vec::new();
        while let Some(id) = self.batch.dirty_connections.pop() {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let flags = match connection.flush(now, counters) {
                Ok(true) => EpollFlags::EPOLLIN,
                Ok(false) => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
                Err(_) => {
                    self.drop_connection(id);
                    continue;
                }
            };
            let path = Path { protocol: Protocol::Tcp, local: id, remote: connection.remote() };
            broken.extend(connection.take_broken(now).into_iter().map(|ssrc| (path, ssrc)));
            let mut event = EpollEvent::new(flags, CONNECTION | u64::from(id));
            // The connection is in the set as long as it is in the map.
            let _ = self.epoll.modify(connection.stream(), &mut event);
        }
        for (path, ssrc) in broken {
            if let Some(Owner::Peer(key)) = self.paths.get(&path).copied() {
                self.receiver_lost_picture(now, key, ssrc);
            }
        }
    }
}
