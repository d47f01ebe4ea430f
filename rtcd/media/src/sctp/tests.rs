#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
use super::*;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier as Ppi,
};
use std::net::SocketAddr;
use std::sync::Arc;

/// The client's crate keys associations by address.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5000);

/// Our side, and a client of an independent crate that has opened `calls-dc`.
struct Pair {
    server: Sctp,
    client: Association,
    client_endpoint: Endpoint,
    client_handle: AssociationHandle,
    now: Instant,
    /// What the client has sent.
    sent: Vec<Bytes>,
    events: Vec<SctpEvent>,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let mut client_endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let (client_handle, client) = client_endpoint.connect(ClientConfig::new(), PEER).expect("connects");
        let server = Sctp::new(now);
        let mut pair =
            Self { server, client, client_endpoint, client_handle, now, sent: Vec::new(), events: Vec::new() };
        pair.pump();
        let mut open = vec![3, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
        open.extend(b"calls-dc");
        pair.client.open_stream(1, Ppi::Dcep).expect("opens").write_with_ppi(&open, Ppi::Dcep).expect("writes");
        pair.pump();
        assert_eq!(pair.events.pop(), Some(SctpEvent::ChannelOpen { id: ChannelId(1), label: "calls-dc".into() }));
        pair
    }

    /// Carries packets to and fro until both sides are silent.
    fn pump(&mut self) {
        for _ in 0..200 {
            let mut moved = false;
            while let Some(transmit) = self.client.poll_transmit(self.now) {
                let Payload::RawEncode(packets) = transmit.payload else { continue };
                for packet in packets {
                    moved = true;
                    self.sent.push(packet.clone());
                    self.server.handle_packet(self.now, packet.to_vec());
                }
            }
            while self.client.poll().is_some() {}
            while let Some(event) = self.server.poll_event() {
                self.events.push(event);
            }
            while let Some(packet) = self.server.poll_packet() {
                moved = true;
                if let Some((_, DatagramEvent::AssociationEvent(event))) =
                    self.client_endpoint.handle(self.now, PEER, None, None, packet)
                {
                    self.client.handle_event(event);
                }
            }
            while let Some(event) = self.client.poll_endpoint_event() {
                self.client_endpoint.handle_event(self.client_handle, event);
            }
            if !moved {
                // Delayed acknowledgements are due after 200 ms.
                self.now += Duration::from_millis(250);
                self.client.handle_timeout(self.now);
                self.server.handle_timeout(self.now);
                if self.server.packets.is_empty() {
                    return;
                }
            }
        }
    }

    fn write(&mut self, data: &[u8], ppi: Ppi) {
        self.client.stream(1).expect("open").write_with_ppi(data, ppi).expect("writes");
        self.pump();
    }

    /// A packet of the client's with the given chunks and a right checksum.
    fn forge(&mut self, chunks: &[u8]) {
        let mut packet = self.sent.last().expect("something was sent")[..8].to_vec();
        packet.extend([0; 4]);
        packet.extend(chunks);
        self.server.handle_packet(self.now, packet);
    }

    fn still_works(&mut self) {
        self.events.clear();
        self.now += Duration::from_secs(5);
        self.write(b"still here", Ppi::Binary);
        assert_eq!(self.events.len(), 1, "the association carries messages: {:?}", self.events);
    }
}

#[test]
fn messages_of_all_kinds_arrive_as_they_were_sent() {
    let mut pair = Pair::new();
    pair.write(b"ping", Ppi::String);
    pair.write(&[0], Ppi::BinaryEmpty);
    pair.write(&vec![7; 20_000], Ppi::Binary);
    let id = ChannelId(1);
    assert_eq!(pair.events[0], SctpEvent::Message { id, text: true, data: b"ping".to_vec() });
    assert_eq!(pair.events[1], SctpEvent::Message { id, text: false, data: Vec::new() });
    assert_eq!(pair.events[2], SctpEvent::Message { id, text: false, data: vec![7; 20_000] });
}

#[test]
fn our_messages_reach_the_peer() {
    let mut pair = Pair::new();
    pair.server.send(pair.now, ChannelId(1), true, b"pong").expect("sent");
    pair.pump();
    // The first thing to read is the acknowledgement of the channel.
    let mut stream = pair.client.stream(1).expect("open");
    assert_eq!(stream.read_sctp().expect("readable").expect("the ACK").ppi, Ppi::Dcep);
    let chunks = stream.read_sctp().expect("readable").expect("a message");
    let mut data = vec![0; chunks.len()];
    chunks.read(&mut data).expect("fits");
    assert_eq!((chunks.ppi, &data[..]), (Ppi::String, &b"pong"[..]));
}

#[test]
fn a_channel_that_is_not_open_cannot_be_written_to() {
    let mut pair = Pair::new();
    assert_eq!(pair.server.send(pair.now, ChannelId(9), true, b"x"), Err(SendError::NotOpen));
    assert_eq!(pair.server.send(pair.now, ChannelId(1), false, &vec![0; MAX_MESSAGE + 1]), Err(SendError::TooLong));
}

