use super::send::run_length;
use super::*;
use std::time::{Duration, Instant};

fn pair() -> (UdpSocket, std::net::UdpSocket) {
    let (socket, _) = UdpSocket::bind("127.0.0.1:0".parse().expect("address")).expect("bound");
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    peer.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    (socket, peer)
}

#[test]
fn runs_of_equal_datagrams_arrive_as_single_ones_in_order() {
    let (mut socket, peer) = pair();
    let to = peer.local_addr().expect("bound");
    let payloads: Vec<Vec<u8>> = (0..50u8).map(|at| vec![at; if at % 9 == 8 { 100 } else { 1200 }]).collect();
    let datagrams: Vec<_> = payloads.iter().map(|bytes| Datagram { to, bytes }).collect();
    let stats = socket.send(&datagrams, &mut SendScratch::new());
    assert_eq!(stats, SendStats { sent: 50, dropped: 0 });
    let mut buffer = [0; 2000];
    for expected in &payloads {
        let (len, _) = peer.recv_from(&mut buffer).expect("arrived");
        assert_eq!(&buffer[..len], &expected[..]);
    }
}

#[test]
fn a_batch_is_received_with_its_senders() {
    let (socket, peer) = pair();
    let to = socket.local_addr().expect("bound");
    for at in 0..10u8 {
        peer.send_to(&[at; 30], to).expect("sent");
    }
    let mut batch = RecvBatch::new();
    assert_eq!(socket.receive(&mut batch).expect("received"), 10);
    let (bytes, from) = batch.datagram(9).expect("whole");
    assert_eq!((bytes.to_vec(), from), (vec![9; 30], peer.local_addr().expect("bound")));
    assert_eq!(socket.receive(&mut batch).expect("empty"), 0);
}

#[test]
fn a_datagram_that_nobody_can_send_is_counted() {
    let (mut socket, peer) = pair();
    let to = peer.local_addr().expect("bound");
    let long = vec![0; 70_000];
    let datagrams = [Datagram { to, bytes: &long }, Datagram { to, bytes: b"short" }];
    assert_eq!(socket.send(&datagrams, &mut SendScratch::new()), SendStats { sent: 1, dropped: 1 });
}

