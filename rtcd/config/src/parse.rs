//! Texts that mean more than themselves: addresses, NAT pairs, ports of addresses.
use super::servers::split_host_port;
use super::types::{HostOverride, ListenAddress, NatPair, PortOverride};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// Ports that media may use: the reference's range, up to where the kernel's own ports begin (RFC 6335).
pub const MEDIA_PORTS: RangeInclusive<u16> = 80..=49151;
/// The same in words.
pub const MEDIA_PORTS_TEXT: &str = "a port from 80 to 49151";
/// `host:port`, `address:port` or `:port`.
pub fn listen_address(text: &str) -> Option<ListenAddress> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(ListenAddress::Address(address));
    }
    if let Some(port) = text.strip_prefix(':') {
        return port.parse().ok().map(ListenAddress::Any);
    }
    let (host, port) = split_host_port(text)?;
    Some(ListenAddress::Name(host.to_owned(), port?.parse().ok()?)).filter(|_| !host.contains(':'))
}

/// An IP address; one of IPv6 may stand in brackets, as it does in front of a port.
fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// `rtc.ice_host_override`, or what is wrong with it.
pub fn host_override(text: &str) -> Result<Option<HostOverride>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(ip) = ip(text) {
        return Ok(Some(HostOverride::Address(ip)));
    }
    if !text.contains(['/', ',']) {
        let name = text.len() <= 253 && text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
        // A last label of digits only is an address gone wrong (RFC 1123, 2.1).
        let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let address = last.chars().all(|c| c.is_ascii_digit());
        return match name && !address {
            true => Ok(Some(HostOverride::Name(text.to_owned()))),
            false => Err(format!("{text:?} is no address and no host name")),
        };
    }
    let mut pairs: Vec<NatPair> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let ips = part
            .split_once('/')
            .and_then(|(external, internal)| Some(NatPair { external: ip(external)?, internal: ip(internal)? }));
        let pair = ips.ok_or_else(|| format!("{part:?} is no external/internal pair of IP addresses"))?;
        if pair.external.is_ipv4() != pair.internal.is_ipv4() {
            return Err(format!("{part:?} mixes IPv4 and IPv6"));
        }
        if pairs.iter().any(|other| other.internal == pair.internal) {
            return Err(format!("{} is there twice", pair.internal));
        }
        pairs.push(pair);
    }
    Ok(Some(HostOverride::Nat(pairs)))
}

/// `rtc.ice_host_port_override`, or what is wrong with it.
pub fn port_override(text: &str) -> Result<Option<PortOverride>, String> {
    let port = |text: &str| {
        let port = text.trim().parse::<u16>().ok().filter(|port| MEDIA_PORTS.contains(port));
        port.ok_or_else(|| format!("{text:?} is no {}", MEDIA_PORTS_TEXT.trim_start_matches("a ")))
    };
    // The reference takes an integer 0 for "not set".
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    if !text.contains(['/', ',']) {
        return port(text).map(|port| Some(PortOverride::All(port)));
    }
    let mut entries: Vec<(IpAddr, u16)> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (local, number) = part.split_once('/').ok_or_else(|| format!("{part:?} is no localIP/port"))?;
        let ip = ip(local).ok_or_else(|| format!("{local:?} is no IP address"))?;
        let number = port(number)?;
        if entries.iter().any(|entry| entry.0 == ip) {
            return Err(format!("{ip} is there twice"));
        }
        if entries.iter().any(|entry| entry.1 == number) {
            return Err(format!("port {number} is there twice"));
        }
        entries.push((ip, number));
    }
    Ok(Some(PortOverride::ByAddress(entries)))
}
