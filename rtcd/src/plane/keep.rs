//! What a worker writes down while it works, for whoever goes on when its process has died, or its thread: see
//! [`Switch::write_numbers`]. Its sockets are left with systemd as they come and go.
use super::connections::Connections;
use super::handover::{ConnectionRecord, Inode, SocketRecord, inode};
use super::socket::UdpSocket;
use super::sockets::Kind;
use super::torn::Torn;
use crate::handover::cells::{Cells, Room};
use crate::handover::monotonic;
use crate::logging::Once;
use rtcd_media::footprint::Footprint;
use rtcd_media::handover;
use rtcd_media::sfu::switch::{Change, Switch};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// How often numbers are written down.
const INTERVAL: Duration = Duration::from_millis(500);
/// Records that are written in one turn: some 50 us each.
const RECORDS: usize = 8;

/// Cells of a worker.
pub(super) const BOUND: usize = 0;
pub(super) const NUMBERS: usize = 1;
/// Those of peers come behind.
pub(super) const PEERS: usize = 2;
pub(super) const BOUND_VERSION: u8 = 1;

/// What a worker is reached by.
#[derive(Default, Serialize, Deserialize)]
pub struct Bound {
    /// Sockets and listeners.
    pub sockets: Vec<SocketRecord>,
    /// Connections of calls.
    pub connections: Vec<ConnectionRecord>,
}

/// A socket that systemd is to keep, or not any more.
#[derive(Debug)]
pub enum Stored {
    /// A copy of it.
    Kept(Inode, OwnedFd),
    /// It was closed.
    Gone(Inode),
}

/// The memory of one worker.
pub(super) struct Keep {
    cells: Cells,
    /// `None`: nobody keeps sockets.
    store: Option<mpsc::UnboundedSender<Stored>>,
    stored: HashSet<Inode>,
    are_sockets_new: bool,
    next: Instant,
    /// There is something that a reader would find.
    has_peers: bool,
    failing: Once,
}

impl Footprint for Keep {
    fn heap_bytes(&self) -> usize {
        self.cells.heap_bytes()
    }
}

impl Keep {
    pub(super) fn new(cells: Cells, store: Option<mpsc::UnboundedSender<Stored>>, now: Instant) -> Self {
        Self {
            cells,
            store,
            stored: HashSet::new(),
            are_sockets_new: false,
            next: now,
            has_peers: false,
            failing: Once::new(),
        }
    }

    /// Sockets have come or gone.
    pub(super) fn sockets_changed(&mut self) {
        self.are_sockets_new = true;
    }

    /// Whether sockets have come or gone since the last time.
    pub(super) fn have_sockets_changed(&mut self) -> bool {
        std::mem::take(&mut self.are_sockets_new)
    }