#[test]
fn runs_end_where_address_or_length_changes() {
    let (one, two) = ("127.0.0.1:1".parse().expect("address"), "127.0.0.1:2".parse().expect("address"));
    let d = |to, len: usize| Datagram { to, bytes: &[0; 2000][..len] };
    let run_of = |datagrams: &[Datagram<'_>]| run_length(0, datagrams.len(), |at| datagrams[at]);
    assert_eq!(run_of(&[d(one, 9), d(one, 9), d(one, 5), d(one, 5)]), 3, "a shorter one ends the run");
    assert_eq!(run_of(&[d(one, 9), d(two, 9)]), 1);
    assert_eq!(run_of(&[d(one, 9), d(one, 10)]), 1);
    assert_eq!(run_of(&vec![d(one, 1900); 100]), 34, "64 KiB");
    assert_eq!(run_of(&vec![d(one, 9); 100]), MAX_SEGMENTS);
}

/// In a network namespace of its own, in which the way to one address of either family carries 1200 bytes.
fn behind_a_narrow_way(test: impl FnOnce(SocketAddr, SocketAddr) + Send + 'static) {
    let narrow = std::thread::spawn(move || {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            return eprintln!("not tested: this needs root");
        }
        for command in [
            "link set lo up",
            "addr add 10.9.9.9/32 dev lo",
            "addr add fd00:9::9/128 dev lo nodad",
            "route change local 10.9.9.9 dev lo table local mtu 1200",
            "-6 route del local fd00:9::9 dev lo table local",
            "-6 route add local fd00:9::9 dev lo table local mtu 1280",
        ] {
            let run = || std::process::Command::new("ip").args(command.split(' ')).status().expect("ip runs").success();
            // Routes come some time after their addresses.
            let deadline = Instant::now() + Duration::from_secs(5);
            while !run() {
                assert!(Instant::now() < deadline, "ip {command}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let narrow = |address: &str| format!("{address}:5000").parse().expect("an address");
        test(narrow("10.9.9.9"), narrow("[fd00:9::9]"));
    });
    narrow.join().expect("the test passes");
}

#[test]
fn a_destination_behind_a_narrow_way_gets_every_datagram_and_costs_others_nothing() {
    behind_a_narrow_way(|narrow_v4, narrow_v6| {
        for (narrow, wide) in [(narrow_v4, "127.0.0.1:0"), (narrow_v6, "[::1]:0")] {
            let any = SocketAddr::new(if narrow.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() }, 0);
            let (mut socket, _) = UdpSocket::bind(any).expect("bound");
            let narrow = std::net::UdpSocket::bind(narrow).expect("bound");
            let wide = std::net::UdpSocket::bind(wide).expect("bound");
            let payloads: Vec<Vec<u8>> = (0..20).map(|at| vec![at; 1300]).collect();
            let mut scratch = SendScratch::new();
            for _ in 0..3 {
                let to = [&narrow, &wide, &narrow].map(|socket| socket.local_addr().expect("bound"));
                let datagrams: Vec<_> =
                    to.iter().flat_map(|to| payloads.iter().map(|bytes| Datagram { to: *to, bytes })).collect();
                assert_eq!(socket.send(&datagrams, &mut scratch), SendStats { sent: 60, dropped: 0 });
                for (receiver, times) in [(&narrow, 2), (&wide, 1)] {
                    receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
                    let mut buffer = [0; 2000];
                    for expected in std::iter::repeat_n(&payloads, times).flatten() {
                        let (len, _) = receiver.recv_from(&mut buffer).expect("arrived, cut and put together again");
                        assert_eq!(&buffer[..len], &expected[..]);
                    }
                }
            }
            assert!(socket.segmentation, "others still get runs");
            assert_eq!(socket.singly.iter().copied().collect::<Vec<_>>(), [narrow.local_addr().expect("bound")]);
        }
    });
}

#[test]
fn a_device_without_checksums_is_told_from_one_tunnel_by_the_number_of_destinations() {
    let (mut socket, _) = pair();
    let error = io::Error::from_raw_os_error(libc::EIO);
    let to = |port| Some(SocketAddr::from(([192, 0, 2, 1], port)));
    for port in 1..MAX_WITHOUT_OFFLOAD as u16 {
        assert!(socket.refuses_run(&error, to(port)));
        assert!(socket.segmentation);
    }
    assert!(socket.refuses_run(&error, to(99)));
    assert!(!socket.segmentation);
    let (mut socket, _) = pair();
    let narrow = io::Error::from_raw_os_error(libc::EMSGSIZE);
    for port in 0..3 * MAX_SINGLY as u16 {
        assert!(socket.refuses_run(&narrow, to(port)));
    }
    assert!(socket.segmentation && socket.singly.len() <= MAX_SINGLY);
}

#[test]
fn the_first_socket_at_an_address_has_it_alone_and_shares_it_with_later_ones() {
    let any = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (first, _) = UdpSocket::bind_as(any("127.0.0.1:0"), Sharing::First).expect("free");
    let taken = first.local_addr().expect("bound");
    let wildcard = any(&format!("0.0.0.0:{}", taken.port()));
    for address in [taken, wildcard] {
        let refused = UdpSocket::bind_as(address, Sharing::First).map(|_| ());
        assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse), "{address}");
    }
    UdpSocket::bind_as(taken, Sharing::Later).expect("shared");

    let first = listen_tcp(any("127.0.0.1:0"), Sharing::First).expect("free");
    let taken = first.local_addr().expect("bound");
    let refused = listen_tcp(taken, Sharing::First).map(|_| ());
    assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse));
    let second = listen_tcp(taken, Sharing::Later).expect("shared");
    // Closed connections of before do not stand in the way of the next start.
    let client = std::net::TcpStream::connect(taken).expect("connected");
    drop((first, second, client));
    listen_tcp(taken, Sharing::First).expect("free again");
}

#[test]
fn addresses_of_one_plane_that_cover_each_other_are_not_strangers() {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let sharing = |of: &str, earlier: &[&str]| {
        Sharing::of(true, &address(of), earlier.iter().map(|earlier| Ok(address(earlier))))
    };
    assert_eq!(sharing("10.0.0.1:8443", &["10.0.0.2:8443", "[::]:8443", "0.0.0.0:9"]), Sharing::First);
    assert_eq!(sharing("10.0.0.1:8443", &["0.0.0.0:8443"]), Sharing::Later);
    assert_eq!(sharing("0.0.0.0:8443", &["10.0.0.1:8443"]), Sharing::Later);
    assert_eq!(Sharing::of(false, &address("10.0.0.1:8443"), std::iter::empty()), Sharing::Later);
}
