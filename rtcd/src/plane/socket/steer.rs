//! Which of the sockets that share an address gets what a peer sends: a program in the kernel (SO_ATTACH_REUSEPORT_CBPF, since
//! Linux 4.5, no privilege), asked for every datagram. It knows the peers that the kernel's hash of the addresses brings to
//! another socket than the one whose worker has them; all others go where the hash says.
use super::bind::set_option;
use libc::{BPF_ABS, BPF_ALU, BPF_H, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_LD, BPF_LSH, BPF_MISC, BPF_RET, BPF_TAX};
use libc::{BPF_MAXINSNS, BPF_W, BPF_X, BPF_XOR, SKF_NET_OFF, sock_filter, sock_fprog};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// The option's number (asm-generic/socket.h); libc knows it for Android only.
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;
/// No socket: the kernel goes by its hash.
const BY_HASH: u32 = u32::MAX;
/// Peers that are looked for one after the other, where halving has led.
const LEAF: usize = 16;
/// Peers that a program has room for: two instructions each, three for every leaf, and those that read the address.
const MAX_STEERED: usize = (BPF_MAXINSNS as usize - 32) / (2 * LEAF + 3) * LEAF;

/// What a peer is known by in a program; two that share it share a socket, and one of them is handed over by its worker.
fn key(remote: &SocketAddr) -> u32 {
    let address = match remote.ip() {
        IpAddr::V4(ip) => u32::from(ip),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            (0..4).fold(0, |key, word| key ^ (bits >> (32 * word)) as u32)
        }
    };
    address ^ u32::from(remote.port()) << 16
}