    /// When there is something to be written down.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.has_peers.then_some(self.next)
    }

    /// Writes down what is due.
    pub(super) fn turn(&mut self, now: Instant, switch: &mut Switch) {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + INTERVAL;
            switch.look_for_changes(now);
        }
        let mut written = self.write_records(now, switch, RECORDS);
        if is_due || switch.is_held() {
            written = written.and_then(|()| self.write_numbers(now, switch));
        }
        self.note(written);
    }

    /// Writes down everything, before anything is said in the name of those who are to go on here.
    pub(super) fn begin(&mut self, now: Instant, switch: &mut Switch) {
        switch.look_for_changes(now);
        let written = self.write_records(now, switch, usize::MAX).and_then(|()| self.write_numbers(now, switch));
        self.note(written);
    }

    /// Records of those who had other places.
    pub(super) fn forget_records(&mut self) {
        let cleared = (PEERS..self.cells.count()).try_for_each(|cell| self.cells.clear(cell));
        self.note(cleared);
    }

    /// Writes down numbers before a stream sends its first packet.
    pub(super) fn turn_if_held(&mut self, now: Instant, switch: &mut Switch) {
        if switch.is_held() {
            let written = self.write_numbers(now, switch);
            self.note(written);
        }
    }

    fn write_records(&mut self, now: Instant, switch: &mut Switch, most: usize) -> io::Result<()> {
        for _ in 0..most {
            // Its cell is known when it is there.
            let mut record = Zeroizing::new(Vec::new());
            match switch.next_change(now, &mut record) {
                None => break,
                Some(Change::Written(place)) => {
                    self.cells.write(PEERS + place, Room::One, monotonic(), |out| out.extend_from_slice(&record))?;
                }
                Some(Change::Gone(place)) => self.cells.clear(PEERS + place)?,
            }
        }
        Ok(())
    }

    fn write_numbers(&mut self, now: Instant, switch: &mut Switch) -> io::Result<()> {
        let has_peers = switch.has_peers();
        if has_peers || self.has_peers {
            self.cells.write(NUMBERS, Room::Both, monotonic(), |out| switch.write_numbers(now, out))?;
            switch.reserve();
        }
        self.has_peers = has_peers;
        Ok(())
    }

    /// Numbers that could not be written down are tried again: what is reserved lasts for a while.
    fn note(&self, written: io::Result<()>) {
        match written {
            Ok(()) if self.failing.works() => tracing::info!("the state of calls can be written down again"),
            Ok(()) => {}
            Err(error) if self.failing.failed() => {
                tracing::error!(%error, "the state of calls cannot be written down: media will stop if that lasts");
            }
            Err(_) => {}
        }
    }

    /// Leaves new sockets and connections of calls with systemd, and takes those back that were closed.
    pub(super) fn store_sockets(
        &mut self,
        now: Instant,
        udp: &[UdpSocket],
        tcp: &[TcpListener],
        of_calls: &Connections,
    ) {
        let mut current = Bound::default();
        let udp = udp.iter().enumerate().map(|(number, s)| (Kind::Udp, number, s.as_fd(), s.local_addr()));
        let tcp = tcp.iter().enumerate().map(|(number, l)| (Kind::Tcp, number, l.as_fd(), l.local_addr()));
        for (kind, number, fd, address) in udp.chain(tcp) {
            let Ok(address) = address else { continue };
            let inode = self.store(fd);
            current.sockets.push(SocketRecord { inode, kind, number, address });
        }
        for (id, connection) in of_calls.known() {
            let inode = self.store(connection.stream().as_fd());
            let remote = connection.remote();
            let (read, unsent) = Default::default();
            current.connections.push(ConnectionRecord { inode, id, remote, is_known: true, read, unsent });
        }
        let inodes = current.sockets.iter().map(|s| s.inode).chain(current.connections.iter().map(|c| c.inode));
        let inodes: HashSet<Inode> = inodes.collect();
        for gone in self.stored.difference(&inodes) {
            self.tell(Stored::Gone(*gone));
        }
        self.stored = inodes;
        let fill = |out: &mut Vec<u8>| handover::write(out, BOUND_VERSION, now, &current);
        let written = self.cells.write(BOUND, Room::One, monotonic(), fill);
        self.note(written);
    }

    /// A connection has taken a part of a frame. When it takes the rest this is of no use any more, and does no harm.
    pub(super) fn mark_torn(&self, id: u32, torn: Torn) {
        self.note(self.cells.mark(id as usize, &torn.to_mark()));
    }

    fn store(&self, fd: BorrowedFd<'_>) -> Inode {
        let inode = inode(fd);
        if self.store.is_some()
            && !self.stored.contains(&inode)
            && let Ok(copy) = fd.try_clone_to_owned()
        {
            self.tell(Stored::Kept(inode, copy));
        }
        inode
    }

    fn tell(&self, what: Stored) {
        if let Some(store) = &self.store {
            // The process is ending when nobody listens.
            let _ = store.send(what);
        }
    }

    /// Another process goes on, by what it is told: nothing of this is of use.
    pub(super) fn wipe(&mut self) {
        if let Err(error) = self.cells.wipe() {
            tracing::warn!(%error, "what was written down of calls could not be wiped");
        }
    }

    /// Another handle on it.
    pub(super) fn handle(&self) -> io::Result<OwnedFd> {
        self.cells.handle()
    }
}
