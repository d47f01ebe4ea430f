//! Takes TCP connections, also when descriptors have run out: a few are kept for newcomers.
use super::connections::Connections;
use super::counters::count;
use super::io::Io;
use super::tcp::Connection;
use super::worker::LISTENER;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rtcd_media::demux::Path;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Connections that are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Descriptors that each worker keeps for newcomers: when the process has no other left, that many strangers have a place.
const RESERVE: usize = 8;
/// How long nobody is accepted after descriptors have run out and no stranger had one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// The listeners of one worker.
pub(super) struct Acceptor {
    listeners: Vec<TcpListener>,
    /// Descriptors that go to newcomers when there are no others.
    reserve: Vec<EventFd>,
    /// When more are put by.
    refills_at: Instant,
    /// When listeners are listened to again, after descriptors had run out.
    accepts_again: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(now: Instant) -> Self {
        Self { listeners: Vec::new(), reserve: Vec::new(), refills_at: now, accepts_again: None }
    }

    /// A listener in the place of that number. The one before is closed, which takes it out of the poll set.
    pub(super) fn take(&mut self, now: Instant, number: usize, listener: TcpListener, io: &Io) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER | number as u64);
        if let Err(error) = io.epoll.add(&listener, event) {
            tracing::error!(%error, address = ?listener.local_addr(), "a listener is not listened to");
        }
        match self.listeners.get_mut(number) {
            Some(place) => *place = listener,
            None => self.listeners.push(listener),
        }
        self.refill_reserve(now);
    }

    /// All listeners, in the order of their numbers.
    pub(super) fn listeners(&self) -> &[TcpListener] {
        &self.listeners
    }

    /// The same, for another process.
    pub(super) fn into_listeners(self) -> Vec<TcpListener> {
        self.listeners
    }

    /// Takes who waits at a listener.
    pub(super) fn accept(&mut self, now: Instant, index: usize, io: &mut Io) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listeners[index].accept() {
                Ok((stream, remote)) => match Connection::new(stream, remote, Vec::new(), now) {
                    Ok(connection) => {
                        io.add_connection(connection);
                    }
                    Err(_) => count(&io.shared.inbox(io.id).counters.tcp_refused),
                },
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        // The kernel says so before it looks whether anybody waits.
                        if !self.somebody_waits(index) {
                            return;
                        }
                        count(&io.shared.inbox(io.id).counters.accept_failed);
                        // A descriptor of ours goes to the newcomer, else a stranger's; where there is none, the listener
                        // would be ready for ever: it has to wait.
                        if self.reserve.pop().is_none() && !io.evict_stranger() {
                            // Strangers of other workers may have them all.
                            io.ask_for_room();
                            self.accepts_again = Some(now + ACCEPT_PAUSE);
                            return self.listen(io, EpollFlags::empty());
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

    /// Descriptors put by for newcomers, when there are any to be had.
    fn refill_reserve(&mut self, now: Instant) {
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

    /// What is due: strangers that have had their time are closed, descriptors put by, listeners listened to again.
    /// Returns the paths that are closed now.
    pub(super) fn handle_timeout(&mut self, now: Instant, io: &mut Io) -> Vec<Path> {
        let mut closed = Vec::new();
        while let Some(id) = io.connections.pop_expired(now) {
            closed.extend(io.close(id));
        }
        self.refill_reserve(now);
        if self.accepts_again.is_some_and(|at| at <= now) {
            self.accepts_again = None;
            self.listen(io, EpollFlags::EPOLLIN);
        }
        closed
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn next_timeout(&self, connections: &Connections) -> Option<Instant> {
        self.accepts_again.into_iter().chain(connections.next_timeout()).min()
    }

    fn listen(&self, io: &Io, flags: EpollFlags) {
        for (at, listener) in self.listeners.iter().enumerate() {
            // Listeners are in the set from the start to the end.
            let _ = io.epoll.modify(listener, &mut EpollEvent::new(flags, LISTENER | at as u64));
        }
    }
}
