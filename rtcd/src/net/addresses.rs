//! The addresses of this machine, and which of them carry media.
use crate::config::Rtc;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rtcd_media::ice::candidate::PeerPolicy;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// State of the IPv6 addresses, a line each (`net/ipv6/addrconf.c`): getifaddrs does not tell.
const IF_INET6: &str = "/proc/self/net/if_inet6";

/// Flags of an address (rtnetlink(7), `linux/if_addr.h`).
const IFA_F_TEMPORARY: u8 = 0x01;
const IFA_F_OPTIMISTIC: u8 = 0x04;
const IFA_F_DADFAILED: u8 = 0x08;
const IFA_F_DEPRECATED: u8 = 0x20;
const IFA_F_TENTATIVE: u8 = 0x40;

/// What an address is good for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// It can be told to participants.
    Usable,
    /// It cannot be bound: the machine asks whether another one has it (RFC 4862, section 5.4).
    Tentative,
    /// It cannot be bound: another machine has it.
    Duplicate,
    /// It is about to go: temporary (RFC 8981) or deprecated (RFC 4862, section 5.5.4).
    Passing,
}

/// An address of an interface that is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The interface.
    pub interface: String,
    /// What it is good for.
    pub state: State,
}

/// All addresses of this machine but link-local IPv6 ones, which mean nothing to a participant elsewhere; loopback last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine(Vec<Address>);

impl Machine {
    /// As it is now.
    pub fn look() -> io::Result<Self> {
        let mut all: Vec<Address> = Vec::new();
        let interfaces: Vec<_> = getifaddrs()?.collect();
        // After the list: what has come in between is then unknown to the list, and what has gone to this.
        let states = std::fs::read_to_string(IF_INET6).ok().map(|text| states(&text));
        for interface in interfaces.into_iter().filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)) {
            let Some(address) = interface.address else { continue };
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
            let Some(ip) = v4.or(v6) else { continue };
            let state = match (ip, &states) {
                (IpAddr::V6(ip), _) if ip.is_unicast_link_local() => continue,
                (IpAddr::V6(ip), Some(states)) => match states.get(&ip) {
                    Some(state) => *state,
                    None => continue,
                },
                _ => State::Usable,
            };
            if !all.iter().any(|known| known.ip == ip) {
                all.push(Address { ip, interface: interface.interface_name, state });
            }
        }
        all.sort_by_key(|address| address.ip.is_loopback());
        Ok(Self(all))
    }

    /// What is known of an address; `None` where no interface that is up has it.
    pub fn get(&self, ip: IpAddr) -> Option<&Address> {
        self.0.iter().find(|address| address.ip == ip)
    }

    /// The interface of each.
    pub fn interfaces(&self) -> BTreeMap<IpAddr, String> {
        self.0.iter().map(|address| (address.ip, address.interface.clone())).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }

    /// The addresses that the configuration asks for, without those that are not usable now. An address that it names is
    /// taken whatever the interfaces say: it may be part of a network that leads here, or float between machines.
    fn choose(&self, configured: &[IpAddr], ipv6: bool) -> Vec<IpAddr> {
        let usable = || self.0.iter().filter(|address| address.state == State::Usable).map(|address| address.ip);
        if configured.is_empty() {
            return usable().filter(|ip| ip.is_ipv4() || ipv6).collect();
        }
        let mut chosen = Vec::new();
        for ip in configured {
            let found: Vec<IpAddr> = if ip.is_unspecified() {
                usable().filter(|other| other.is_ipv4() == ip.is_ipv4()).collect()
            } else {
                let state = self.get(*ip).map(|address| address.state);
                Vec::from_iter(Some(*ip).filter(|_| !matches!(state, Some(State::Tentative | State::Duplicate))))
            };
            for ip in found {
                if !chosen.contains(&ip) {
                    chosen.push(ip);
                }
            }
        }
        chosen
    }
}

/// The states in a text like that of [`IF_INET6`]: address, interface, prefix, scope and flags in hexadecimal, name.
fn states(text: &str) -> HashMap<Ipv6Addr, State> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let ip = u128::from_str_radix(words.next()?, 16).ok()?;
        let flags = u8::from_str_radix(words.nth(3)?, 16).ok()?;
        let has = |flag| flags & flag != 0;
        let state = if has(IFA_F_DADFAILED) {
            State::Duplicate
        } else if has(IFA_F_TENTATIVE) && !has(IFA_F_OPTIMISTIC) {
            State::Tentative
        } else if has(IFA_F_TEMPORARY | IFA_F_DEPRECATED) {
            State::Passing
        } else {
            State::Usable
        };
        Some((Ipv6Addr::from(ip), state))
    };
    text.lines().filter_map(parse).collect()
}

/// Local addresses of the media sockets, ports included.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bind {
    /// UDP; one socket per worker on each.
    pub udp: Vec<SocketAddr>,
    /// For participants whose network blocks them.
    pub tcp: Vec<SocketAddr>,
}

impl Bind {
    /// The addresses that the configuration asks for: those it names, or all of this machine that are usable.
    pub fn wanted(rtc: &Rtc, machine: &Machine) -> Self {
        let with_port = |configured: &[IpAddr], port| {
            let chosen = machine.choose(configured, rtc.enable_ipv6);
            chosen.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
        };
        Self {
            udp: with_port(&rtc.ice_address_udp, rtc.ice_port_udp),
            tcp: with_port(&rtc.ice_address_tcp, rtc.ice_port_tcp),
        }
    }

