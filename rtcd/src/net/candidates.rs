//! What participants are told, once it is known what stands in for our addresses (contract, section 5).
use crate::config::PortOverride;
use rtcd_media::demux::Protocol;
use rtcd_media::sdp::write::Candidate;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What stands in for local addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// These, whatever the local address of their family is. Loopback stays beside them, for a participant on this machine.
    All(Vec<IpAddr>),
    /// Internal to external, as the operator says: what is in no pair is not told.
    Nat(BTreeMap<IpAddr, IpAddr>),
    /// Local to public, as STUN servers see it: an address that none has seen is told itself, and loopback always.
    Seen(BTreeMap<IpAddr, IpAddr>),
}

impl Mapping {
    /// Local addresses are told.
    pub fn none() -> Self {
        Self::Seen(BTreeMap::new())
    }

    /// Whether a local address has any external one.
    pub fn has_external(&self, local: IpAddr) -> bool {
        !self.externals(local).is_empty()
    }

    /// The external addresses of a local one, best first.
    fn externals(&self, local: IpAddr) -> Vec<IpAddr> {
        match self {
            Self::All(ips) => ips.iter().copied().filter(|ip| ip.is_ipv4() == local.is_ipv4()).collect(),
            Self::Nat(pairs) | Self::Seen(pairs) => pairs.get(&local).copied().into_iter().collect(),
        }
    }

    /// Whether a local address is told too, beside its external one.
    fn keeps(&self, local: IpAddr, external: Option<IpAddr>, matches: bool) -> bool {
        match self {
            // Who names a loopback address means this machine, by that address.
            Self::All(_) => external.is_none_or(|external| local.is_loopback() && !external.is_loopback()),
            // When no pair is about this machine, anything is better than nothing.
            Self::Nat(_) => !matches,
            Self::Seen(_) => external.is_none() || local.is_loopback(),
        }
    }
}

/// The host candidates for sockets bound to these addresses, best first.
pub fn advertise(
    ports: Option<&PortOverride>,
    mapping: &Mapping,
    udp: &[SocketAddr],
    tcp: &[SocketAddr],
) -> Vec<Candidate> {
    let own: Vec<_> = udp.iter().chain(tcp).map(SocketAddr::ip).collect();
    let matches = own.iter().any(|ip| mapping.has_external(*ip));
    let mut all = Vec::new();
    for (protocol, bound) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
        // Loopback last: it is of use to tests and to participants on this very machine.
        let (loopback, outside): (Vec<&SocketAddr>, Vec<&SocketAddr>) =
            bound.iter().partition(|address| address.ip().is_loopback());
        let mut told: Vec<(SocketAddr, Option<IpAddr>)> = Vec::new();
        for local in outside.iter().chain(&loopback) {
            // Loopback has an outside only when there is nothing else.
            let all = matches!(mapping, Mapping::All(ips) if !ips.iter().all(IpAddr::is_loopback));
            let inward = all && local.ip().is_loopback() && outside.iter().any(|ip| ip.is_ipv4() == local.is_ipv4());
            let externals = if inward { Vec::new() } else { mapping.externals(local.ip()) };
            for external in &externals {
                let base = Some(local.ip()).filter(|ip| ip != external);
                told.push((SocketAddr::new(*external, port(ports, **local, &own)), base));
            }
            if mapping.keeps(local.ip(), externals.first().copied(), matches) {
                told.push((**local, None));
            }
        }
        told.sort_by_key(|(address, _)| address.ip().is_loopback());
        let mut rank = 0;
        for (address, base) in told {
            if !all.iter().any(|other: &Candidate| other.protocol == protocol && other.address == address) {
                all.push(Candidate { protocol, address, rank, base });
                rank += 1;
            }
        }
    }
    all
}

