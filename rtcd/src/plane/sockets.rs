//! Control's side of the sockets: binds one for each worker at every address and hands them over, while the workers run.
//!
//! The socket of an address that has gone stays open: when the address comes back, a moment later as a rule, calls over it
//! go on. Its number is part of the paths of running sessions (`Path::local`), so another address gets it only when nobody
//! can have such a path any more, and only when there is no other number left.
use super::command::Command;
use super::socket::{self, BufferSizes, Sharing, UdpSocket};
use super::{PlaneError, PlaneHandle};
use rtcd_media::sfu::command::WorkerId;
use rtcd_media::sfu::switch::LocalSocket;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Addresses that can be bound at once for each protocol; those that have gone make room.
pub const MAX_ADDRESSES: usize = 256;
/// A path whose address has gone this long ago is nobody's: consent expires after 30 s (RFC 7675).
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What a socket takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// An address that nothing is bound to.
const UNBOUND: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

/// Where a number leads.
struct Place {
    address: SocketAddr,
    /// The machine has the address no more, since then.
    gone: Option<Instant>,
}

/// All that is bound, by numbers.
pub struct Sockets {
    plane: PlaneHandle,
    udp: Vec<Place>,
    tcp: Vec<Place>,
    /// What a worker's queue had no room for, in order.
    waiting: VecDeque<(WorkerId, Command)>,
    /// The UDP sockets whose addresses have not gone, as the workers know them.
    local: Vec<LocalSocket>,
    buffers: Option<BufferSizes>,
}

impl Sockets {
    /// None yet.
    pub fn new(plane: PlaneHandle) -> Self {
        Self { plane, udp: Vec::new(), tcp: Vec::new(), waiting: VecDeque::new(), local: Vec::new(), buffers: None }
    }

    /// What the workers have begun with: kind, number, address. A worker that has none of a number gets its own by
    /// [`bind`](Self::bind), which cannot be had before: it shares the address with the others.
    pub fn adopt(&mut self, bound: &[(Kind, usize, SocketAddr)], now: Instant) {
        for (kind, number, address) in bound {
            let places = self.places(*kind);
            while places.len() <= *number {
                // A number that nothing came with: nobody has a path over it.
                places.push(Place { address: UNBOUND, gone: now.checked_sub(FORGOTTEN).or(Some(now)) });
            }
            places[*number] = Place { address: *address, gone: None };
        }
        self.hand_over();
    }

    /// Every worker listens there from now on. Port 0 is settled by the first worker's socket; returns what is bound.
    pub fn bind(&mut self, kind: Kind, address: SocketAddr, now: Instant) -> Result<SocketAddr, PlaneError> {
        let name = kind.name();
        if let Some(place) = self.places(kind).iter_mut().find(|place| place.address == address) {
            place.gone = None;
            self.hand_over();
            return Ok(address);
        }
        let number = self.free(kind, now).ok_or(PlaneError::TooMany { protocol: name, address })?;
        let mut bound = address;
        let mut commands = Vec::new();
        for worker in self.plane.workers() {
            let earlier = self.places(kind).iter().map(|place| Ok(place.address));
            let sharing = Sharing::of(worker.0 == 0, &bound, earlier);
            let failed = PlaneError::bind(name, bound);
            let command = match kind {
                Kind::Udp => {
                    let (socket, sizes) = UdpSocket::bind_as(bound, sharing).map_err(failed)?;
                    bound = socket.local_addr()?;
                    self.note_buffers(sizes);
                    Command::Socket { number, socket }
                }
                Kind::Tcp => {
                    let listener = socket::listen_tcp(bound, sharing).map_err(failed)?;
                    bound = listener.local_addr()?;
                    Command::Listener { number, listener }
                }
            };
            commands.push((worker, command));
        }
        let place = Place { address: bound, gone: None };
        match self.places(kind).get_mut(number) {
            Some(old) => *old = place,
            None => self.places(kind).push(place),
        }
        self.waiting.extend(commands);
        self.hand_over();
        Ok(bound)
    }

    /// Of what is bound, this machine has these addresses only.
    pub fn retain(&mut self, kind: Kind, has: impl Fn(SocketAddr) -> bool, now: Instant) {
        for place in self.places(kind) {
            match has(place.address) {
                true => place.gone = None,
                false => place.gone = place.gone.or(Some(now)),
            }
        }
        self.hand_over();
    }

