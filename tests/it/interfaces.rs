//! Addresses of the machine that come and go while the daemon runs, names with several, and what is said of all that.
use anyhow::Result;
use nix::sys::signal::Signal;
use rtcd_media::stun::{TransactionId, client};
use rtcd_tests::daemon::{DaemonConfig, wait_for};
use rtcd_tests::namespace::{
    ADDRESS, Hosts, ip, ipv6_setting, with_a_cable_to_another_network, with_a_network_of_its_own,
};
use rtcd_tests::peer::{Peer, PeerConfig, State};
use rtcd_tests::world::{VOICE, World};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LATER: &str = "10.77.0.9";
const IPV6: &str = "2001:db8:77::1";

/// Media on all addresses of the machine.
fn everywhere() -> DaemonConfig {
    DaemonConfig::new()
        .env("RTCD_RTC_ICEADDRESSUDP", "")
        .env("RTCD_RTC_ICEADDRESSTCP", "")
        .env("RTCD_RTC_ENABLEIPV6", "true")
}

/// Runs a test on this thread, whose network it is.
fn here(test: impl AsyncFnOnce() -> Result<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test()).unwrap_or_else(|error| panic!("{error:#}"));
}

/// A question for one's own address, as long as its answer.
fn question() -> (TransactionId, Vec<u8>) {
    let transaction: TransactionId = rand::random();
    let request = client::padded_request(&transaction).to_vec();
    (transaction, request)
}

fn answers_udp(to: SocketAddr) -> bool {
    let own: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
    let (transaction, request) = question();
    let mut answer = [0; 500];
    let answered = socket.send_to(&request, to).and_then(|_| socket.recv_from(&mut answer));
    answered.is_ok_and(|(len, from)| from == to && client::mapped_address(&transaction, &answer[..len]).is_some())
}

fn answers_tcp(to: SocketAddr) -> bool {
    let exchange = || {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let (transaction, request) = question();
        stream.write_all(&[&(request.len() as u16).to_be_bytes()[..], &request].concat())?;
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(client::mapped_address(&transaction, &answer).is_some())
    };
    exchange().unwrap_or_default()
}

/// How often the daemon has said that.
fn said(world: &World, text: &str) -> usize {
    world.daemon.log().matches(text).count()
}

/// The addresses in the description that a newcomer gets for UDP.
async fn told(world: &World, newcomer: &str) -> Result<Vec<IpAddr>> {
    let ann = world.join(newcomer).await?;
    let answer = ann.state().last_exchange.1.clone();
    let port = world.daemon.media_port().to_string();
    let candidate = |text: &str| {
        let words: Vec<_> = text.split(' ').collect();
        let udp = words.len() > 5 && words[2] == "udp" && words[5] == port;
        udp.then(|| words[4].parse().expect("an address"))
    };
    let found = answer.split("candidate:").skip(1).filter_map(candidate).collect();
    ann.leave().await?;
    Ok(found)
}

fn has(told: &[IpAddr], address: &str) -> bool {
    told.contains(&address.parse().expect("an address"))
}

