//! What lies in a worker's box: commands of control, and what other workers give.
use super::{SOCKET, Worker};
use crate::plane::command::Command;
use crate::plane::handoff::{Handoff, MediaPacket, Misrouted, MisroutedDatagram};
use crate::plane::socket::{RECV_BATCH, UdpSocket};
use crate::plane::stalls::age_since;
use crate::plane::tcp::Connection;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use rtcd_media::sfu::switch::Age;
use std::net::TcpListener;
use std::time::Instant;

impl Worker {
    /// Does what control says, and takes what other workers give.
    pub(super) fn take_messages(&mut self, now: Instant, frame: &mut [u8]) {
        let shared = self.io.shared.clone();
        let inbox = shared.inbox(self.io.id);
        while let Some(command) = inbox.next_command() {
            match command {
                Command::Switch(command) => {
                    self.io.relays.notice(now, &command);
                    self.switch.handle_command(now, command, &mut self.io);
                }
                Command::OpenRelay(open) => self.io.open_relay(now, *open),
                Command::CloseRelay(id) => self.close_relay(id),
                Command::Measure { track, writes } => {
                    let switch = &self.switch;
                    self.io.measure(track, writes, |track| switch.knows_track(track));
                }
                Command::Socket { number, socket } => self.take_socket(number, socket),
                Command::Listener { number, listener } => self.take_listener(now, number, listener),
                #[cfg(test)]
                Command::HitBug => panic!("a bug"),
                // Whoever asked may have gone.
                Command::Describe(reply) => drop(reply.send(self.switch.describe(now))),
                Command::Tally(reply) => drop(reply.send(self.tally())),
                Command::LocalSockets(sockets) => self.switch.set_local_sockets(sockets),
                Command::Start(start) => self.start(now, *start),
                Command::Suspend { until, done } => self.suspending = Some((until, Some(done))),
                Command::Leave { meeting, left } => {
                    self.leaving = Some((meeting, left));
                    self.stopping = true;
                }
                Command::Stop => self.stopping = true,
            }
        }
        self.keep.turn_if_held(now, &mut self.switch);
        while let Some(handoff) = inbox.next_handoff() {
            match handoff {
                Handoff::Switch(handoff) => self.switch.handle_handoff(now, handoff, &mut self.io),
                Handoff::Media(packet) if self.stalls.is_catching_up(now) => {
                    self.switch.handle_stale_media();
                    shared.recycle(packet);
                }
                Handoff::Media(packet) if packet.is_late(now) => {
                    self.switch.handle_late_media();
                    shared.recycle(packet);
                }
                Handoff::Media(packet) => self.media.push(packet),
                Handoff::Misrouted(datagram) => self.misrouted.push(datagram),
                Handoff::MakeRoom => {
                    self.io.evict_stranger();
                }
                Handoff::Relayed { path, binds, bytes } => self.io.send_relayed(path, binds, &bytes),
                Handoff::RelayClosed(id) => self.switch.handle_relay_closed(id.0),
                Handoff::Connection { stream, remote, read } => {
                    if let Ok(connection) = Connection::new(stream, remote, read, now) {
                        let id = self.io.add_connection(connection);
                        self.read_frames(now, id, Age::Fresh, frame);
                    }
                }
            }
            if self.media.len() >= RECV_BATCH {
                self.forward_media(now);
            }
            if self.misrouted.len() >= RECV_BATCH {
                self.read_misrouted(now);
            }
        }
        self.forward_media(now);
        self.read_misrouted(now);
    }

    /// Reads what has come to other workers' sockets as if it had come to our own.
    fn read_misrouted(&mut self, now: Instant) {
        let mut misrouted = std::mem::take(&mut self.misrouted);
        let age = |datagram: &MisroutedDatagram| match self.stalls.is_catching_up(now) {
            true => Age::Stale,
            false => age_since(now, datagram.since),
        };
        for datagrams in misrouted.chunk_by_mut(|a, b| age(a) == age(b)) {
            let age = age(&datagrams[0]);
            self.switch.handle_batch(now, &mut Misrouted(datagrams), age, &mut self.io);
        }
        misrouted.drain(..).for_each(|datagram| self.io.shared.recycle_misrouted(datagram));
        self.misrouted = misrouted;
    }

    /// A socket in the place of that number. The one before is closed, which takes it out of the poll set.
    pub(super) fn take_socket(&mut self, number: usize, socket: UdpSocket) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, SOCKET | number as u64);
        if let Err(error) = self.io.epoll.add(&socket, event) {
            tracing::error!(%error, address = ?socket.local_addr(), "a socket is not read");
        }
        match self.io.sockets.get_mut(number) {
            Some(place) => *place = socket,
            None => self.io.sockets.push(socket),
        }
        self.stalls.add(number);
        self.keep.sockets_changed();
    }

    /// A listener in the place of that number.
    pub(super) fn take_listener(&mut self, now: Instant, number: usize, listener: TcpListener) {
        self.acceptor.take(now, number, listener, &self.io);
        self.keep.sockets_changed();
    }

    /// Forwards what other workers have given: per track, all packets, so that they leave together.
    fn forward_media(&mut self, now: Instant) {
        let mut media = std::mem::take(&mut self.media);
        // Voices first. Stable: the order of arrival within a track stays.
        media.sort_by_key(|packet| (packet.meta.codec.is_video(), packet.track));
        for packets in media.chunk_by(|a, b| a.track == b.track) {
            let packet = |at: usize| {
                let packet: &MediaPacket = &packets[at];
                (packet.meta, &packet.payload[..packet.len])
            };
            self.switch.handle_media(now, packets[0].track, packets.len(), packet, &mut self.io);
        }
        media.drain(..).for_each(|packet| self.io.shared.recycle(packet));
        self.media = media;
    }
}