/// The port beside an external address: the entry of the local address, or else the one of any address of ours (the list
/// is shared by many machines). A local address is told with its own port, or people on the same network could not connect.
fn port(ports: Option<&PortOverride>, local: SocketAddr, own: &[IpAddr]) -> u16 {
    match ports {
        None => local.port(),
        Some(PortOverride::All(port)) => *port,
        Some(PortOverride::ByAddress(entries)) => {
            let exact = entries.iter().find(|(ip, _)| *ip == local.ip());
            let entry = exact.or_else(|| entries.iter().find(|(ip, _)| own.contains(ip)));
            entry.map_or(local.port(), |(_, port)| *port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn pairs(list: &[(&str, &str)]) -> BTreeMap<IpAddr, IpAddr> {
        list.iter().map(|(local, external)| (ip(local), ip(external))).collect()
    }

    fn check(ports: Option<PortOverride>, mapping: &Mapping, udp: &[&str], tcp: &[&str], expected: &[&str]) {
        let addresses = |list: &[&str]| list.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>();
        let found = advertise(ports.as_ref(), mapping, &addresses(udp), &addresses(tcp));
        let shown: Vec<_> = found
            .iter()
            .map(|candidate| {
                let behind = candidate.base.map(|ip| format!(" behind {ip}")).unwrap_or_default();
                format!("{:?} {} {}{behind}", candidate.protocol, candidate.rank, candidate.address)
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_local_address_is_told_loopback_last() {
        let udp = ["127.0.0.1:1", "10.0.0.1:1", "[2001:db8::1]:1"];
        let expected = ["Udp 0 10.0.0.1:1", "Udp 1 [2001:db8::1]:1", "Udp 2 127.0.0.1:1", "Tcp 0 10.0.0.1:2"];
        check(None, &Mapping::none(), &udp, &["10.0.0.1:2"], &expected);
    }

    #[test]
    fn an_override_stands_in_once_for_all_addresses_of_its_family_and_loopback_stays() {
        let mapping = Mapping::All(vec![ip("192.0.2.1")]);
        let udp = ["10.0.0.1:1", "10.0.0.2:1", "127.0.0.1:1", "[2001:db8::1]:1"];
        let expected = ["Udp 0 192.0.2.1:1 behind 10.0.0.1", "Udp 1 [2001:db8::1]:1", "Udp 2 127.0.0.1:1"];
        check(None, &mapping, &udp, &[], &expected);
        let expected = ["Udp 0 192.0.2.1:1 behind 127.0.0.1", "Udp 1 127.0.0.1:1"];
        check(None, &mapping, &["127.0.0.1:1"], &[], &expected);
        let this_machine = Mapping::All(vec![ip("127.0.0.2")]);
        let expected = ["Udp 0 127.0.0.2:1 behind 10.0.0.1"];
        check(None, &this_machine, &["127.0.0.1:1", "127.0.0.2:1", "10.0.0.1:1"], &[], &expected);
    }

    #[test]
    fn an_override_of_several_addresses_is_told_in_full() {
        let mapping = Mapping::All(["192.0.2.1", "192.0.2.2", "2001:db8::7"].map(ip).to_vec());
        let udp = ["10.0.0.1:1", "10.0.0.2:1", "127.0.0.1:1", "[fd00::1]:1"];
        let expected = [
            "Udp 0 192.0.2.1:443 behind 10.0.0.1",
            "Udp 1 192.0.2.2:443 behind 10.0.0.1",
            "Udp 2 [2001:db8::7]:443 behind fd00::1",
            "Udp 3 127.0.0.1:1",
        ];
        check(Some(PortOverride::All(443)), &mapping, &udp, &[], &expected);
    }

    #[test]
    fn ipv6_pairs_and_their_ports_are_told_as_those_of_ipv4_are() {
        let mapping = Mapping::Nat(pairs(&[("fd00::1", "2001:db8::7"), ("10.0.0.1", "192.0.2.1")]));
        let ports = || PortOverride::ByAddress(vec![(ip("fd00::1"), 4443), (ip("10.0.0.1"), 4444)]);
        let expected = ["Udp 0 [2001:db8::7]:4443 behind fd00::1", "Udp 1 192.0.2.1:4444 behind 10.0.0.1"];
        check(Some(ports()), &mapping, &["[fd00::1]:1", "10.0.0.1:1", "[::1]:1"], &[], &expected);
        let local = ["Udp 0 [fd00::1]:1", "Udp 1 10.0.0.1:1"];
        check(Some(ports()), &Mapping::none(), &["[fd00::1]:1", "10.0.0.1:1"], &[], &local);
    }

    #[test]
    fn an_override_of_another_family_changes_nothing() {
        let mapping = Mapping::All(vec![ip("2001:db8::1")]);
        let expected = ["Udp 0 10.0.0.1:1", "Udp 1 127.0.0.1:1"];
        check(Some(PortOverride::All(443)), &mapping, &["127.0.0.1:1", "10.0.0.1:1"], &[], &expected);
    }

    #[test]
    fn of_nat_pairs_only_the_external_addresses_are_told() {
        let mapping = Mapping::Nat(pairs(&[("10.0.0.1", "192.0.2.1"), ("10.0.0.9", "192.0.2.9")]));
        let expected = ["Udp 0 192.0.2.1:1 behind 10.0.0.1", "Tcp 0 192.0.2.1:9 behind 10.0.0.1"];
        check(None, &mapping, &["10.0.0.1:1", "10.0.0.2:1", "127.0.0.1:1"], &["10.0.0.1:9"], &expected);
        check(None, &mapping, &["10.0.0.2:1"], &[], &["Udp 0 10.0.0.2:1"]);
    }

    #[test]
    fn what_stun_servers_saw_is_told_and_else_the_local_address() {
        let mapping = Mapping::Seen(pairs(&[("10.0.0.1", "192.0.2.1")]));
        let udp = ["127.0.0.1:1", "10.0.0.1:1", "10.0.0.2:1"];
        let expected = ["Udp 0 192.0.2.1:443 behind 10.0.0.1", "Udp 1 10.0.0.2:1", "Udp 2 127.0.0.1:1"];
        check(Some(PortOverride::All(443)), &mapping, &udp, &[], &expected);
    }

    #[test]
    fn a_port_override_touches_external_addresses_only() {
        let udp = ["10.0.0.1:1", "10.0.0.2:1", "127.0.0.1:1"];
        let entries =
            || PortOverride::ByAddress(vec![(ip("10.9.9.9"), 1000), (ip("10.0.0.1"), 2000), (ip("10.0.0.2"), 3000)]);
        let local = ["Udp 0 10.0.0.1:1", "Udp 1 10.0.0.2:1", "Udp 2 127.0.0.1:1"];
        check(Some(entries()), &Mapping::none(), &udp, &[], &local);
        check(Some(PortOverride::All(443)), &Mapping::none(), &udp, &[], &local);
        let seen = Mapping::Seen(pairs(&[("10.0.0.1", "192.0.2.1"), ("10.0.0.2", "192.0.2.1")]));
        let expected =
            ["Udp 0 192.0.2.1:2000 behind 10.0.0.1", "Udp 1 192.0.2.1:3000 behind 10.0.0.2", "Udp 2 127.0.0.1:1"];
        check(Some(entries()), &seen, &udp, &[], &expected);
        let strangers = PortOverride::ByAddress(vec![(ip("10.9.9.9"), 1000)]);
        check(Some(strangers), &seen, &["10.0.0.1:1"], &[], &["Udp 0 192.0.2.1:1 behind 10.0.0.1"]);
    }
}
