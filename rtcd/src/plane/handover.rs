//! A plane that goes on in another process: what each worker leaves, and what each begins with. Sockets keep their numbers,
//! so that the paths of running sessions stay true; a plane of another size shares the peers of the old one out anew.
use super::socket::{self, Sharing, UdpSocket};
use super::sockets::Kind;
use super::tcp::Connection;
use super::torn::Torn;
use nix::sys::stat::fstat;
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::sfu::command::{Claim, TransportId, WorkerId};
use rtcd_media::sfu::switch::{Route, SwitchRecord, SwitchStart};
use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// In the place of an address that cannot be had: some port that nobody knows.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// How long workers wait for each other before they leave.
const MEETING: Duration = Duration::from_millis(100);

/// A descriptor as both processes see it: a socket's inode is its own for as long as it is open anywhere.
pub type Inode = u64;

/// The inode of a descriptor; 0, which no socket has, when the kernel does not say.
pub fn inode(fd: impl AsFd) -> Inode {
    fstat(fd).map_or(0, |stat| stat.st_ino)
}

/// What one worker leaves, without its descriptors.
#[derive(Default, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its switch.
    pub switch: SwitchRecord,
    /// Its sockets and listeners.
    pub sockets: Vec<SocketRecord>,
    /// Its TCP connections.
    pub connections: Vec<ConnectionRecord>,
}

/// A socket or a listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SocketRecord {
    /// Which descriptor.
    pub inode: Inode,
    /// What it takes.
    pub kind: Kind,
    /// Its number.
    pub number: usize,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// A TCP connection.
#[serde_as]
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// Which descriptor.
    pub inode: Inode,
    /// Its id: `Path::local` of what came over it.
    pub id: u32,
    /// The peer.
    pub remote: SocketAddr,
    /// It has carried an authentic check.
    pub is_known: bool,
    /// What was read of it and is no whole frame yet.
    #[serde_as(as = "Bytes")]
    pub read: Vec<u8>,
    /// The rest of a frame that has begun to leave.
    #[serde_as(as = "Bytes")]
    pub unsent: Vec<u8>,
}

/// What a worker leaves.
pub struct Left {
    /// Plain data.
    pub record: WorkerRecord,
    /// What its inodes are of.
    pub descriptors: Vec<OwnedFd>,
}

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Left").field("descriptors", &self.descriptors.len()).finish_non_exhaustive()
    }
}

/// What a worker begins with.
pub struct WorkerStart {
    /// When the records were written, by the clock of this process.
    pub written: Instant,
    /// What its switch goes on with.
    pub switch: SwitchStart,
    /// Sockets by number.
    pub sockets: Vec<(usize, UdpSocket)>,
    /// Listeners by number.
    pub listeners: Vec<(usize, TcpListener)>,
    /// Connections by id.
    pub connections: Vec<(u32, Connection)>,
    /// An address is bound that it could get no socket at.
    pub lacks_socket: bool,
}

impl std::fmt::Debug for WorkerStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sockets, connections) = (self.sockets.len(), self.connections.len());
        f.debug_struct("WorkerStart")
            .field("sockets", &sockets)
            .field("connections", &connections)
            .finish_non_exhaustive()
    }
}

/// Workers that leave wait for each other, so that what they have given each other is taken: none reads on when another has
/// stopped.
#[derive(Debug)]
pub struct Meeting {
    arrived: AtomicUsize,
    workers: usize,
}

impl Meeting {
    /// Of so many workers.
    pub fn new(workers: usize) -> Self {
        Self { arrived: AtomicUsize::new(0), workers }
    }