    /// Addresses that are bound and have not gone, in the order of their numbers.
    pub fn addresses(&self, kind: Kind) -> Vec<SocketAddr> {
        let places = if kind == Kind::Udp { &self.udp } else { &self.tcp };
        places.iter().filter(|place| place.gone.is_none()).map(|place| place.address).collect()
    }

    /// The smallest buffers that the kernel gave.
    pub fn buffers(&self) -> Option<BufferSizes> {
        self.buffers
    }

    fn places(&mut self, kind: Kind) -> &mut Vec<Place> {
        if kind == Kind::Udp { &mut self.udp } else { &mut self.tcp }
    }

    /// The next number, or else that of the address that has gone first, if nobody can miss it any more.
    fn free(&mut self, kind: Kind, now: Instant) -> Option<usize> {
        let places = self.places(kind);
        if places.len() < MAX_ADDRESSES {
            return Some(places.len());
        }
        let gone = places.iter().enumerate().filter_map(|(number, place)| Some((place.gone?, number)));
        gone.min().filter(|(since, _)| now.saturating_duration_since(*since) >= FORGOTTEN).map(|(_, number)| number)
    }

    fn note_buffers(&mut self, sizes: BufferSizes) {
        self.buffers = Some(self.buffers.map_or(sizes, |known| BufferSizes {
            receive: known.receive.min(sizes.receive),
            send: known.send.min(sizes.send),
        }));
    }

    /// Tells every worker which addresses are there, if that is news.
    fn tell_local(&mut self) {
        let there = self.udp.iter().enumerate().filter(|(_, place)| place.gone.is_none());
        let local: Vec<_> =
            there.map(|(number, place)| LocalSocket { local: number as u32, address: place.address }).collect();
        if local != self.local {
            let commands = self.plane.workers().map(|worker| (worker, Command::LocalSockets(local.clone())));
            self.waiting.extend(commands);
            self.local = local;
        }
    }

    /// Numbers are given out in order, so what waits for one worker is in front of what comes later for it.
    fn hand_over(&mut self) {
        self.tell_local();
        while let Some((worker, command)) = self.waiting.pop_front() {
            if let Err(command) = self.plane.offer(worker, command) {
                self.waiting.push_front((worker, command));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::{Plane, PlaneConfig};
    use rtcd_media::dtls::Identity;

    #[test]
    fn an_address_that_comes_back_has_its_number_and_others_get_it_only_when_there_is_no_other() {
        let identity = Identity::generate().expect("a certificate");
        let (plane, _events) = Plane::start(&PlaneConfig::new(1, 0), identity).expect("started");
        let mut sockets = Sockets::new(plane.handle());
        let start = Instant::now();
        let loopback = |host: u16| {
            let [high, low] = host.to_be_bytes();
            SocketAddr::from(([127, 0, 70 + high, low], 0))
        };
        let first = sockets.bind(Kind::Udp, loopback(1), start).expect("bound");
        for host in 2..=MAX_ADDRESSES as u16 {
            sockets.bind(Kind::Udp, loopback(host), start).expect("bound");
        }
        let refused = sockets.bind(Kind::Udp, loopback(1000), start + FORGOTTEN);
        assert!(matches!(refused, Err(PlaneError::TooMany { .. })), "all of them are there: {refused:?}");

        sockets.retain(Kind::Udp, |address| address != first, start);
        assert!(!sockets.addresses(Kind::Udp).contains(&first));
        assert!(sockets.local.iter().all(|socket| socket.address != first), "no check of ours leaves from it");
        assert!(sockets.bind(Kind::Udp, loopback(1000), start + FORGOTTEN / 2).is_err(), "it may come back");
        assert_eq!(sockets.bind(Kind::Udp, first, start + FORGOTTEN / 2).expect("still there"), first);
        assert_eq!(sockets.addresses(Kind::Udp)[0], first);
        assert_eq!(sockets.local[0], LocalSocket { local: 0, address: first }, "checks leave from it again");

        sockets.retain(Kind::Udp, |address| address != first, start + FORGOTTEN);
        let next = sockets.bind(Kind::Udp, loopback(1000), start + FORGOTTEN * 2).expect("there is room");
        assert_eq!(sockets.addresses(Kind::Udp).len(), MAX_ADDRESSES);
        assert_eq!(sockets.addresses(Kind::Udp)[0], next);
        plane.stop();
    }
}
