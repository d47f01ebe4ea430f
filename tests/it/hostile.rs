//! Attacks on a running daemon while a call goes on beside them: it lives, keeps its memory and drops nothing.
use anyhow::Result;
use rtcd_media::fuzzing::forge::{self, Data, FIRST_TSN};
use rtcd_media::rtp::SeqNo;
use rtcd_media::srtp::MAX_OVERHEAD;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::hostile::records::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, fragment, record};
use rtcd_tests::hostile::{Attacker, Channel, SILENCE};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig, Streaming, Track};
use rtcd_tests::plugin::Plugin;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// What the daemon may have grown by after an attack, in bytes: what one session may keep at most, two descriptions of
/// the largest size, and what the allocator keeps of both. Without their bounds the floods here cost 7 MiB and more.
const MEMORY: f64 = 4.0 * 1024.0 * 1024.0;
/// What all attacks of a test may make the daemon log, in bytes.
const LOG: usize = 256 * 1024;
/// Frames that the call beside must carry after an attack: half a second of voice.
const FRAMES: u64 = 25;

/// A daemon with a call of two who speak to each other.
struct World {
    daemon: Daemon,
    node: Mattermost,
    peers: [Peer; 2],
    _voices: [Streaming; 2],
    memory: f64,
}

impl World {
    async fn start() -> Result<Self> {
        let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO"));
        let node = Mattermost::connect(&Plugin::new(daemon.api_addr(), "mattermost")).await?;
        let media = (Ipv4Addr::LOCALHOST, daemon.media_port()).into();
        let ann = Peer::join(&node, PeerConfig::new("call", "ann"), media).await?;
        let bob = Peer::join(&node, PeerConfig::new("call", "bob"), media).await?;
        ann.add_voice();
        bob.add_voice();
        let voices = [ann.stream("voice", b"voice of ann"), bob.stream("voice", b"voice of bob")];
        ann.wait_track("voice", "bob").await?;
        bob.wait_track("voice", "ann").await?;
        let mut world = Self { daemon, node, peers: [ann, bob], _voices: voices, memory: 0.0 };
        // An honest session first, so that what any session needs once is not taken for growth.
        let mut channel = Channel::open(world.attacker("honest").await?)?;
        assert!(channel.ping()?, "an honest session works");
        world.node.leave("honest");
        wait_for("the honest session's end", || channel.attacker.is_closed());
        world.memory = world.resident();
        Ok(world)
    }

