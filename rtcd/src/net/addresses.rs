//! Which local addresses carry media.
use crate::config::Rtc;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rtcd_media::ice::candidate::PeerPolicy;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Local addresses of the media sockets, ports included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bind {
    /// UDP; one socket per worker on each.
    pub udp: Vec<SocketAddr>,
    /// For participants whose network blocks them.
    pub tcp: Vec<SocketAddr>,
}

/// The addresses that the configuration asks for: those it names, or all of this machine.
pub fn to_bind(rtc: &Rtc) -> io::Result<Bind> {
    let local = local_addresses()?;
    let with_port = |configured: &[IpAddr], port| {
        let chosen = choose(configured, &local, rtc.enable_ipv6);
        chosen.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    };
    Ok(Bind {
        udp: with_port(&rtc.ice_address_udp, rtc.ice_port_udp),
        tcp: with_port(&rtc.ice_address_tcp, rtc.ice_port_tcp),
    })
}

/// All addresses of interfaces that are up, loopback last; without link-local IPv6 ones, which mean nothing to a
/// participant elsewhere.
pub fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut all = Vec::new();
    for interface in getifaddrs()?.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)) {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        let Some(ip) = v4.or(v6) else { continue };
        let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !link_local && !all.contains(&ip) {
            all.push(ip);
        }
    }
    all.sort_by_key(IpAddr::is_loopback);
    Ok(all)
}

/// The configured addresses, with `0.0.0.0` and `::` meaning all local ones of their family.
fn choose(configured: &[IpAddr], local: &[IpAddr], ipv6: bool) -> Vec<IpAddr> {
    if configured.is_empty() {
        return local.iter().copied().filter(|ip| ip.is_ipv4() || ipv6).collect();
    }
    let mut chosen = Vec::new();
    for ip in configured {
        let family = local.iter().filter(|other| ip.is_unspecified() && other.is_ipv4() == ip.is_ipv4());
        let own = Some(ip).filter(|ip| !ip.is_unspecified());
        for ip in family.chain(own) {
            if !chosen.contains(ip) {
                chosen.push(*ip);
            }
        }
    }
    chosen
}

/// Which addresses of participants are sent anything before a check of theirs has come, when media is bound to these.
pub fn peer_policy(udp: &[SocketAddr]) -> PeerPolicy {
    let mut bound = udp.iter().map(SocketAddr::ip);
    let first = bound.next();
    let alone = first.filter(|first| bound.all(|ip| ip == *first));
    // Interfaces that cannot be listed: those that we know.
    let own = local_addresses().unwrap_or_else(|_| udp.iter().map(SocketAddr::ip).collect());
    PeerPolicy { own, alone }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn without_configured_addresses_all_local_ones_are_taken() {
        let local = ips(&["10.0.0.1", "2001:db8::1", "127.0.0.1"]);
        assert_eq!(choose(&[], &local, false), ips(&["10.0.0.1", "127.0.0.1"]));
        assert_eq!(choose(&[], &local, true), local);
    }

    #[test]
    fn configured_addresses_are_taken_as_they_are_and_wildcards_by_family() {
        let local = ips(&["10.0.0.1", "2001:db8::1", "127.0.0.1"]);
        assert_eq!(choose(&ips(&["192.0.2.1"]), &local, false), ips(&["192.0.2.1"]));
        assert_eq!(choose(&ips(&["0.0.0.0", "10.0.0.1"]), &local, true), ips(&["10.0.0.1", "127.0.0.1"]));
        assert_eq!(choose(&ips(&["::"]), &local, true), ips(&["2001:db8::1"]));
    }

    #[test]
    fn loopback_is_among_the_local_addresses_and_comes_last() {
        let local = local_addresses().expect("interfaces can be listed");
        let first = local.iter().position(IpAddr::is_loopback).expect("loopback is up");
        assert!(local[first..].iter().all(IpAddr::is_loopback), "{local:?}");
    }
}