#[test]
fn a_peer_that_does_not_read_is_noticed() {
    let mut pair = Pair::new();
    let verdict = (0..100).find_map(|_| pair.server.send(pair.now, ChannelId(1), false, &[0; 60_000]).err());
    assert_eq!(verdict, Some(SendError::Stalled));
}

#[test]
fn a_peer_that_does_not_read_is_noticed_however_small_the_messages_are() {
    let mut pair = Pair::new();
    let sent = (0..10_000).find(|_| pair.server.send(pair.now, ChannelId(1), false, &[2]).is_err());
    assert!(sent.is_some_and(|sent| (500..2_000).contains(&sent)), "{sent:?}");
    pair.pump();
    for _ in 0..10_000 {
        assert_eq!(pair.server.send(pair.now, ChannelId(1), false, &[2]), Ok(()), "a peer that reads gets all");
        pair.pump();
    }
}

#[test]
fn a_zero_checksum_is_accepted_and_a_wrong_one_is_not() {
    let mut pair = Pair::new();
    let stream = |pair: &mut Pair| {
        pair.client.stream(1).expect("open").write_with_ppi(b"zero", Ppi::Binary).expect("writes");
        let Some(Payload::RawEncode(packets)) = pair.client.poll_transmit(pair.now).map(|t| t.payload) else {
            panic!("a packet")
        };
        packets[0].to_vec()
    };
    let mut packet = stream(&mut pair);
    packet[8..12].fill(0xee);
    pair.server.handle_packet(pair.now, packet.clone());
    assert_eq!(pair.server.poll_event(), None);
    packet[8..12].fill(0);
    pair.server.handle_packet(pair.now, packet);
    assert!(matches!(pair.server.poll_event(), Some(SctpEvent::Message { .. })));
}

#[test]
fn a_forward_tsn_far_ahead_and_chunks_that_lie_do_no_harm() {
    let mut pair = Pair::new();
    let before = Instant::now();
    pair.forge(&[192, 0, 0, 8, 0x7f, 0xff, 0xff, 0xf0]);
    pair.forge(&[6, 0, 0, 8, 0, 12, 0, 200]);
    pair.forge(&[9, 0, 0, 8, 0, 12, 0, 200]);
    pair.forge(&[10, 0, 0x10, 0]);
    pair.forge(&[4, 0, 0, 4]);
    pair.forge(&[130, 0, 0, 4]);
    pair.forge(&[0, 3, 0, 3]);
    assert!(before.elapsed() < Duration::from_secs(2), "nothing loops over the number space");
    pair.still_works();
}

#[test]
fn an_init_that_comes_late_once_more_leaves_the_association_unharmed() {
    let mut pair = Pair::new();
    let init = pair.sent.first().expect("INIT was sent").to_vec();
    assert_eq!(init[12], 1, "it is INIT");
    pair.server.handle_packet(pair.now, init);
    assert_eq!(pair.server.poll_event(), None);
    pair.still_works();
}

#[test]
fn a_flood_of_packets_is_cut_and_the_association_lives_on() {
    let mut pair = Pair::new();
    for at in 0..5_000u32 {
        let mut chunk = vec![0, 3, 0, 20];
        chunk.extend(at.wrapping_mul(7919).to_be_bytes());
        chunk.extend([0, 1]);
        chunk.extend((at as u16).to_be_bytes());
        chunk.extend([0, 0, 0, 53, 1, 2, 3, 4]);
        pair.forge(&chunk);
    }
    pair.still_works();
}

#[test]
fn a_channel_that_is_opened_ahead_of_a_lost_cookie_ack_is_acknowledged() {
    let mut now = Instant::now();
    let (mut client, mut server) = (Sctp::new(now), Sctp::browser(now));
    client.connect(now);
    let mut is_lost = false;
    let mut answers = 0;
    for _ in 0..400 {
        while let Some(packet) = client.poll_packet() {
            // A DATA chunk (RFC 9260, section 3.3.1): we have nothing to say but DATA_CHANNEL_ACK.
            answers += usize::from(packet[12] == 0);
            server.handle_packet(now, packet.to_vec());
        }
        // COOKIE ACK (section 3.3.12).
        if !is_lost && server.packets.iter().any(|packet| packet[12] == 11) {
            is_lost = true;
            server.packets.clear();
            assert!(server.open(now, "calls-dc"));
        }
        while let Some(packet) = server.poll_packet() {
            client.handle_packet(now, packet.to_vec());
        }
        now += Duration::from_millis(10);
        client.handle_timeout(now);
        server.handle_timeout(now);
    }
    let expected = SctpEvent::ChannelOpen { id: ChannelId(1), label: "calls-dc".into() };
    assert_eq!((is_lost, client.poll_event(), client.poll_event()), (true, Some(expected), None));
    assert!(answers > 0, "its peer waits for an answer still");
}