    /// All addresses without their ports, once each.
    pub fn ips(&self) -> Vec<IpAddr> {
        let all: BTreeSet<_> = self.udp.iter().chain(&self.tcp).map(SocketAddr::ip).collect();
        all.into_iter().collect()
    }
}

/// Where media is bound on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Local {
    /// Addresses and ports.
    pub bind: Bind,
    /// The interface of each address of the machine.
    pub interfaces: BTreeMap<IpAddr, String>,
}

impl Local {
    /// As the configuration wants it.
    pub fn wanted(rtc: &Rtc, machine: &Machine) -> Self {
        Self { bind: Bind::wanted(rtc, machine), interfaces: machine.interfaces() }
    }

    /// Which addresses of participants are sent anything before a check of theirs has come.
    pub fn peer_policy(&self) -> PeerPolicy {
        let mut bound = self.bind.udp.iter().map(SocketAddr::ip);
        let first = bound.next();
        let alone = first.filter(|first| bound.all(|ip| ip == *first));
        // One that is reached without an interface is known by what is bound.
        let own: BTreeSet<_> = self.interfaces.keys().copied().chain(self.bind.ips()).collect();
        PeerPolicy { own: own.into_iter().collect(), alone }
    }
}

/// Whether the configuration would take this address of the machine if it were usable.
pub fn is_wanted(rtc: &Rtc, ip: IpAddr) -> bool {
    let wants = |configured: &[IpAddr]| match configured {
        [] => ip.is_ipv4() || rtc.enable_ipv6,
        configured => configured
            .iter()
            .any(|wanted| *wanted == ip || (wanted.is_unspecified() && wanted.is_ipv4() == ip.is_ipv4())),
    };
    wants(&rtc.ice_address_udp) || wants(&rtc.ice_address_tcp)
}

/// Whether an address is reached from some networks only: private (RFC 1918), shared (RFC 6598), unique local (RFC 4193),
/// link-local or loopback.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private() || shared || ip.is_link_local() || ip.is_loopback()
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn machine(list: &[(&str, State)]) -> Machine {
        let address = |(ip, state): &(&str, State)| Address {
            ip: ip.parse().expect("an address"),
            interface: "eth0".into(),
            state: *state,
        };
        Machine(list.iter().map(address).collect())
    }

    #[test]
    fn without_configured_addresses_all_that_are_usable_are_taken() {
        let local = machine(&[
            ("10.0.0.1", State::Usable),
            ("2001:db8::1", State::Usable),
            ("2001:db8::2", State::Tentative),
            ("2001:db8::3", State::Duplicate),
            ("2001:db8::4", State::Passing),
            ("127.0.0.1", State::Usable),
        ]);
        assert_eq!(local.choose(&[], false), ips(&["10.0.0.1", "127.0.0.1"]));
        assert_eq!(local.choose(&[], true), ips(&["10.0.0.1", "2001:db8::1", "127.0.0.1"]));
        assert_eq!(local.choose(&ips(&["::"]), true), ips(&["2001:db8::1"]));
    }

    #[test]
    fn configured_addresses_are_taken_as_they_are_unless_they_cannot_be_bound_yet() {
        let local = machine(&[
            ("10.0.0.1", State::Usable),
            ("2001:db8::2", State::Tentative),
            ("2001:db8::4", State::Passing),
            ("127.0.0.1", State::Usable),
        ]);
        assert_eq!(local.choose(&ips(&["192.0.2.1"]), false), ips(&["192.0.2.1"]), "the operator's word");
        assert_eq!(local.choose(&ips(&["0.0.0.0", "10.0.0.1"]), true), ips(&["10.0.0.1", "127.0.0.1"]));
        assert_eq!(local.choose(&ips(&["2001:db8::2", "2001:db8::4"]), true), ips(&["2001:db8::4"]));
    }

    #[test]
    fn the_kernels_table_tells_what_an_ipv6_address_is_good_for() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
            20010db8007700000000000000000001 03 40 00 c0   eth0\n\
            20010db8007700000000000000000002 03 40 00 c8   eth0\n\
            20010db8007700000000000000000003 03 40 00 44   eth0\n\
            20010db8007700000000000000000004 03 40 00 01   eth0\n\
            20010db8007700000000000000000005 03 40 00 a2   eth0\n\
            20010db80077 nonsense\n\n";
        let found = states(table);
        let expected = [
            ("::1", State::Usable),
            ("2001:db8:77::1", State::Tentative),
            ("2001:db8:77::2", State::Duplicate),
            ("2001:db8:77::3", State::Usable),
            ("2001:db8:77::4", State::Passing),
            ("2001:db8:77::5", State::Passing),
        ];
        let expected = expected.map(|(ip, state)| (ip.parse().expect("an address"), state));
        assert_eq!(found, expected.into());
    }

    #[test]
    fn loopback_is_among_the_local_addresses_and_comes_last() {
        let local: Vec<_> = Machine::look().expect("interfaces can be listed").iter().map(|local| local.ip).collect();
        let first = local.iter().position(IpAddr::is_loopback).expect("loopback is up");
        assert!(local[first..].iter().all(IpAddr::is_loopback), "{local:?}");
    }

    #[test]
    fn what_the_internet_does_not_reach_is_private() {
        for ip in ips(&["10.0.0.1", "172.17.0.2", "192.168.1.1", "100.64.0.1", "169.254.1.1", "fd00::1", "::1"]) {
            assert!(is_private(ip), "{ip}");
        }
        for ip in ips(&["100.128.0.1", "172.32.0.1", "192.0.2.1", "8.8.8.8", "2001:db8::1"]) {
            assert!(!is_private(ip), "{ip}");
        }
    }
}
