//! The plane as a whole, over loopback.
use super::sockets::{Kind, Sockets};
use super::*;
use rtcd_media::dtls::Role;
use rtcd_media::ice::Credentials;
use rtcd_media::sfu::command::{Command as SwitchCommand, Open, TransportId};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

/// A plane and what it listens on.
struct Listening {
    plane: Plane,
    sockets: Sockets,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
}

impl Listening {
    fn stop(self) {
        self.plane.stop();
    }
    fn handle(&self) -> PlaneHandle {
        self.plane.handle()
    }
}

fn start(udp: &[SocketAddr], tcp: &[SocketAddr], workers: usize) -> Result<Listening, PlaneError> {
    let config = PlaneConfig::new(workers, 0);
    let (plane, _) = Plane::start(&config, Identity::generate().expect("a certificate"))?;
    let mut sockets = Sockets::new(plane.handle());
    let mut bind = |kind, addresses: &[SocketAddr]| {
        addresses.iter().map(|address| sockets.bind(kind, *address, Instant::now())).collect::<Result<Vec<_>, _>>()
    };
    let bound = bind(Kind::Udp, udp).and_then(|udp| Ok((udp, bind(Kind::Tcp, tcp)?)));
    match bound {
        Ok((udp, tcp)) => Ok(Listening { plane, sockets, udp, tcp }),
        Err(error) => {
            plane.stop();
            Err(error)
        }
    }
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn counter(plane: &Listening, name: &str) -> u64 {
    plane.handle().counters().iter().find(|counter| counter.0 == name).expect("a counter").2
}

/// A check as a browser sends it.
fn check(local: &Credentials) -> Vec<u8> {
    use aws_lc_rs::hmac;
    let username = format!("{}:peer", local.ufrag);
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([7; 12]);
    bytes.extend([0, 6, 0, username.len() as u8]);
    bytes.extend(username.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let len = (bytes.len() - 20 + 24) as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, local.password.as_bytes());
    let tag = hmac::sign(&key, &bytes);
    bytes.extend([0, 8, 0, 20]);
    bytes.extend(tag.as_ref());
    bytes[2..4].copy_from_slice(&(len + 8).to_be_bytes());
    let mut crc = !0u32;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
        }
    }
    bytes.extend([0x80, 0x28, 0, 4]);
    bytes.extend((!crc ^ 0x5354_554e).to_be_bytes());
    bytes
}

fn announce(plane: &Listening, local: Credentials) {
    announce_as(&plane.handle(), TransportId(1), local);
}

fn announce_as(plane: &PlaneHandle, transport: TransportId, local: Credentials) {
    let open = Arc::new(Open {
        transport,
        local,
        remote_ufrag: "peer".into(),
        fingerprint: Identity::generate().expect("a certificate").fingerprint(),
        role: Role::Server,
    });
    let claim = Arc::default();
    for worker in plane.workers() {
        plane.send(worker, SwitchCommand::Open { open: open.clone(), claim: Arc::clone(&claim) }).expect("queued");
    }
}

