//! Allocations on TURN servers. Each is a socket of its own, connected to the server, and one [`Relay`]; to the switch a packet
//! of it has come over a path as any other. A worker owns it, all send by way of it.
use super::counters::count;
use super::handoff::Handoff;
use super::io::Io;
use super::socket::{Datagram, RECV_BATCH, RecvBatch, SEND_SIZE, SendScratch, UdpSocket};
use super::worker::RELAY;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::sfu::command::{Command, TransportId, WorkerId};
use rtcd_media::sfu::switch::{Class, Datagrams, Sink as _};
use rtcd_media::turn::{Account, Relay, RelayEvent};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Instant;
use tokio::sync::mpsc;

/// Allocations of one worker. Each family of each server has one.
const MAX_RELAYS: usize = 64;
/// Peers of one participant: one address is behind many of its candidates.
const MAX_PEERS: usize = 8;
/// So much room is kept in the queue of events for those that must not be lost.
const ROOM_FOR_STATES: usize = 8;

/// Names an allocation, and by its upper eight bits the worker that has it; unique in the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RelayId(pub u32);

impl RelayId {
    /// The `number`th allocation, on a worker.
    pub fn new(worker: WorkerId, number: u32) -> Self {
        Self(u32::from(worker.0) << 24 | (number & 0xff_ffff))
    }
    /// Whose it is.
    pub fn worker(self) -> WorkerId {
        WorkerId((self.0 >> 24) as u8)
    }
}

/// An allocation to be made.
#[derive(Debug)]
pub struct OpenRelay {
    /// Its name.
    pub id: RelayId,
    /// Connected to the server, or to what carries datagrams to it.
    pub socket: std::net::UdpSocket,
    /// Where it is connected to.
    pub server: SocketAddr,
    /// Credentials.
    pub account: Account,
    /// The family of the relayed address.
    pub ipv6: bool,
    /// The way to the server loses nothing.
    pub reliable: bool,
    /// Told what becomes of it.
    pub events: mpsc::Sender<RelayEvent>,
}

struct Link {
    relay: Relay,
    socket: UdpSocket,
    server: SocketAddr,
    events: mpsc::Sender<RelayEvent>,
}

/// The allocations of one worker, and whom they are for.
#[derive(Default)]
pub(super) struct Relays {
    links: HashMap<RelayId, Link>,
    /// Where participants say that they are. Kept without a relay too: one may come later.
    peers: HashMap<TransportId, Vec<IpAddr>>,
    /// How many participants are at an address.
    wanted: HashMap<IpAddr, usize>,
    scratch: SendScratch,
}

impl Relays {
    /// Learns from a command to the switch where participants are, and that they have gone.
    pub(super) fn notice(&mut self, now: Instant, command: &Command) {
        match command {
            Command::Candidates { transport, candidates, .. } => {
                for candidate in candidates {
                    self.want(now, *transport, candidate.ip());
                }
            }
            Command::Close { transport } => {
                for peer in self.peers.remove(transport).unwrap_or_default() {
                    self.unwant(peer);
                }
            }
            _ => {}
        }
    }

    fn want(&mut self, now: Instant, transport: TransportId, peer: IpAddr) {
        let known = self.peers.entry(transport).or_default();
        if known.contains(&peer) {
            return;
        }
        let oldest = (known.len() >= MAX_PEERS).then(|| known.remove(0));
        known.push(peer);
        *self.wanted.entry(peer).or_default() += 1;
        self.links.values_mut().for_each(|link| link.relay.want(now, peer));
        oldest.into_iter().for_each(|oldest| self.unwant(oldest));
    }

    fn unwant(&mut self, peer: IpAddr) {
        let Some(count) = self.wanted.get_mut(&peer) else { return };
        *count -= 1;
        if *count == 0 {
            self.wanted.remove(&peer);
            self.links.values_mut().for_each(|link| link.relay.forget(peer));
        }
    }

    /// The socket of an allocation, by [`Path::local`].
    pub(super) fn socket(&mut self, local: u32) -> Option<&mut UdpSocket> {
        Some(&mut self.links.get_mut(&RelayId(local))?.socket)
    }

    /// Receives what is there for an allocation, up to the batch's size.
    pub(super) fn receive<'a>(
        &mut self,
        now: Instant,
        id: RelayId,
        received: &'a mut RecvBatch,
    ) -> Option<(usize, Relayed<'a>)> {
        let link = self.links.get_mut(&id)?;
        // ICMP errors surface here; whether the server is still there is found out by asking it.
        let count = link.socket.receive(received).ok()?;
        let mut packets = [const { None }; RECV_BATCH];
        for (at, packet) in packets.iter_mut().enumerate().take(count) {
            *packet = received.datagram(at).and_then(|(bytes, _)| link.relay.handle_datagram(now, bytes));
        }
        Some((count, Relayed { batch: received, local: id.0, count, packets }))
    }

    /// When [`Io::drive_relays`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.relay.next_timeout()).min()
    }
}