fn step(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// The next instruction if the key compares so, else the one after it.
fn unless_skip(comparison: u32, k: u32) -> sock_filter {
    sock_filter { jf: 1, ..step(BPF_JMP | comparison, k) }
}

/// A program for the sockets of one address.
pub struct SteeringProgram(Vec<sock_filter>);

impl SteeringProgram {
    /// For the sockets of an address of that family: who goes to which of them, in the order in which they were bound. Of more
    /// than [`MAX_STEERED`] the others go where the hash says.
    pub fn new(is_ipv4: bool, peers: &[(SocketAddr, u32)]) -> Self {
        let mut sockets: Vec<(u32, u32)> = peers.iter().map(|(remote, socket)| (key(remote), *socket)).collect();
        sockets.sort_unstable();
        sockets.dedup_by_key(|(key, _)| *key);
        sockets.truncate(MAX_STEERED);
        // The accumulator holds what is loaded, the index register what is folded so far. Headers with options are read
        // wrong, so that such a peer is not found.
        let load = |size: u32, offset: i32| step(BPF_LD | BPF_ABS | size, (SKF_NET_OFF + offset) as u32);
        let (words, port): (&[i32], i32) = if is_ipv4 { (&[12], 20) } else { (&[8, 12, 16, 20], 40) };
        let (fold, keep) = (step(BPF_ALU | BPF_XOR | BPF_X, 0), step(BPF_MISC | BPF_TAX, 0));
        let mut program = vec![load(BPF_H, port), step(BPF_ALU | BPF_LSH, 16), keep];
        for word in words {
            program.extend([load(BPF_W, *word), fold, keep]);
        }
        find(&mut program, &sockets);
        Self(program)
    }

    /// All sockets that share the address of this one go by it, instead of the one before.
    pub fn attach(&mut self, socket: &impl AsFd) -> io::Result<()> {
        let program = sock_fprog { len: self.0.len() as u16, filter: self.0.as_mut_ptr() };
        set_option(socket.as_fd(), libc::SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program)
    }
}

/// Looks for the key in the accumulator.
fn find(program: &mut Vec<sock_filter>, sockets: &[(u32, u32)]) {
    if sockets.len() <= LEAF {
        for (key, socket) in sockets {
            program.extend([unless_skip(BPF_JEQ, *key), step(BPF_RET, *socket)]);
        }
        return program.push(step(BPF_RET, BY_HASH));
    }
    let (low, high) = sockets.split_at((sockets.len() / 2).next_multiple_of(LEAF));
    // A comparison leads no further than 255 instructions.
    program.extend([unless_skip(BPF_JGE, high[0].0), step(BPF_JMP | BPF_JA, 0)]);
    let far = program.len();
    find(program, low);
    program[far - 1].k = (program.len() - far) as u32;
    find(program, high);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::socket::{RecvBatch, UdpSocket};
    use std::collections::HashMap;

    fn v4(at: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, (at >> 8) as u8, at as u8], 40_000 + at as u16))
    }

    #[test]
    fn the_kernel_takes_it_with_however_many() {
        let (first, _) = UdpSocket::bind(([127, 0, 0, 1], 0).into()).expect("bound");
        let (second, _) = UdpSocket::bind(first.local_addr().expect("bound")).expect("shared");
        for count in [0, 1, LEAF, LEAF + 1, 100, MAX_STEERED, MAX_STEERED + 1, 10_000] {
            let peers: Vec<_> = (0..count).map(|at| (v4(at), at as u32 % 2)).collect();
            for is_ipv4 in [true, false] {
                match SteeringProgram::new(is_ipv4, &peers).attach(&second) {
                    // A machine may have little room for options; that is looked at when the program is known to be right.
                    Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
                    attached => attached.unwrap_or_else(|error| panic!("{count}: {error}")),
                }
            }
        }
    }

    /// The program in the kernel: peers at `host` reach the socket that they are told to, and whoever is not named goes where
    /// he went before.
    fn are_led(host: &str) {
        let bind = |port: u16| UdpSocket::bind((host.parse::<IpAddr>().expect("an address"), port).into());
        let (first, _) = bind(0).expect("bound");
        let to = first.local_addr().expect("bound");
        let others = (0..2).map(|_| bind(to.port()).expect("shared").0);
        let sockets: Vec<UdpSocket> = std::iter::once(first).chain(others).collect();
        let peers: Vec<_> = (0..300).map(|_| std::net::UdpSocket::bind((host, 0)).expect("bound")).collect();
        let address = |peer: &std::net::UdpSocket| peer.local_addr().expect("bound");
        let arrivals = || {
            let mut found = HashMap::new();
            for peer in &peers {
                peer.send_to(b"x", to).expect("sent");
            }
            for (at, socket) in sockets.iter().enumerate() {
                let mut batch = RecvBatch::new();
                loop {
                    let count = socket.receive(&mut batch).expect("read");
                    found.extend((0..count).map(|of| (batch.datagram(of).expect("whole").1, at)));
                    if count == 0 {
                        break;
                    }
                }
            }
            assert_eq!(found.len(), peers.len(), "loopback loses nothing");
            found
        };
        let by_hash = arrivals();
        let is_named = |at: usize| !at.is_multiple_of(3);
        let wanted = |at: usize| at / 3 % 3;
        let named = (0..peers.len()).filter(|at| is_named(*at));
        let named: Vec<_> = named.map(|at| (address(&peers[at]), wanted(at) as u32)).collect();
        let mut keys: Vec<u32> = named.iter().map(|(peer, _)| key(peer)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), named.len(), "ports differ");
        SteeringProgram::new(to.is_ipv4(), &named)
            .attach(&bind(to.port()).expect("a fourth").0)
            .expect("attached by any of them");
        // The fourth is closed again: the order of the others is as it was.
        let led = arrivals();
        for (at, peer) in peers.iter().enumerate() {
            let expected = if is_named(at) { wanted(at) } else { by_hash[&address(peer)] };
            assert_eq!(led[&address(peer)], expected, "{at}");
        }
        SteeringProgram::new(to.is_ipv4(), &[]).attach(&sockets[1]).expect("attached");
        assert_eq!(arrivals(), by_hash, "nobody is named");
    }

    #[test]
    fn who_is_named_goes_to_his_socket_and_all_others_by_the_hash() {
        are_led("127.0.0.1");
        are_led("::1");
    }
}
