//! IPv6: where there is nothing else, and where there is none.
use crate::browser::{ANN, BOB, address, alone, perceives};
use rtcd_tests::browser::DemoPage as _;
use rtcd_tests::browser::chromium::Chromium;
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::namespace::{ip, ipv6_setting, with_a_cable_to_another_network, with_a_network_of_its_own};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};

/// The daemon's side of the cable, and the browsers'.
const HERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
const THERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 2);

/// Beside loopback there are IPv6 addresses only.
fn two_meet_over_ipv6(more: &str, protocol: &str) {
    let _alone = alone();
    with_a_cable_to_another_network(|far| {
        ip(&format!("-6 addr add {HERE}/64 dev inside nodad"));
        far.run(|| {
            ip(&format!("-6 addr add {THERE}/64 dev outside nodad"));
            ip(&format!("-6 route add default via {HERE}"));
        });
        let demo = Demo::start_at(HERE.into(), &["--allow-remote"]);
        let browser = far.run(Chromium::start);
        let enter = |who: (&str, f64)| {
            let page = browser.open(&address(&demo, who, more));
            page.wait_joined();
            page
        };
        let (ann, bob) = (enter(ANN), enter(BOB));
        let colours = (ann.state().colour(), bob.state().colour());
        bob.wait_for("ann", |state| perceives(state, ANN, colours.0));
        ann.wait_for("bob", |state| perceives(state, BOB, colours.1));
        for page in [&ann, &bob] {
            let state = page.wait_for("statistics", |state| !state.0["transport"].is_null());
            assert_eq!(state.text("/transport/protocol"), protocol);
            let to = state.text("/transport/address");
            let ip = to.rsplit_once(':').map(|(ip, _)| ip.trim_matches(['[', ']']));
            assert_eq!(ip.and_then(|ip| ip.parse().ok()), Some(HERE), "{to}");
        }
        // Over TCP Chromium opens two connections and closes one of them before it has said a word.
        if protocol == "udp" {
            demo.assert_nothing_refused();
        }
    });
}

#[test]
fn browsers_that_have_ipv6_alone_meet_over_udp() {
    two_meet_over_ipv6("", "udp");
}

#[test]
fn browsers_that_have_ipv6_alone_meet_over_tcp() {
    two_meet_over_ipv6("&tcp=1", "tcp");
}

/// Both families everywhere.
fn dual() -> DaemonConfig {
    let config = DaemonConfig::new();
    let listen = format!("[::]:{}", config.api_port);
    config
        .env("RTCD_API_HTTP_LISTENADDRESS", &listen)
        .env("RTCD_RTC_ICEADDRESSUDP", "")
        .env("RTCD_RTC_ICEADDRESSTCP", "")
        .env("RTCD_RTC_ENABLEIPV6", "true")
}

fn complaints(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let about = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    // Of the machine's limits and of what the test has left out.
    let others = ["sysctl", "private addresses only", "there is no such file"];
    let known = |line: &&str| others.iter().any(|other| line.contains(other));
    log.lines().filter(about).filter(|line| !known(line)).map(str::to_owned).collect()
}

#[test]
fn an_api_that_listens_at_the_wildcard_of_ipv6_is_reached_by_both_families() {
    with_a_network_of_its_own(|| {
        let daemon = Daemon::start(dual());
        let port = daemon.api_addr().port();
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            assert!(TcpStream::connect((address, port)).is_ok(), "{address}");
        }
        wait_for("IPv6 candidates", || daemon.log().contains("[::1]:"));
    });
}

#[test]
fn a_machine_whose_ipv6_is_off_starts_without_complaint() {
    with_a_network_of_its_own(|| {
        for interface in ["all", "default", "lo", "inside", "outside"] {
            ipv6_setting(&format!("{interface}.disable_ipv6"), "1");
        }
        for udp in ["", "0.0.0.0,::"] {
            let daemon = Daemon::start(dual().env("RTCD_RTC_ICEADDRESSUDP", udp));
            wait_for("the start", || daemon.log().contains("participants are told these addresses"));
            assert_eq!(complaints(&daemon), Vec::<String>::new());
            assert!(!daemon.log().contains("[::1]:"));
        }
    });
}
