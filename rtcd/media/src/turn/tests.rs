#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
//! Against an independent server in virtual time.
use super::*;
use turn_server_proto::api::{TurnServerApi as _, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::types::TransportType;
use turn_server_proto::types::prelude::DelayedTransmitBuild as _;

const CLIENT: &str = "10.0.0.2:40000";
const SERVER: &str = "10.0.0.1:3478";
const RELAYED: &str = "203.0.113.1:50000";
const PEER: &str = "192.0.2.9:6000";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn account(password: &str) -> Account {
    Account { username: "rtcd".into(), password: password.into() }
}

fn server() -> TurnServer {
    let mut server = TurnServer::new(TransportType::Udp, at(SERVER), "example.com".into());
    server.add_user("rtcd".into(), "secret".into());
    server
}

/// A relay, its server, and what has come of both.
struct World {
    relay: Relay,
    server: TurnServer,
    start: Instant,
    now: Instant,
    events: Vec<RelayEvent>,
    /// What the server has sent to peers, from the relayed address.
    to_peers: Vec<(SocketAddr, Vec<u8>)>,
    /// What has come from peers.
    from_peers: Vec<(SocketAddr, Vec<u8>)>,
    requests: usize,
    /// The way to the server is cut.
    cut: bool,
}

impl World {
    fn new(password: &str) -> Self {
        let now = Instant::now();
        let relay = Relay::new(account(password), false, false, now);
        let (events, to_peers, from_peers) = Default::default();
        let server = server();
        Self { relay, server, start: now, now, events, to_peers, from_peers, requests: 0, cut: false }
    }

    fn server_time(&self) -> turn_server_proto::stun::Instant {
        turn_server_proto::stun::Instant::from_nanos((self.now - self.start).as_nanos() as i64 + 1)
    }

    fn send_to_server(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.cut {
            return;
        }
        let now = self.server_time();
        let transmit = turn_server_proto::api::Transmit::new(bytes.to_vec(), TransportType::Udp, from, to);
        if let Some(out) = self.server.recv(transmit, now) {
            let (from, to) = (out.from, out.to);
            self.come_from_server(from, to, &out.data.build());
        }
    }

    fn come_from_server(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if from == at(RELAYED) {
            return self.to_peers.push((to, bytes.to_vec()));
        }
        assert_eq!(to, at(CLIENT));
        if let Some((peer, data)) = self.relay.handle_datagram(self.now, bytes) {
            self.from_peers.push((peer, bytes[data].to_vec()));
        }
    }

    /// Lets both say what they have to say.
    fn settle(&mut self) {
        for _ in 0..200 {
            let before = (self.requests, self.events.len());
            while let Some(bytes) = self.relay.poll_datagram() {
                self.requests += 1;
                self.send_to_server(at(CLIENT), at(SERVER), &bytes);
            }
            let now = self.server_time();
            if let TurnServerPollRet::AllocateSocket {
                transport,
                listen_addr,
                client_addr,
                allocation_transport,
                family,
            } = self.server.poll(now)
            {
                let socket = Ok(at(RELAYED));
                self.server.allocated_socket(
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                    socket,
                    now,
                );
            }
            while let Some(out) = self.server.poll_transmit(now) {
                self.come_from_server(out.from, out.to, &out.data);
            }
            self.events.extend(std::iter::from_fn(|| self.relay.poll_event()));
            if before == (self.requests, self.events.len()) {
                return;
            }
        }
        panic!("it never settles");
    }

    /// Time passes, in steps of what the relay wants.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.relay.next_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now + Duration::from_millis(1));
            self.relay.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn allocated(password: &str) -> Self {
        let mut world = Self::new(password);
        world.settle();
        assert!(
            matches!(world.events[..], [RelayEvent::Allocated { relayed, round_trip: Some(_) }] if relayed == at(RELAYED)),
            "{:?}",
            world.events
        );
        world.events.clear();
        world
    }

    fn send(&mut self, peer: &str, text: &[u8]) -> usize {
        let mut slot = [0; 1500];
        slot[..text.len()].copy_from_slice(text);
        let len = self.relay.send(self.now, at(peer), true, &mut slot, text.len()).expect("it is allocated");
        self.send_to_server(at(CLIENT), at(SERVER), &slot[..len]);
        self.settle();
        len - text.len()
    }

    fn receive(&mut self, peer: &str, text: &[u8]) {
        self.send_to_server(at(peer), at(RELAYED), text);
        self.settle();
    }
}

#[test]
fn packets_pass_both_ways_first_in_indications_then_in_a_channel() {
    let mut world = World::allocated("secret");
    world.receive(PEER, b"not permitted");
    assert_eq!(world.from_peers, []);
    world.relay.want(world.now, at(PEER).ip());
    world.settle();
    world.receive(PEER, b"hello");
    assert_eq!(world.from_peers, [(at(PEER), b"hello".to_vec())]);
    assert_eq!(world.send(PEER, b"first!!!"), 36, "a Send indication");
    assert_eq!(world.send(PEER, b"second"), 4, "a channel");
    world.receive(PEER, b"again");
    assert_eq!(world.from_peers[1], (at(PEER), b"again".to_vec()));
    assert_eq!(world.to_peers, [(at(PEER), b"first!!!".to_vec()), (at(PEER), b"second".to_vec())]);
    assert_eq!(world.relay.peers(), (1, 1));
}

#[test]
fn a_call_goes_on_for_an_hour_over_stale_nonces_and_renewed_permissions() {
    let mut world = World::allocated("secret");
    world.server.set_nonce_expiry_duration(Duration::from_secs(600));
    world.relay.want(world.now, at(PEER).ip());
    world.settle();
    for minute in 0..60 {
        world.pass(Duration::from_secs(60));
        world.send(PEER, b"speaks");
        world.receive(PEER, b"answers");
        assert_eq!((world.to_peers.len(), world.from_peers.len()), (minute + 1, minute + 1), "minute {minute}");
    }
    assert_eq!((&world.events[..], world.relay.peers()), (&[][..], (1, 1)));
}

#[test]
fn many_peers_are_asked_for_in_few_requests() {
    let mut world = World::allocated("secret");
    let before = world.requests;
    for last in 0..200 {
        world.relay.want(world.now, IpAddr::from([192, 0, 2, last]));
    }
    world.settle();
    assert_eq!(world.relay.peers().0, 200);
    assert!(world.requests - before <= 20, "{}", world.requests - before);
}

#[test]
fn requests_that_are_under_way_together_outlive_a_nonce_that_goes_stale() {
    let mut world = World::allocated("secret");
    world.server.set_nonce_expiry_duration(Duration::from_secs(30));
    for last in 0..200 {
        world.relay.want(world.now, IpAddr::from([192, 0, 2, last]));
    }
    world.settle();
    world.pass(Duration::from_secs(900));
    assert_eq!((&world.events[..], world.relay.peers().0), (&[][..], 200));
}

#[test]
fn wrong_credentials_are_told_at_once() {
    let mut world = World::new("wrong");
    world.settle();
    assert_eq!(world.events, [RelayEvent::Ended(Ending::Unauthorized)]);
    assert_eq!(world.relay.next_timeout(), None);
    assert!(!format!("{:?}", world.relay).contains("wrong"), "the password shows");
}

#[test]
fn a_server_that_is_restarted_while_somebody_speaks_is_noticed_within_seconds() {
    let mut world = World::allocated("secret");
    world.relay.want(world.now, at(PEER).ip());
    world.settle();
    world.send(PEER, b"speaks");
    world.server = server();
    let restarted = world.now;
    while world.events.is_empty() {
        world.pass(Duration::from_millis(100));
        world.send_if_alive();
        assert!(world.now - restarted < Duration::from_secs(4), "not noticed");
    }
    assert_eq!(world.events, [RelayEvent::Ended(Ending::Forgotten)]);
}

#[test]
fn a_server_that_is_silent_is_given_up_and_one_that_is_not_is_left_in_peace() {
    let mut world = World::allocated("secret");
    let before = world.requests;
    world.pass(Duration::from_secs(600));
    assert!((30..=45).contains(&(world.requests - before)), "{} in ten minutes", world.requests - before);
    world.cut = true;
    world.pass(Duration::from_secs(30));
    assert_eq!(world.events, [RelayEvent::Ended(Ending::Silence)]);
}

#[test]
fn an_allocation_is_given_back() {
    let mut world = World::allocated("secret");
    let goodbye = world.relay.delete().expect("there is something to give back");
    world.send_to_server(at(CLIENT), at(SERVER), &goodbye);
    world.receive(PEER, b"nobody is there");
    let mut slot = [0; 100];
    assert_eq!(world.relay.send(world.now, at(PEER), true, &mut slot, 10), None);
}

#[test]
fn errors_of_a_server_are_told_in_words() {
    for (code, expected) in [(486, "quota"), (403, "forbids allocations"), (437, "restarted"), (300, "name that one")] {
        let text = Ending::of(code, b"").to_string();
        assert!(text.contains(expected), "{text}");
    }
    let odd = Ending::of(499, b"odd \x1b[31m");
    assert_eq!(odd.to_string(), "the server refuses with 499 odd [31m");
}

impl World {
    fn send_if_alive(&mut self) {
        let mut slot = [0; 100];
        if let Some(len) = self.relay.send(self.now, at(PEER), true, &mut slot, 10) {
            self.send_to_server(at(CLIENT), at(SERVER), &slot[..len]);
        }
    }
}
