#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use crate::dtls::{Identity, Role};
use crate::ice::Credentials;
use crate::sfu::Meta;
use crate::sfu::balance::Balance;
use crate::sfu::command::{Claim, Command, Open, TrackId, WorkerId};
use crate::sfu::switch::{Class, Handoff, SLOT_SIZE, SwitchConfig};
use crate::stun::Request;

/// Keeps what is sent.
struct Road {
    slot: [u8; SLOT_SIZE],
    sent: Vec<(Path, Vec<u8>)>,
}

impl Sink for Road {
    fn slot(&mut self) -> &mut [u8; SLOT_SIZE] {
        &mut self.slot
    }
    fn commit(&mut self, path: Path, len: usize, _class: Class) {
        self.sent.push((path, self.slot[..len].to_vec()));
    }
    fn hand_over(&mut self, _worker: WorkerId, _handoff: Handoff) {}
    fn hand_over_datagram(&mut self, _worker: WorkerId, _path: Path, _bytes: &[u8]) {}
    fn hand_over_media(&mut self, _worker: WorkerId, _track: TrackId, _meta: &Meta, _payload: &[u8]) {}
    fn handed_over(&mut self) {}
    fn path_verified(&mut self, _path: Path) {}
    fn path_closed(&mut self, _path: Path) {}
    fn forwarded(&mut self, _track: TrackId) {}
}

struct World {
    switch: Switch,
    road: Road,
    now: Instant,
    claim: Arc<Claim>,
}

const PEER: TransportId = TransportId(7);
const PASSWORD: &str = "the password of the peer";

impl World {
    /// A transport that waits for its first check, on a worker with sockets at these addresses.
    fn new(sockets: &[&str]) -> Self {
        let identity = Identity::generate().expect("a certificate");
        let fingerprint = identity.fingerprint();
        let now = Instant::now();
        let mut switch = Switch::new(
            SwitchConfig {
                worker: WorkerId(0),
                identity,
                nack_buffer: 0,
                reflex: |_, _| None,
                balance: Arc::new(Balance::new(1)),
            },
            now,
        );
        let socket = |(at, text): (usize, &&str)| LocalSocket { local: at as u32, address: address(text) };
        switch.set_local_sockets(sockets.iter().enumerate().map(socket).collect());
        let local = Credentials { ufrag: "ours".into(), password: "our password".into() };
        let remote_ufrag = "theirs".into();
        let open = Open { transport: PEER, local, remote_ufrag, fingerprint, role: Role::Server };
        let claim = Arc::new(Claim::default());
        let mut road = Road { slot: [0; SLOT_SIZE], sent: Vec::new() };
        switch.handle_command(now, Command::Open { open: Arc::new(open), claim: claim.clone() }, &mut road);
        Self { switch, road, now, claim }
    }

    fn candidates(&mut self, candidates: &[&str], opens: u8) {
        let remote = Credentials { ufrag: "theirs".into(), password: PASSWORD.into() };
        let candidates = candidates.iter().map(|text| address(text)).collect();
        let command = Command::Candidates { transport: PEER, remote, candidates, opens: WorkerId(opens) };
        self.switch.handle_command(self.now, command, &mut self.road);
        self.pass(Duration::ZERO);
    }

    /// Time passes; what was sent until its end.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.switch.handle_timeout(self.now, &mut self.road);
            match self.switch.next_timeout() {
                Some(next) if next <= end => self.now = next.max(self.now + Duration::from_millis(1)),
                _ => break,
            }
        }
        self.now = end;
    }

    fn sent(&mut self) -> Vec<(u32, SocketAddr)> {
        self.road.sent.drain(..).map(|(path, _)| (path.local, path.remote)).collect()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn checks_with_the_peers_credentials_leave_from_each_socket_that_reaches_it() {
    let mut world = World::new(&["127.0.0.1:8443", "10.0.0.1:8443", "10.0.1.1:8443", "[2001:db8::1]:8443"]);
    world.candidates(&["198.51.100.1:5000", "[2001:db8::9]:5001"], 0);
    let key = IntegrityKey::new(PASSWORD);
    for (_, bytes) in &world.road.sent {
        let request = Request::parse(bytes).expect("well formed");
        assert_eq!(request.ufrags(), Some(("theirs", "ours")));
        assert!(request.verify(&key) && request.controlled && !request.use_candidate);
    }
    let (v4, v6) = (address("198.51.100.1:5000"), address("[2001:db8::9]:5001"));
    assert_eq!(world.sent(), [(1, v4), (2, v4), (3, v6)]);
    world.candidates(&["198.51.100.1:5000"], 1);
    assert_eq!(world.sent(), [], "another worker's");
}

#[test]
fn they_are_few_and_end_with_the_first_check_of_the_peer() {
    let mut world = World::new(&["10.0.0.1:8443"]);
    world.candidates(&["198.51.100.1:5000"], 0);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.sent().len(), usize::from(ROUNDS));
    world.candidates(&["198.51.100.1:5000", "198.51.100.1:5001"], 0);
    world.pass(Duration::from_millis(500));
    assert_eq!(world.sent(), [(0, address("198.51.100.1:5001")); 2], "only the new one");
    world.claim.claim(WorkerId(1));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.sent(), []);
    world.candidates(&["198.51.100.1:5002"], 0);
    assert_eq!(world.sent(), [], "it has been heard");
}

#[test]
fn a_peer_that_names_others_without_end_makes_us_send_them_little() {
    let mut world = World::new(&["10.0.0.1:8443", "10.0.0.2:8443", "10.0.0.3:8443"]);
    for port in 1..1000 {
        let candidate = format!("198.51.100.1:{port}");
        world.candidates(&[&candidate], 0);
        world.pass(Duration::from_millis(50));
    }
    assert_eq!(world.sent().len(), MAX_CHECKS as usize);
    assert!(world.switch.counters().opening_limited > 0, "what is left out is counted");
}