    /// Returns when all have come for the `round`th time, or one of them hangs.
    pub fn wait(&self, round: usize) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let since = Instant::now();
        while self.arrived.load(Ordering::Acquire) < round * self.workers && since.elapsed() < MEETING {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// The descriptors that have come with a plane, each to be taken once.
pub struct Descriptors {
    by_inode: HashMap<Inode, OwnedFd>,
    torn: Vec<Torn>,
}

impl Descriptors {
    /// Those that another process has left.
    pub fn new(descriptors: Vec<OwnedFd>) -> Self {
        let by_inode = descriptors.into_iter().map(|fd| (inode(&fd), fd)).collect();
        Self { by_inode, torn: Vec::new() }
    }

    /// Of some connections a frame may be torn.
    pub fn with_torn(self, torn: Vec<Torn>) -> Self {
        Self { torn, ..self }
    }

    /// Those that nobody has taken.
    pub fn inodes(&self) -> impl Iterator<Item = Inode> + '_ {
        self.by_inode.keys().copied()
    }

    /// The one with this inode.
    pub fn take(&mut self, inode: Inode) -> Option<OwnedFd> {
        self.by_inode.remove(&inode)
    }
}

/// What came of sharing a plane out.
pub struct Share {
    /// What each worker begins with.
    pub workers: Vec<WorkerStart>,
    /// What is bound: kind, number, address.
    pub bound: Vec<(Kind, usize, SocketAddr)>,
    /// Sockets and connections whose descriptors have not come, or are of no use.
    pub missing: usize,
}

/// The worker that is in the place of one of another process, in a plane of `workers`.
pub fn place(old: WorkerId, workers: usize) -> WorkerId {
    WorkerId((usize::from(old.0) % workers.max(1)) as u8)
}

/// Shares out what the workers of another process have left, at `written`, among `workers`.
pub fn share(
    records: Vec<WorkerRecord>,
    descriptors: &mut Descriptors,
    workers: usize,
    written: Instant,
    is_crash: bool,
) -> Share {
    let empty = || WorkerStart {
        written,
        switch: SwitchStart { is_crash, ..SwitchStart::default() },
        sockets: Vec::new(),
        listeners: Vec::new(),
        connections: Vec::new(),
        lacks_socket: false,
    };
    let mut share = Share { workers: (0..workers).map(|_| empty()).collect(), bound: Vec::new(), missing: 0 };
    let claims: HashMap<TransportId, Arc<Claim>> = records
        .iter()
        .flat_map(|record| &record.switch.registrations)
        .map(|registration| {
            let owner = registration.owner.map(|owner| place(owner, workers));
            (registration.transport(), Arc::new(owner.map_or_else(Claim::default, Claim::owned)))
        })
        .collect();
    // Each worker has written down all of them.
    let mut known = HashSet::new();
    let (mut elsewhere, mut owners) = (Vec::new(), Vec::new());
    let mut next_id = 0;
    for (old, record) in (0u8..).map(WorkerId).zip(records) {
        let new = place(old, workers);
        for registration in record.switch.registrations {
            if known.insert(registration.ufrag()) {
                let claim = claims[&registration.transport()].clone();
                for start in &mut share.workers {
                    start.switch.registrations.push((registration.clone(), claim.clone()));
                }
            }
        }
        let start = &mut share.workers[usize::from(new.0)];
        for socket in record.sockets {
            // Of two workers' sockets at one address only one has a worker now.
            let is_first = usize::from(old.0) < workers;
            let adopted =
                descriptors.take(socket.inode).filter(|_| is_first).is_some_and(|fd| start.adopt(&socket, fd));
            share.missing += usize::from(is_first && !adopted);
            let bound = (socket.kind, socket.number, socket.address);
            if adopted && !share.bound.contains(&bound) {
                share.bound.push(bound);
            }
        }
        // Ids of several old workers meet in one new one: each connection gets one that none has.
        let (mut ids, mut by_remote) = (HashMap::new(), HashMap::new());
        for connection in record.connections {
            let (old, id) = ((connection.id, connection.remote), next_id);
            let fd = descriptors.take(connection.inode);
            match fd.and_then(|fd| resume(fd, connection, written, is_crash.then_some(&descriptors.torn))) {
                Some(connection) => {
                    next_id += 1;
                    ids.insert(old, id);
                    // Records of several processes have had several ids for it.
                    by_remote.insert(old.1, id);
                    start.connections.push((id, connection));
                }
                None => share.missing += 1,
            }
        }
        let numbers: Vec<u32> =
            share.bound.iter().filter(|(kind, ..)| *kind == Kind::Udp).map(|b| b.1 as u32).collect();
        for peer in record.switch.peers {
            let places: Vec<Option<Path>> = peer
                .paths
                .iter()
                .map(|path| match path.protocol {
                    Protocol::Tcp => {
                        let id = ids.get(&(path.local, path.remote)).or_else(|| by_remote.get(&path.remote));
                        Some(Path { local: *id?, ..*path })
                    }
                    Protocol::Udp => numbers.contains(&path.local).then_some(*path),
                    // Allocations of TURN servers end with their process.
                    Protocol::Relay => None,
                })
                .collect();
            let over_udp = places.iter().flatten().filter(|path| path.protocol == Protocol::Udp);
            elsewhere.extend(over_udp.map(|path| (*path, peer.transport, new)));
            owners.push((peer.transport, new));
            start.switch.peers.push((peer, places));
        }
        start.switch.tracks.extend(record.switch.tracks);
        start.switch.counters.extend(record.switch.counters);
    }
    share.workers.iter_mut().for_each(|start| start.complete(&share.bound));
    let peers = (0u8..).map(WorkerId).zip(&share.workers);
    let peers = peers.flat_map(|(worker, start)| start.switch.peers.iter().map(move |(peer, _)| (peer, worker)));
    let routes = Route::between(&peers.collect::<Vec<_>>());
    for (worker, start) in (0u8..).map(WorkerId).zip(&mut share.workers) {
        start.switch.routes.clone_from(&routes);
        start.switch.owners.clone_from(&owners);
        start.switch.elsewhere.extend(elsewhere.iter().filter(|(.., owner)| *owner != worker));
    }
    share
}

impl WorkerStart {
    /// A worker that nothing has come for, or not all, gets its own. Each number has something in its place, as numbers are
    /// given out in order.
    fn complete(&mut self, bound: &[(Kind, usize, SocketAddr)]) {
        let address = |kind: Kind, number: usize| {
            let of = bound.iter().find(|known| (known.0, known.1) == (kind, number));
            of.map_or(NOWHERE, |(.., address)| *address)
        };
        let count = |kind: Kind| bound.iter().filter(|known| known.0 == kind).map(|known| known.1 + 1).max();
        for number in 0..count(Kind::Udp).unwrap_or(0) {
            if self.sockets.iter().all(|(known, _)| *known != number) {
                let address = address(Kind::Udp, number);
                let socket = UdpSocket::bind(address);
                self.lacks_socket |= socket.is_err();
                let socket = socket.or_else(|_| UdpSocket::bind(NOWHERE));
                self.sockets.extend(socket.map(|(socket, _)| (number, socket)));
            }
        }
        for number in 0..count(Kind::Tcp).unwrap_or(0) {
            if self.listeners.iter().all(|(known, _)| *known != number) {
                let listen = |address| socket::listen_tcp(address, Sharing::Later);
                let listener = listen(address(Kind::Tcp, number)).or_else(|_| listen(NOWHERE));
                self.listeners.extend(listener.map(|listener| (number, listener)));
            }
        }
        self.sockets.sort_by_key(|(number, _)| *number);
        self.listeners.sort_by_key(|(number, _)| *number);
    }

    fn adopt(&mut self, socket: &SocketRecord, fd: OwnedFd) -> bool {
        match socket.kind {
            Kind::Udp => {
                let Ok(adopted) = UdpSocket::adopt(StdUdpSocket::from(fd)) else { return false };
                self.sockets.push((socket.number, adopted));
            }
            Kind::Tcp => {
                let listener = TcpListener::from(fd);
                if listener.set_nonblocking(true).is_err() {
                    return false;
                }
                self.listeners.push((socket.number, listener));
            }
        }
        true
    }
}

/// `torn`: what may be, if nobody has left the connection on purpose.
fn resume(fd: OwnedFd, record: ConnectionRecord, written: Instant, torn: Option<&Vec<Torn>>) -> Option<Connection> {
    let ConnectionRecord { inode, remote, is_known, read, unsent, .. } = record;
    if let Some(torn) = torn {
        let torn: Vec<Torn> = torn.iter().filter(|torn| torn.inode == inode).copied().collect();
        return Connection::inherited(TcpStream::from(fd), remote, &torn, written).ok();
    }
    let mut connection = Connection::new(TcpStream::from(fd), remote, read, written).ok()?;
    if is_known {
        connection.deadline = None;
    }
    connection.finish_first(unsent);
    Some(connection)
}