    fn media(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.daemon.media_port()).into()
    }
    async fn attacker(&self, name: &str) -> Result<Attacker> {
        Attacker::join(&self.node, name, self.media()).await
    }
    async fn channel(&self, name: &str) -> Result<Channel> {
        Channel::open(self.attacker(name).await?)
    }
    fn resident(&self) -> f64 {
        self.daemon.metric("rtcd_process_resident_memory_bytes ")
    }
    fn voices(&self) -> [Track; 2] {
        let [ann, bob] = &self.peers;
        [ann.track("voice", "bob"), bob.track("voice", "ann")].map(|track| track.expect("the call goes on"))
    }

    /// The same process, little more memory, and the call has lost nothing.
    async fn is_unharmed(&mut self, attack: &str) -> Result<()> {
        assert!(self.daemon.is_running(), "{attack}: the daemon has ended");
        let before = self.voices();
        for (peer, before) in self.peers.iter().zip(&before) {
            let more = |track: &Track| track.kind == "voice" && track.frames >= before.frames + FRAMES;
            peer.wait("more voice", |state| state.tracks.values().any(more)).await?;
        }
        for track in self.voices() {
            assert_eq!(track.gaps, 0, "{attack}: {} is heard with gaps", track.sender);
        }
        assert!(self.peers.iter().all(|peer| peer.state().closed == 0 && peer.state().error.is_none()));
        let log = self.daemon.log().len();
        assert!(log < LOG, "{attack}: {} KiB of log", log / 1024);
        let grown = self.resident() - self.memory;
        println!("{attack}: {:.0} KiB more, {} KiB of log", grown / 1024.0, log / 1024);
        assert!(grown < MEMORY, "{attack}: {:.0} KiB more", grown / 1024.0);
        assert!(self.daemon.metrics().contains("\nrtcd_plane_panics_total 0\n"), "{attack}: somebody panicked");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_handshake_fragments_end_at_most_the_attackers_session() -> Result<()> {
    let mut world = World::start().await?;
    let mut early = world.attacker("early").await?;
    early.check()?;
    early.begin_handshake()?;
    early.flood((0..30_000).map(|at| fragment(at + 1, 11, 1, 16_000, at % 16_000, b"x")))?;
    world.is_unharmed("fragments before the handshake").await?;
    wait_for("the session's end", || early.is_closed());

    let mut late = world.channel("late").await?;
    late.attacker.flood((0..30_000).map(|at| fragment(at + 1000, 11, 9, 16_000, at % 16_000, b"x")))?;
    world.is_unharmed("fragments after the handshake").await?;
    assert!(late.ping()?, "plaintext after the handshake is nobody's: anybody could have sent it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_out_of_turn_end_at_most_the_attackers_session() -> Result<()> {
    let mut world = World::start().await?;
    type Make = fn(u32) -> Vec<u8>;
    let attacks: [(&str, Make); 5] = [
        ("empty messages with far numbers", |at| fragment(at + 1, 14, (at as u16).wrapping_mul(7) | 0x100, 0, 0, &[])),
        ("data before Finished", |at| record(APPLICATION_DATA, 1, at, &[7; 1000])),
        ("a Finished that is not", |at| record(HANDSHAKE, 1, at, &[7; 40])),
        ("a change of ciphers too early", |at| record(CHANGE_CIPHER_SPEC, 0, at + 1, &[1])),
        ("lengths that lie", |at| fragment(at + 1, 11, 1, 0x00ff_ffff, 0x00ff_fff0, &[7; 100])),
    ];
    for (name, make) in attacks {
        let mut attacker = world.attacker(name).await?;
        attacker.check()?;
        attacker.begin_handshake()?;
        attacker.flood((0..5_000).map(make))?;
        world.is_unharmed(name).await?;
        // It gets no further, whether or not it was thrown out: its client knows nothing of the flood.
        world.node.leave(name);
        wait_for("the session's end", || attacker.is_closed());

        let mut established = world.channel(&format!("{name}, late")).await?;
        established.attacker.flood((0..5_000).map(make))?;
        world.is_unharmed(&format!("{name}, late")).await?;
        assert!(established.ping()?, "{name}: records that fail to decrypt are dropped");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_lie_are_dropped_and_the_association_lives_on() -> Result<()> {
    let mut world = World::start().await?;
    let mut channel = world.channel("liar").await?;
    let far = (FIRST_TSN.wrapping_add(1 << 31)).to_be_bytes();
    let reset = |tsn: u32| [&[0, 13, 0, 18, 0, 0, 3, 232, 0, 0, 0, 0][..], &tsn.to_be_bytes(), &[0, 1]].concat();
    let lies = [
        ("FORWARD-TSN 2^31 ahead", forge::chunk(192, 0, &far)),
        ("FORWARD-TSN just below", forge::chunk(192, 0, &(FIRST_TSN + 0x7fff_fff0).to_be_bytes())),
        ("ABORT with a wrong cause length", vec![6, 0, 0, 8, 0, 12, 0, 200]),
        ("ABORT with a cause of nothing", vec![6, 0, 0, 8, 0, 12, 0, 0]),
        ("ERROR with a wrong cause length", vec![9, 0, 0, 8, 0, 12, 0, 200]),
        ("a chunk longer than its packet", vec![10, 0, 0x10, 0]),
        ("a chunk shorter than its header", vec![0, 3, 0, 3]),
        ("DATA without data", vec![0, 3, 0, 16, 0, 0, 3, 232, 0, 1, 0, 9, 0, 0, 0, 53]),
        ("HEARTBEAT without a parameter", vec![4, 0, 0, 4]),
        ("INIT without its fields", vec![1, 0, 0, 4]),
        ("SACK that announces 65,535 gaps", forge::chunk(3, 0, &[0, 0, 0, 0, 0, 2, 0, 0, 255, 255, 0, 0])),
        ("RE-CONFIG with a parameter of nothing", vec![130, 0, 0, 8, 0, 13, 0, 0]),
        ("RE-CONFIG with a future TSN", forge::chunk(130, 0, &reset(FIRST_TSN + 5_000))),
        ("a stream far too high", Data::whole(FIRST_TSN + 9, 40_000, 0).chunk(b"x")),
        ("a TSN far ahead", Data::whole(FIRST_TSN + 100_000, 1, 9).chunk(b"x")),
        ("a second INIT", forge::SctpClient::init_chunk()),
    ];
    for (name, chunk) in lies {
        channel.send(&chunk)?;
        assert!(channel.ping()?, "{name}: the channel still works");
    }
    channel.attacker.send_data(&forge::SctpClient::init())?;
    assert!(channel.ping()?, "a second INIT without a tag makes no second association");
    world.is_unharmed("chunks that lie").await
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_chunks_cost_no_memory() -> Result<()> {
    let mut world = World::start().await?;
    let (tsn, ssn) = (FIRST_TSN + 1, 1u16);
    // The guard takes 200 packets a second; as many chunks as fit make the most of each.
    let many = |each: &dyn Fn(u32) -> Vec<u8>, at: u32| (0..40).flat_map(|n| each(at * 40 + n)).collect::<Vec<u8>>();
    type Make<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;
    let offer = rtcd::signal::data_channel::sdp(br#"{"type":"offer","sdp":"v=0"}"#);
    let open = [&[3, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0][..], b"calls-dc"].concat();
    let in_order = |at: u32, message: &[u8]| {
        let count = 1000 / (message.len() as u32 + 19);
        let ppi = if message[0] == 3 && message[1] == 0 { 50 } else { 53 };
        let each = |n: u32| Data { ppi, ..Data::whole(tsn + n, 1, ssn.wrapping_add(n as u16)) }.chunk(message);
        (at * count..(at + 1) * count).flat_map(each).collect::<Vec<u8>>()
    };
    let middle = |at: u32| Data { flags: if at == 0 { 2 } else { 0 }, ..Data::whole(tsn + at, 1, ssn) };
    let attacks: Vec<(&str, Make<'_>)> = vec![
        ("a message without an end", Box::new(move |at| middle(at).chunk(&[7; 1100]))),
        (
            "messages behind a missing one",
            Box::new(move |at| many(&|at| Data::whole(tsn + at, 1, ssn.wrapping_add((at + 1) as u16)).chunk(b"x"), at)),
        ),
        (
            "holes between numbers",
            Box::new(move |at| {
                many(&|at| Data::whole(tsn + 2 * at + 1, 1, ssn.wrapping_add((at + 1) as u16)).chunk(b"x"), at)
            }),
        ),
        (
            "fragments that never meet",
            Box::new(move |at| many(&|at| Data { flags: 4, ..Data::whole(tsn + 2 * at + 1, 1, ssn) }.chunk(b"x"), at)),
        ),
        ("pings without end", Box::new(move |at| in_order(at, &[1]))),
        ("openings without end", Box::new(move |at| in_order(at, &open))),
        ("requests for the lock", Box::new(move |at| in_order(at, &[7]))),
        ("offers that are none", Box::new(move |at| in_order(at, &offer))),
        ("all streams", Box::new(move |at| many(&|at| Data::whole(tsn + at, at as u16, 1).chunk(b"x"), at))),
        (
            "resets of the future",
            Box::new(move |at| {
                let reset = [
                    &[0, 13, 0, 18][..],
                    &(1000 + at).to_be_bytes(),
                    &[0; 4],
                    &(tsn + 60_000 + at).to_be_bytes(),
                    &[0, 1],
                ];
                forge::chunk(130, 0, &reset.concat())
            }),
        ),
        ("channels without end", Box::new(move |at| forge::open_channel(tsn + at, (at % 16) as u16, "calls-dc"))),
        ("INITs", Box::new(|_| forge::SctpClient::init_chunk())),
        ("heartbeats", Box::new(|_| forge::chunk(4, 0, &[&[0, 1, 4, 0][..], &[7; 1020]].concat()))),
    ];
    for (name, make) in attacks {
        let mut channel = world.channel(name).await?;
        channel.flood((0..400).map(&make), true)?;
        channel.flood((400..6_000).map(&make), false)?;
        world.is_unharmed(name).await?;
        world.node.leave(name);
        wait_for("the session's end", || channel.attacker.is_closed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_answer() -> Result<()> {
    let mut world = World::start().await?;
    let mut attacker = world.attacker("stranger").await?;
    let hello = attacker.client_hello()?;
    assert!(!attacker.is_answered_elsewhere(&hello)?, "DTLS before any check");
    attacker.send(&hello)?;
    assert_eq!(attacker.receive(SILENCE)?, None, "DTLS before ICE");
    let wrong = attacker.check_with(Some("not the password"));
    attacker.send(&wrong)?;
    assert_eq!(attacker.receive(SILENCE)?, None, "a check with a wrong password");
    attacker.send(&hello)?;
    assert_eq!(attacker.receive(SILENCE)?, None, "DTLS after a check with a wrong password");
    attacker.flood((0..5_000).map(|_| &hello))?;
    assert_eq!(attacker.receive(SILENCE)?, None, "nor to the five thousandth");

    attacker.check()?;
    assert!(!attacker.is_answered_elsewhere(&hello)?, "an address proves nothing for another");
    let mut nobody = attacker.check_with(None);
    nobody[24] ^= 1;
    assert!(!attacker.is_answered_elsewhere(&nobody)?, "a check for nobody");
    attacker.handshake()?;
    world.is_unharmed("strangers").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_other_than_announced_ends_the_session() -> Result<()> {
    let mut world = World::start().await?;
    let mut attacker = Attacker::join_lying(&world.node, "impostor", world.media()).await?;
    attacker.check()?;
    // The client may believe that the handshake is complete: its last flight is what betrays it.
    let _ = attacker.handshake();
    wait_for("the session's end", || attacker.is_closed());
    world.daemon.assert_logs("fingerprint_mismatch");
    world.is_unharmed("a wrong certificate").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_and_bombs_on_the_data_channel_do_no_harm() -> Result<()> {
    let mut world = World::start().await?;
    let mut channel = world.channel("bomber").await?;
    let bomb = rtcd::signal::data_channel::sdp(&vec![b' '; 1024 * 1024]);
    let huge = rtcd::signal::data_channel::sdp(&vec![b' '; 64 * 1024 * 1024]);
    let half = rtcd::signal::data_channel::sdp(br#"{"type":"offer","sdp":"v=0"}"#);
    let lock = vec![7];
    let rubbish = [&[0xc1; 30][..], &[3, 0xc6, 255, 255, 255, 255], &[0xdf, 255, 255, 255, 255], &[77], &[]];
    for message in [bomb, huge, half.clone(), half[..9].to_vec(), lock].iter().map(Vec::as_slice).chain(rubbish) {
        let times = if message.len() > 10_000 { 1 } else { 20 };
        for _ in 0..times {
            send_long(&mut channel, message)?;
        }
        assert!(channel.ping()?, "{:02x?}: the channel still works", &message[..message.len().min(8)]);
    }
    world.is_unharmed("rubbish on the data channel").await
}

/// A message, in fragments if it must be, with what fits into the longest.
fn send_long(channel: &mut Channel, message: &[u8]) -> Result<()> {
    let (first, ssn) = channel.next;
    let message = if message.is_empty() { &[0] } else { message };
    let parts: Vec<&[u8]> = message.chunks(1100).take(59).collect();
    let last = parts.len() - 1;
    let chunks = parts.iter().enumerate().map(|(at, part)| {
        let flags = if at == 0 { 2 } else { 0 } | u8::from(at == last);
        Data { flags, ..Data::whole(first + at as u32, 1, ssn) }.chunk(part)
    });
    let chunks: Vec<_> = chunks.collect();
    channel.next = (first + parts.len() as u32, ssn.wrapping_add(1));
    channel.flood(chunks, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn media_rubbish_and_replays_are_dropped() -> Result<()> {
    let mut world = World::start().await?;
    let mut channel = world.channel("noise").await?;
    let mut protector = channel.attacker.protector()?;
    let mut protect = |seq: u16, ssrc: u32| {
        let mut packet = vec![0x80, 111, 0, 0, 0, 0, 3, 192, 0, 0, 0, 0];
        packet[2..4].copy_from_slice(&seq.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        packet.extend([7; 100]);
        let plain = packet.len();
        packet.resize(plain + MAX_OVERHEAD, 0);
        let len = protector.protect_rtp(&mut packet, plain, SeqNo(seq.into())).expect("it fits");
        packet.truncate(len);
        packet
    };
    let valid = protect(7, 7);
    channel.attacker.flood((0..5_000).map(|_| &valid))?;
    world.is_unharmed("one packet 5,000 times").await?;
    channel.attacker.flood((0..5_000u32).map(|ssrc| protect(1, ssrc)))?;
    world.is_unharmed("5,000 streams that nobody announced").await?;
    let rubbish = |at: u32| {
        [&[0x80, if at.is_multiple_of(2) { 111 } else { 200 }][..], &at.to_be_bytes(), &[at as u8; 200]].concat()
    };
    channel.attacker.flood((0..5_000).map(rubbish))?;
    channel.attacker.flood((0..5_000u32).map(|at| [&[0x80, 201][..], &at.to_le_bytes()].concat()))?;
    world.is_unharmed("rubbish").await?;
    assert!(channel.ping()?, "the session that sent it lives on, too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_connections_of_one_session_are_bounded() -> Result<()> {
    let mut world = World::start().await?;
    let mut channel = world.channel("roamer").await?;
    // Authentic checks from ever new addresses: any worker may hear them.
    let check = channel.attacker.check_with(None);
    for address in 0..60_000u32 {
        let [_, a, b, c] = address.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 100 + a, b, c), 0))?;
        socket.send_to(&check, world.media())?;
        if address % 32 == 31 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    world.is_unharmed("60,000 addresses").await?;
    let open_files = || world.daemon.metric("rtcd_process_open_fds");
    let before = open_files();
    let mut framed = (check.len() as u16).to_be_bytes().to_vec();
    framed.extend(&check);
    let mut connections = Vec::new();
    for _ in 0..300 {
        let mut connection = TcpStream::connect(world.media())?;
        connection.write_all(&framed)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Once it is answered, it has been counted.
        connection.read_exact(&mut [0; 22])?;
        connections.push(connection);
    }
    assert!(before > 0.0 && open_files() <= before + 20.0, "{} files, then {}", before, open_files());
    world.is_unharmed("300 connections").await?;
    channel.attacker.check()?;
    assert!(channel.ping()?, "the session lives on where it checks now");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_ice_without_end_cost_no_memory() -> Result<()> {
    let mut world = World::start().await?;
    let mut channel = world.channel("restless").await?;
    channel.attacker.restart_ice(&world.node, 20_000).await?;
    world.is_unharmed("20,000 restarts").await?;
    channel.attacker.check()?;
    assert!(channel.ping()?, "the last restart is honoured");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_claims_the_address_of_another_does_not_keep_it() -> Result<()> {
    let mut world = World::start().await?;
    let mut victim = world.channel("victim").await?;
    let thief = world.attacker("thief").await?;
    for _ in 0..5 {
        // As if the thief could send from the victim's address: an authentic check for the thief's transport.
        victim.attacker.ask(&thief.check_with(None))?;
        victim.attacker.check()?;
        assert!(victim.ping()?, "the victim's next check takes its address back");
    }
    world.is_unharmed("a claimed address").await
}
