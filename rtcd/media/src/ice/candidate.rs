//! A peer's candidates (RFC 8839, section 5.1), as far as a lite agent has a use for them: where its checks will come from. They
//! are the peer's word alone, so that little is sent there before a check has come.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Candidates of one peer that are remembered: two networks of both families with a relay each, and what has changed since.
pub const MAX_CANDIDATES: usize = 16;
/// The longest line that is looked at.
const MAX_LEN: usize = 512;

/// The address of a UDP candidate: `candidate:<foundation> <component> udp <priority> <address> <port> typ <type> ..`, with
/// or without `a=`. `None` for TCP, which the peer opens by itself, for names that only its own network knows (mDNS), and for
/// what is no candidate.
pub fn udp_address(line: &str) -> Option<SocketAddr> {
    let line = line.trim();
    let line = line.strip_prefix("a=").unwrap_or(line).strip_prefix("candidate:")?;
    if line.len() > MAX_LEN {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let (_foundation, component, transport) = (words.next()?, words.next()?, words.next()?);
    let (_priority, address, port) = (words.next()?, words.next()?, words.next()?);
    if component != "1" || !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddr::new(address.parse().ok()?, port))
}

/// Adds a candidate to those of a peer; the oldest makes room. Whether it is new.
pub fn remember(known: &mut Vec<SocketAddr>, candidate: SocketAddr) -> bool {
    if known.contains(&candidate) {
        return false;
    }
    if known.len() >= MAX_CANDIDATES {
        known.remove(0);
    }
    known.push(candidate);
    true
}

/// Whether packets may be sent to an address because a peer says that it is its own: never to this machine or to its link, to
/// groups, or to where clouds keep their machines' secrets.
pub fn may_be_a_peer(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let metadata = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
            let [first, ..] = ip.octets();
            // 0.0.0.0/8 is this network; 240.0.0.0/4 is reserved, with broadcast at its end.
            first != 0
                && first < 240
                && !ip.is_loopback()
                && !ip.is_link_local()
                && !ip.is_multicast()
                && !metadata.contains(&ip)
        }
        IpAddr::V6(ip) => {
            let metadata = [
                Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
                Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
                Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
            ];
            !ip.is_unspecified()
                && !ip.is_loopback()
                && !ip.is_unicast_link_local()
                && !ip.is_multicast()
                && !metadata.contains(&ip)
        }
    }
}

/// Which of a peer's candidates are sent anything before a check of it has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerPolicy {
    /// Addresses of this machine: nobody is there but us.
    pub own: Vec<IpAddr>,
    /// The only one that we listen at: then participants are there, too.
    pub alone: Option<IpAddr>,
}

impl PeerPolicy {
    /// Whether a peer may be at this address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.alone == Some(ip) || (may_be_a_peer(ip) && !self.own.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        assert_eq!(udp_address(line), expected.map(|text| text.parse().expect("an address")), "{line}");
    }

    #[test]
    fn of_a_candidate_its_address_is_taken() {
        check(
            "candidate:842163049 1 udp 1677729535 203.0.113.7 61234 typ srflx raddr 0.0.0.0 rport 0",
            Some("203.0.113.7:61234"),
        );
        check("a=candidate:1 1 UDP 1 2001:db8::1 9 typ host generation 0", Some("[2001:db8::1]:9"));
        check("candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active", None);
        check("candidate:1 1 udp 2113937151 f3a4b2c1-1111.local 51234 typ host", None);
        check("candidate:1 2 udp 1 192.0.2.1 9 typ host", None);
        check("candidate:1 1 udp 1 192.0.2.1 0 typ host", None);
        check("candidate:", None);
        check("192.0.2.1", None);
        check(&format!("candidate:1 1 udp 1 192.0.2.1 9 typ host {}", "x".repeat(600)), None);
    }

    #[test]
    fn the_oldest_candidate_makes_room() {
        let mut known = Vec::new();
        for port in 0..20 {
            assert!(remember(&mut known, ([192, 0, 2, 1], port).into()));
            assert!(!remember(&mut known, ([192, 0, 2, 1], port).into()));
        }
        assert_eq!((known.len(), known[0].port()), (MAX_CANDIDATES, 4));
    }

    #[test]
    fn nobody_makes_us_send_to_our_own_machine_or_to_a_cloud() {
        for ip in ["10.0.0.1", "192.0.2.1", "2001:db8::1", "fd12::1", "100.64.0.1"] {
            assert!(may_be_a_peer(ip.parse().expect("an address")), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "168.63.129.16",
            "100.100.100.200",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!may_be_a_peer(ip.parse().expect("an address")), "{ip}");
        }
    }
}