#[test]
fn an_address_that_comes_later_is_bound_and_told_and_one_that_goes_is_told_no_more() {
    with_a_network_of_its_own(|| {
        here(async || {
            let world = World::start_with(everywhere()).await?;
            let later = SocketAddr::new(LATER.parse()?, world.daemon.media_port());
            assert!(!has(&told(&world, "ann").await?, LATER));
            assert!(!answers_udp(later) && !answers_tcp(later));
            let before = fs::read_dir(format!("/proc/{}/fd", world.daemon.pid()))?.count();
            ip(&format!("addr add {LATER}/24 dev inside"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 1);
            assert!(answers_tcp(later));
            // Each question may come to another worker: all of them have it.
            for _ in 0..20 {
                assert!(answers_udp(later));
            }
            let bodies = told(&world, "bob").await?;
            assert!(has(&bodies, LATER) && has(&bodies, &ADDRESS.to_string()), "{bodies:?}");
            // A call over the new address alone.
            let cleo = PeerConfig { udp: false, tcp: true, ..PeerConfig::new("call", "cleo") };
            let cleo = Peer::join(&world.node, cleo, later).await?;

            ip(&format!("addr del {LATER}/24 dev inside"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 2);
            let left = told(&world, "dan").await?;
            assert!(!has(&left, LATER) && has(&left, &ADDRESS.to_string()), "{left:?}");
            drop(cleo);

            let grown = || fs::read_dir(format!("/proc/{}/fd", world.daemon.pid())).map(Iterator::count);
            for round in 2..6 {
                ip(&format!("addr add {LATER}/24 dev inside"));
                wait_for("the news", || said(&world, "newcomers are told other addresses") == 2 * round - 1);
                assert!(answers_udp(later) && answers_tcp(later));
                ip(&format!("addr del {LATER}/24 dev inside"));
                wait_for("the news", || said(&world, "newcomers are told other addresses") == 2 * round);
            }
            let sockets = 2 * std::thread::available_parallelism()?.get();
            wait_for("the same sockets each time", || grown().is_ok_and(|now| now <= before + sockets + 4));
            Ok(())
        });
    });
}

#[test]
fn a_call_goes_on_when_its_address_comes_back_and_what_is_not_asked_for_is_left_alone() {
    with_a_network_of_its_own(|| {
        here(async || {
            let config = DaemonConfig::new().env("RTCD_RTC_ICEADDRESSUDP", &ADDRESS.to_string());
            let world = World::start_with(config).await?;
            let port = world.daemon.media_port();
            let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
            ann.add_voice();
            let _voice = ann.stream("voice", VOICE);
            bob.wait_track("voice", "ann").await?;
            ip(&format!("addr add {LATER}/24 dev inside"));
            // A participant's own socket would fail.
            [&ann, &bob].into_iter().for_each(Peer::darken_udp);
            ip(&format!("addr del {ADDRESS}/24 dev inside"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 1);
            assert!(!answers_udp((LATER.parse::<IpAddr>()?, port).into()));
            ip(&format!("addr add {ADDRESS}/24 dev inside"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 2);
            assert!(answers_udp((ADDRESS, port).into()));
            let frames = |state: &State| state.tracks.values().map(|track| track.frames).sum::<u64>();
            let before = frames(&bob.state());
            [&ann, &bob].into_iter().for_each(Peer::mend_udp);
            bob.wait("ann's voice again", |state| frames(state) > before + 50).await?;
            assert!(!world.daemon.log().contains("session closed"), "{}", world.daemon.log());
            Ok(())
        });
    });
}

#[test]
fn an_address_whose_port_somebody_else_has_is_bound_when_it_is_free() {
    with_a_network_of_its_own(|| {
        here(async || {
            let world = World::start_with(everywhere()).await?;
            let later = SocketAddr::new(LATER.parse()?, world.daemon.media_port());
            world.daemon.signal(Signal::SIGSTOP);
            ip(&format!("addr add {LATER}/24 dev inside"));
            let other = UdpSocket::bind(later)?;
            world.daemon.signal(Signal::SIGCONT);
            wait_for("the complaint", || said(&world, &format!("cannot bind UDP {later}: port")) == 1);
            wait_for("TCP", || answers_tcp(later));
            drop(other);
            // The kernel has no news of ports.
            wait_for("UDP", || answers_udp(later));
            assert_eq!(said(&world, &format!("cannot bind UDP {later}")), 1);
            assert!(has(&told(&world, "ann").await?, LATER));
            Ok(())
        });
    });
}

/// Duplicate address detection takes a second for each question; how many are asked is a setting.
#[test]
fn an_ipv6_address_that_is_not_verified_yet_holds_nobody_up_and_is_bound_when_it_is() {
    for named in [false, true] {
        with_a_cable_to_another_network(|_| {
            ipv6_setting("inside.dad_transmits", "4");
            ip(&format!("-6 addr add {IPV6}/64 dev inside"));
            here(async || {
                let mut config = everywhere();
                if named {
                    config = config.env("RTCD_RTC_ICEADDRESSUDP", &format!("127.0.0.1,{IPV6}"));
                }
                let world = World::start_with(config).await?;
                let tentative = format!("{IPV6} is not used for media yet");
                assert_eq!(said(&world, &tentative), 1, "{}", world.daemon.log());
                let address = SocketAddr::new(IPV6.parse()?, world.daemon.media_port());
                wait_for("the news", || said(&world, "newcomers are told other addresses") == 1);
                assert!(answers_udp(address) && answers_tcp(address));
                assert!(has(&told(&world, "ann").await?, IPV6));
                assert_eq!(said(&world, &tentative), 1);
                Ok(())
            });
        });
    }
}

#[test]
fn an_ipv6_address_that_another_machine_has_holds_nobody_up_and_is_not_told() {
    with_a_cable_to_another_network(|far| {
        far.run(|| ip(&format!("-6 addr add {IPV6}/64 dev outside nodad")));
        ip(&format!("-6 addr add {IPV6}/64 dev inside"));
        wait_for("the collision", || {
            fs::read_to_string("/proc/thread-self/net/if_inet6").is_ok_and(|all| all.contains(" c8 "))
        });
        here(async || {
            let world = World::start_with(everywhere()).await?;
            assert_eq!(said(&world, "is in use by another machine"), 1, "{}", world.daemon.log());
            assert!(!has(&told(&world, "ann").await?, IPV6));
            // The other machine gives it up, and it is checked again.
            far.run(|| ip(&format!("-6 addr del {IPV6}/64 dev outside")));
            ip(&format!("-6 addr del {IPV6}/64 dev inside"));
            ip(&format!("-6 addr add {IPV6}/64 dev inside"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 1);
            assert!(has(&told(&world, "bob").await?, IPV6));
            Ok(())
        });
    });
}

#[test]
fn temporary_deprecated_and_link_local_addresses_are_not_told() {
    with_a_cable_to_another_network(|_| {
        ipv6_setting("inside.use_tempaddr", "2");
        ip(&format!("-6 addr add {IPV6}/64 dev inside nodad mngtmpaddr"));
        ip("-6 addr add 2001:db8:78::1/64 dev inside nodad preferred_lft 0");
        let temporary = || {
            let all = fs::read_to_string("/proc/thread-self/net/if_inet6").expect("it can be read");
            all.lines().any(|line| line.starts_with("20010db800770000") && line.contains(" 40 00 01 "))
        };
        wait_for("a temporary address", temporary);
        here(async || {
            let world = World::start_with(everywhere()).await?;
            let loopback = ["127.0.0.1".parse::<IpAddr>()?, "::1".parse()?];
            let expected = [&[IPV6.parse()?], &loopback[..]].concat();
            assert_eq!(told(&world, "ann").await?, expected);
            ip(&format!("-6 addr change {IPV6}/64 dev inside preferred_lft 0"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 1);
            assert_eq!(told(&world, "bob").await?, loopback);
            Ok(())
        });
    });
}

/// A STUN server that answers until it is dropped: whoever asks is seen as 192.0.2.N, where N is what its address ends in.
struct Stun<'a> {
    socket: UdpSocket,
    ended: &'a AtomicBool,
}

impl Stun<'_> {
    fn serve(&self) {
        self.socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        let mut buffer = [0; 200];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((len, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let request = rtcd_media::stun::Request::parse(&buffer[..len]).expect("STUN");
            let IpAddr::V4(asked_from) = from.ip() else { panic!("asked over IPv4") };
            let seen = SocketAddr::from(([192, 0, 2, asked_from.octets()[3]], from.port()));
            let answer = rtcd_media::stun::Answer::success(&request.transaction, seen, None);
            let _ = self.socket.send_to(answer.as_ref(), from);
        }
    }
}

#[test]
fn stun_servers_are_asked_at_once_when_an_address_has_come() {
    with_a_network_of_its_own(|| {
        let ended = AtomicBool::new(false);
        let stun = Stun { socket: UdpSocket::bind((ADDRESS, 0)).expect("bound"), ended: &ended };
        let url = format!("stun:{}", stun.socket.local_addr().expect("bound"));
        std::thread::scope(|scope| {
            scope.spawn(|| stun.serve());
            let test = std::panic::catch_unwind(|| {
                here(async || {
                    let servers = serde_json::json!([url]).to_string();
                    let world = World::start_with(everywhere().env("RTCD_RTC_ICESERVERS", &servers)).await?;
                    let told = |public: &str, local: &str| {
                        format!("{public}:{} ({url}, for {local})", world.daemon.media_port())
                    };
                    let first = told("192.0.2.1", &ADDRESS.to_string());
                    wait_for("the public address", || said(&world, &first) > 0);
                    // The next regular question would come in 30 s.
                    ip(&format!("addr add {LATER}/24 dev inside"));
                    wait_for("the other one", || said(&world, &told("192.0.2.9", LATER)) > 0);
                    Ok(())
                });
            });
            ended.store(true, Ordering::Relaxed);
            test.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    });
}

#[test]
fn all_addresses_of_a_name_are_told_unless_some_are_known_to_be_ours() {
    with_a_network_of_its_own(|| {
        let hosts = Hosts::new();
        hosts.set("calls.test", &["192.0.2.1", "192.0.2.2", IPV6]);
        ip(&format!("-6 addr add {IPV6}/64 dev inside nodad"));
        ip("-6 addr add 2001:db8:78::1/64 dev inside nodad");
        here(async || {
            let world = World::start_with(everywhere().env("RTCD_RTC_ICEHOSTOVERRIDE", "calls.test")).await?;
            let outside = async |newcomer: &str| -> Result<Vec<String>> {
                let mut told = told(&world, newcomer).await?;
                told.retain(|ip| !ip.is_loopback());
                told.sort();
                Ok(told.iter().map(ToString::to_string).collect())
            };
            wait_for("the name", || said(&world, "rtc.ice_host_override resolved") == 1);
            // One of the IPv6 ones is this machine's: the public IPv4 ones are others'.
            assert_eq!(outside("ann").await?, [&ADDRESS.to_string(), IPV6]);
            hosts.set("calls.test", &["192.0.2.1", "192.0.2.2", "2001:db8:99::1"]);
            wait_for("the news", || said(&world, "rtc.ice_host_override has other addresses") == 1);
            assert_eq!(outside("bob").await?, ["192.0.2.1", "192.0.2.2", "2001:db8:99::1"]);
            // One family's answer is lost: no reason to forget it.
            hosts.set("calls.test", &["192.0.2.2", "192.0.2.3"]);
            wait_for("the news", || said(&world, "rtc.ice_host_override has other addresses") == 2);
            assert_eq!(outside("cleo").await?, ["192.0.2.2", "192.0.2.3", "2001:db8:99::1"]);
            Ok(())
        });
    });
}

#[test]
fn what_is_told_is_logged_once_with_where_it_came_from_and_again_when_it_changes() {
    with_a_network_of_its_own(|| {
        here(async || {
            let world = World::start_with(everywhere()).await?;
            let port = world.daemon.media_port();
            wait_for("it is ready", || said(&world, "ready") == 1);
            assert_eq!(said(&world, "participants are told these addresses"), 1, "{}", world.daemon.log());
            assert_eq!(
                said(&world, &format!("{ADDRESS}:{port} (inside)")),
                4,
                "UDP and TCP, there and when it is ready"
            );
            ip("addr add 10.77.0.8/24 dev outside");
            wait_for("the news", || said(&world, &format!("10.77.0.8:{port} (outside)")) == 2);
            drop(world);
            let config = everywhere()
                .env("RTCD_RTC_ICEHOSTOVERRIDE", &format!("192.0.2.7/{ADDRESS},2001:db8::7/{IPV6}"))
                .env("RTCD_RTC_ICEHOSTPORTOVERRIDE", "30443");
            ip(&format!("-6 addr add {IPV6}/64 dev inside nodad"));
            let world = World::start_with(config).await?;
            for told in [
                format!("192.0.2.7:30443 (rtc.ice_host_override, for {ADDRESS}"),
                format!("[2001:db8::7]:30443 (rtc.ice_host_override, for {IPV6}"),
            ] {
                wait_for("what is told", || said(&world, &told) == 4);
            }
            assert!(said(&world, "; rtc.ice_host_port_override)") >= 4, "{}", world.daemon.log());
            assert_eq!(said(&world, "private addresses only"), 0);
            Ok(())
        });
    });
}

#[test]
fn private_addresses_that_nothing_stands_in_for_are_warned_about_once() {
    const WARNING: &str = "participants are told private addresses only";
    with_a_network_of_its_own(|| {
        here(async || {
            let world = World::start_with(everywhere()).await?;
            wait_for("the warning", || said(&world, WARNING) == 1);
            let log = world.daemon.log();
            let line = log.lines().find(|line| line.contains(WARNING)).expect("just seen");
            assert!(line.contains("rtc.ice_host_override") && line.contains("rtc.ice_servers"), "{line}");
            ip(&format!("addr add {LATER}/24 dev inside"));
            wait_for("the news", || said(&world, "newcomers are told other addresses") == 1);
            assert_eq!(said(&world, WARNING), 1);
            drop(world);
            // Who wants loopback only knows what that means.
            let world = World::start_with(DaemonConfig::new()).await?;
            world.join("ann").await?;
            assert_eq!(said(&world, WARNING), 0, "{}", world.daemon.log());
            drop(world);
            ip("addr add 203.0.113.5/24 dev inside");
            let world = World::start_with(everywhere()).await?;
            world.join("ann").await?;
            assert_eq!(said(&world, WARNING), 0, "a public one is among them: {}", world.daemon.log());
            Ok(())
        });
    });
}
