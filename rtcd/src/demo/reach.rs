//! Where the page is reached: from this machine alone, or at which of its addresses.
use crate::net::addresses::{Machine, State};
use std::net::{IpAddr, SocketAddr};

/// The addresses of a page that is served at `listen`, those for other machines first, IPv4 ahead of IPv6.
pub fn addresses(listen: SocketAddr) -> Vec<IpAddr> {
    if !listen.ip().is_unspecified() {
        return vec![listen.ip()];
    }
    let machine = Machine::look().unwrap_or_default();
    let usable = machine.iter().filter(|address| address.state == State::Usable).map(|address| address.ip);
    // A socket for all addresses of IPv6 takes those of IPv4, too.
    let mut all: Vec<IpAddr> = usable.filter(|ip| ip.is_ipv4() || listen.is_ipv6()).collect();
    all.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    all
}

/// `http://` or `https://`, the address and the port.
pub fn url(tls: bool, address: IpAddr, port: u16) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}/", SocketAddr::new(address, port))
}

/// The name of this machine, where it has one that can be in a certificate.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    (!name.is_empty() && plain).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_at_one_address_is_reached_there_and_one_at_all_never_at_the_unspecified_one() {
        let one: SocketAddr = "192.0.2.1:8066".parse().unwrap();
        assert_eq!(addresses(one), [one.ip()]);
        let all = addresses("0.0.0.0:8066".parse().unwrap());
        assert!(all.iter().all(|ip| ip.is_ipv4() && !ip.is_unspecified()), "{all:?}");
        assert!(all.windows(2).all(|pair| pair[0].is_loopback() <= pair[1].is_loopback()), "{all:?}");
        assert_eq!(url(true, "2001:db8::1".parse().unwrap(), 8066), "https://[2001:db8::1]:8066/");
    }
}