impl Io {
    /// Opens an allocation for all participants that are known.
    pub(super) fn open_relay(&mut self, now: Instant, open: OpenRelay) {
        let OpenRelay { id, socket, server, account, ipv6, reliable, events } = open;
        // Whoever asked sees by the end of the events that there is none.
        if self.relays.links.len() >= MAX_RELAYS {
            return;
        }
        let Ok(socket) = UdpSocket::adopt(socket) else { return };
        if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, RELAY | u64::from(id.0))).is_err() {
            return;
        }
        let mut relay = Relay::new(account, ipv6, reliable, now);
        self.relays.wanted.keys().for_each(|peer| relay.want(now, *peer));
        self.relays.links.insert(id, Link { relay, socket, server, events });
    }

    /// Gives an allocation back; whether there was one.
    pub(super) fn close_relay(&mut self, id: RelayId) -> bool {
        let Some(mut link) = self.relays.links.remove(&id) else { return false };
        // Its descriptor leaves the poll set.
        let _ = self.epoll.delete(&link.socket);
        if let Some(bytes) = link.relay.delete() {
            link.socket.send(&[Datagram { to: link.server, bytes: &bytes }], &mut self.relays.scratch);
        }
        let others = self.shared.workers().filter(|worker| *worker != self.id).collect::<Vec<_>>();
        others.into_iter().for_each(|worker| self.give(worker, Handoff::RelayClosed(id)));
        true
    }

    /// Gives all of them back: servers keep them for minutes otherwise, and count them.
    pub(super) fn close_relays(&mut self) {
        for id in self.relays.links.keys().copied().collect::<Vec<_>>() {
            self.close_relay(id);
        }
    }

    /// A packet in the slot that was lent last leaves by way of a relay.
    pub(super) fn commit_relayed(&mut self, path: Path, len: usize, class: Class) {
        let first = self.batch.slot()[0];
        // Answers to checks go to every address of a peer, media and DTLS to the one that it has chosen.
        let binds = class != Class::Control || first > 3;
        let owner = RelayId(path.local).worker();
        if owner != self.id {
            let bytes = self.batch.slot()[..len].into();
            return self.give(owner, Handoff::Relayed { path, binds, bytes });
        }
        let (now, slot) = (self.batch.now, self.batch.slot());
        let wrapped = self.relays.links.get_mut(&RelayId(path.local)).and_then(|link| {
            let len = link.relay.send(now, path.remote, binds, slot, len)?;
            Some((Path { remote: link.server, ..path }, len))
        });
        let counters = &self.shared.inbox(self.id).counters;
        match wrapped {
            Some((path, len)) => self.batch.commit(path, len, class, &mut self.connections, counters),
            None => count(&counters.relay_dropped),
        }
    }

    /// A packet of another worker leaves by way of a relay of ours.
    pub(super) fn send_relayed(&mut self, path: Path, binds: bool, bytes: &[u8]) {
        let Some(room) = self.slot().get_mut(..bytes.len()) else { return };
        room.copy_from_slice(bytes);
        let class = if binds { Class::Voice } else { Class::Control };
        self.commit_relayed(path, bytes.len(), class);
    }

    /// Does what is due of all relays: requests go out, control is told. Returns those that have ended.
    pub(super) fn drive_relays(&mut self, now: Instant) -> Vec<RelayId> {
        let mut ended = Vec::new();
        let Relays { links, scratch, .. } = &mut self.relays;
        for (id, link) in links {
            if link.relay.next_timeout().is_some_and(|at| at <= now) {
                link.relay.handle_timeout(now);
            }
            while let Some(bytes) = link.relay.poll_datagram() {
                link.socket.send(&[Datagram { to: link.server, bytes: &bytes }], scratch);
            }
            while let Some(event) = link.relay.poll_event() {
                if matches!(event, RelayEvent::Ended(_)) {
                    ended.push(*id);
                }
                if matches!(event, RelayEvent::Denied(_)) && link.events.capacity() <= ROOM_FOR_STATES {
                    continue;
                }
                // Whoever asked for the relay may have gone.
                let _ = link.events.try_send(event);
            }
        }
        for id in &ended {
            self.close_relay(*id);
        }
        ended
    }
}

/// What one receive call has given of the peers of an allocation.
pub(super) struct Relayed<'a> {
    batch: &'a mut RecvBatch,
    local: u32,
    count: usize,
    /// Of each datagram that is one of a peer: whose, and where it lies.
    packets: [Option<(SocketAddr, Range<usize>)>; RECV_BATCH],
}

impl Datagrams for Relayed<'_> {
    fn count(&self) -> usize {
        self.count
    }
    fn datagram(&mut self, at: usize) -> Option<(Path, &mut [u8])> {
        let (peer, range) = self.packets[at].clone()?;
        let (bytes, _) = self.batch.datagram(at)?;
        Some((Path { protocol: Protocol::Relay, local: self.local, remote: peer }, bytes.get_mut(range)?))
    }
    fn bytes(&self, at: usize, range: Range<usize>) -> &[u8] {
        let start = self.packets[at].as_ref().map_or(0, |(_, packet)| packet.start);
        self.batch.bytes(at, start + range.start..start + range.end)
    }
}

// A Send indication has room in a slot behind the longest packet that is made.
const _: () = assert!(SEND_SIZE >= 1400 + 52);