#[test]
fn a_check_that_comes_before_its_transport_is_answered_when_that_comes() {
    let plane = start(&[loopback()], &[], 2).expect("started");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let local = Credentials::generate();
    socket.send_to(&check(&local), plane.udp[0]).expect("sent");
    while counter(&plane, "received") == 0 {
        std::thread::yield_now();
    }
    announce(&plane, local);
    let mut answer = [0; 200];
    let (len, _) = socket.recv_from(&mut answer).expect("answered without another check");
    assert_eq!((&answer[..2], len > 20), (&[1u8, 1][..], true));
    assert_eq!(counter(&plane, "stun_refused"), 0);
    // One that nobody ever announces is refused in the end, in silence.
    socket.send_to(&check(&Credentials::generate()), plane.udp[0]).expect("sent");
    let deadline = Instant::now() + Duration::from_secs(5);
    while counter(&plane, "stun_refused") == 0 {
        assert!(Instant::now() < deadline, "it waits for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
    plane.stop();
}

#[test]
fn an_address_that_is_bound_later_serves_sessions_of_every_worker() {
    let mut plane = start(&[loopback()], &[], 4).expect("started");
    let local = Credentials::generate();
    announce(&plane, local.clone());
    let later = SocketAddr::from(([127, 0, 0, 2], 0));
    let later = plane.sockets.bind(Kind::Udp, later, Instant::now()).expect("bound");
    // By its port each comes to another worker's socket, and the session is on one of them.
    for _ in 0..16 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
        let mut answer = [0; 200];
        let answered = || {
            socket.send_to(&check(&local), later).expect("sent");
            socket.recv_from(&mut answer).is_ok_and(|(_, from)| from == later)
        };
        assert!(std::iter::repeat_with(answered).take(20).any(|answered| answered));
    }
    assert_eq!(counter(&plane, "stun_refused"), 0);
    assert!(counter(&plane, "misrouted") > 0, "and that is counted");
    plane.stop();
}

#[test]
fn packets_come_to_their_worker_once_the_kernel_knows_whose_they_are() {
    for host in ["127.0.0.1", "::1"] {
        let here = SocketAddr::new(host.parse().expect("an address"), 0);
        let plane = start(&[here], &[], 3).expect("started");
        let mut ways = Vec::new();
        for number in 0..6 {
            let local = Credentials::generate();
            announce_as(&plane.handle(), TransportId(number), local.clone());
            for _ in 0..4 {
                let socket = UdpSocket::bind(here).expect("bound");
                socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
                ways.push((socket, check(&local)));
            }
        }
        // Whether somebody has come to a wrong worker.
        let strays = || {
            let before = counter(&plane, "misrouted");
            for (socket, check) in &ways {
                socket.send_to(check, plane.udp[0]).expect("sent");
                socket.recv_from(&mut [0; 200]).expect("answered");
            }
            counter(&plane, "misrouted") > before
        };
        assert!(
            std::iter::repeat_with(strays).take(10).any(|strays| strays),
            "24 ways lead to three sockets by chance"
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::iter::repeat_with(strays).take(10).any(|strays| strays) {
            assert!(Instant::now() < deadline, "{host}: the kernel does not know them");
        }
        plane.stop();
    }
}

#[test]
fn newcomers_that_the_kernel_brings_to_one_worker_are_spread() {
    let config = PlaneConfig::new(2, 0);
    let (plane, mut events) = Plane::start(&config, Identity::generate().expect("a certificate")).expect("started");
    let mut sockets = Sockets::new(plane.handle());
    let address = sockets.bind(Kind::Udp, loopback(), Instant::now()).expect("bound");
    // All from one port, which the kernel gives to one worker.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let mut answer = [0; 200];
    for number in 0..40 {
        let local = Credentials::generate();
        announce_as(&plane.handle(), TransportId(number), local.clone());
        socket.send_to(&check(&local), address).expect("sent");
        let (_, from) = socket.recv_from(&mut answer).expect("answered by whoever has it");
        assert_eq!(from, address, "and from where it was asked");
    }
    plane.stop();
    let mut sessions = [0; 2];
    while let Some(event) = events.blocking_recv() {
        if let Event::Claimed { worker, .. } = event {
            sessions[usize::from(worker.0)] += 1;
        }
    }
    assert!(sessions.iter().sum::<u32>() == 40 && sessions[0].abs_diff(sessions[1]) <= 6, "{sessions:?}");
}

/// A question for one's own address in a frame, padded to be as long as the answer.
fn framed_question() -> Vec<u8> {
    let mut bytes = vec![0, 36, 0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([9; 12]);
    bytes.extend([0x80, 0x22, 0, 12]);
    bytes.extend([b' '; 12]);
    bytes
}

#[test]
fn silent_connections_make_room_for_a_newcomer() {
    let plane = start(&[], &[loopback()], 1).expect("started");
    let silent: Vec<TcpStream> =
        (0..strangers::MAX_STRANGERS + 200).map(|_| TcpStream::connect(plane.tcp[0]).expect("connected")).collect();
    let mut newcomer = TcpStream::connect(plane.tcp[0]).expect("connected");
    newcomer.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    newcomer.write_all(&framed_question()).expect("sent");
    let mut answer = [0; 4];
    newcomer.read_exact(&mut answer).expect("answered");
    assert_eq!(answer[2..], [1, 1]);
    assert_eq!(counter(&plane, "tcp_evicted"), 201, "as many as there was no room for, the oldest");
    let mut oldest = &silent[0];
    oldest.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    assert_eq!(oldest.read(&mut answer).expect("closed"), 0);
    plane.stop();
}

#[test]
fn the_port_of_another_plane_is_refused_by_name_and_leaves_it_alone() {
    let plane = start(&[loopback()], &[loopback()], 2).expect("started, and two workers share the port");
    let me = format!("(pid {})", std::process::id());
    let wildcard = |address: SocketAddr| SocketAddr::from(([0, 0, 0, 0], address.port()));
    for address in [plane.udp[0], wildcard(plane.udp[0])] {
        let Err(error) = start(&[address], &[], 2) else { panic!("started at {address}") };
        let text = error.to_string();
        assert!(text.contains(&format!("port {} is in use by", address.port())) && text.contains(&me), "{text}");
    }
    for address in [plane.tcp[0], wildcard(plane.tcp[0])] {
        let Err(PlaneError::Taken { protocol: "TCP", .. }) = start(&[], &[address], 1) else {
            panic!("started at {address}")
        };
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    for _ in 0..20 {
        socket.send_to(&framed_question()[2..], plane.udp[0]).expect("sent");
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while counter(&plane, "received") < 20 {
        assert!(Instant::now() < deadline, "somebody takes our packets");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (udp, tcp) = (plane.udp[0], plane.tcp[0]);
    plane.stop();
    start(&[udp], &[tcp], 2).expect("the next start has the port").stop();
}

#[test]
fn a_worker_that_hits_one_bug_after_the_other_begins_again_with_whom_it_waited_for() {
    let config = PlaneConfig::new(1, 0);
    let (plane, mut events) = Plane::start(&config, Identity::generate().expect("a certificate")).expect("started");
    let mut sockets = Sockets::new(plane.handle());
    let udp = vec![sockets.bind(Kind::Udp, loopback(), Instant::now()).expect("bound")];
    let plane = Listening { plane, sockets, udp, tcp: Vec::new() };
    let local = Credentials::generate();
    announce(&plane, local.clone());
    for _ in 0..10 {
        plane.handle().send(WorkerId(0), Command::HitBug).expect("queued");
    }
    let begun = Event::BegunAgain { worker: WorkerId(0), transports: Vec::new() };
    assert_eq!(events.blocking_recv(), Some(begun));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    socket.send_to(&check(&local), plane.udp[0]).expect("sent");
    let mut answer = [0; 200];
    let (len, _) = socket.recv_from(&mut answer).expect("it works again");
    assert_eq!((&answer[..2], len > 20), (&[1u8, 1][..], true));
    plane.stop();
}
