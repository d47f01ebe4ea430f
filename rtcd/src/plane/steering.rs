//! Peers whose packets the kernel brings to another worker than theirs, as all workers know them: it is told of each once, and
//! need not be corrected at each packet. What it does not know, or gets wrong, the workers hand over.
use super::socket::{SteeringProgram, UdpSocket};
use rtcd_media::demux::{Path, Protocol};
use rtcd_media::footprint::flat;
use rtcd_media::sfu::command::WorkerId;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Peers that a program is tried with at least, where the kernel has little room for one (net.core.optmem_max).
const FEW: usize = 16;

/// Who belongs to which worker. The sockets of an address are in the order of the workers: so they are bound.
type Peers = Vec<(SocketAddr, u32)>;

/// What the kernel is told.
#[derive(Debug)]
pub struct Steering(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// What each worker has heard that is not its own, by the numbers of sockets.
    heard: Vec<Vec<(u32, SocketAddr, WorkerId)>>,
    /// What the kernel goes by at each of them.
    told: BTreeMap<u32, Peers>,
    /// So many peers it has room for.
    room: usize,
    has_complained: bool,
}

impl Steering {
    /// Of so many workers.
    pub fn new(workers: usize) -> Self {
        let heard = vec![Vec::new(); workers];
        Self(Mutex::new(Known { heard, told: BTreeMap::new(), room: usize::MAX, has_complained: false }))
    }

    /// All that a worker hears and others have, by its `sockets`. No more than a few times a second: the kernel translates a
    /// program meanwhile, and who comes at the same time waits.
    pub fn publish(&self, worker: WorkerId, foreign: impl Iterator<Item = (Path, WorkerId)>, sockets: &[UdpSocket]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over_udp = foreign.filter(|(path, _)| path.protocol == Protocol::Udp);
        known.heard[usize::from(worker.0)] = over_udp.map(|(path, of)| (path.local, path.remote, of)).collect();
        let mut wanted: BTreeMap<u32, Peers> = known.told.keys().map(|local| (*local, Vec::new())).collect();
        for (local, remote, of) in known.heard.iter().flatten() {
            wanted.entry(*local).or_default().push((*remote, of.0.into()));
        }
        for (local, mut peers) in wanted {
            peers.sort_unstable();
            peers.dedup();
            if known.told.get(&local) != Some(&peers)
                && let Some(socket) = sockets.get(local as usize)
            {
                known.tell(socket, &peers);
                known.told.insert(local, peers);
            }
        }
    }

    /// Peers that the kernel was told of, and the bytes that this takes.
    pub fn held(&self) -> (usize, usize) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard: usize = known.heard.iter().map(flat).sum();
        (known.told.values().map(Vec::len).sum(), heard + known.told.values().map(flat).sum::<usize>())
    }
}

impl Known {
    fn tell(&mut self, socket: &UdpSocket, peers: &Peers) {
        let told = socket.local_addr().and_then(|address| {
            loop {
                let some = &peers[..peers.len().min(self.room)];
                match SteeringProgram::new(address.is_ipv4(), some).attach(socket) {
                    Err(error) if error.kind() == io::ErrorKind::OutOfMemory && some.len() > FEW => {
                        self.room = some.len() / 2;
                    }
                    done => return done,
                }
            }
        });
        if let Err(error) = told
            && !std::mem::replace(&mut self.has_complained, true)
        {
            tracing::info!(%error, "the kernel does not bring packets to their workers: they are handed over");
        }
    }
}
