//! What an operator has set about addresses and what comes to nothing on this machine.
use super::addresses::is_private;
use super::candidates::Mapping;
use crate::config::{HostOverride, PortOverride, Rtc};
use std::net::{IpAddr, SocketAddr};

/// One line for each thing that has no effect, or not the one that was meant. `mapping` is what is known now.
pub fn complaints(rtc: &Rtc, mapping: &Mapping, bound: &[SocketAddr]) -> Vec<String> {
    let own: Vec<IpAddr> = bound.iter().map(SocketAddr::ip).collect();
    let mut all = match &rtc.ice_host_override {
        Some(HostOverride::Nat(_)) => about_pairs(mapping, &own),
        Some(HostOverride::Address(_) | HostOverride::Name(_)) => about_override(rtc, mapping, &own),
        None => about_servers(rtc, &own),
    };
    all.extend(about_ports(rtc, mapping, &own));
    all
}

/// Participants elsewhere are told nothing that they could reach, and nobody was asked for anything better.
pub fn nobody_outside(rtc: &Rtc, told: &[IpAddr]) -> Option<String> {
    let outside: Vec<_> = told.iter().filter(|ip| !ip.is_loopback()).collect();
    if rtc.ice_host_override.is_some()
        || rtc.ice_servers.iter().any(|server| !server.urls.is_empty())
        || outside.is_empty()
        || !outside.iter().all(|ip| is_private(**ip))
    {
        return None;
    }
    // The bridges of Docker and Podman.
    let of_a_container =
        |ip: &&IpAddr| matches!(ip, IpAddr::V4(ip) if matches!(ip.octets(), [172, 17, ..] | [10, 88, ..]));
    let whose = if outside.iter().any(of_a_container) { " (a container's, by the look of them)" } else { "" };
    Some(format!(
        "participants are told private addresses only{whose}: whoever is outside of this network needs \
         rtc.ice_host_override, or a stun: server in rtc.ice_servers"
    ))
}

fn about_pairs(mapping: &Mapping, own: &[IpAddr]) -> Vec<String> {
    let Mapping::Nat(pairs) = mapping else { return Vec::new() };
    let stray = |internal: &&IpAddr| !own.contains(internal);
    let mut all: Vec<_> = pairs
        .keys()
        .filter(stray)
        .map(|internal| {
            let external = pairs[internal];
            format!("rtc.ice_host_override: {external}/{internal} matches nothing: media is not bound to {internal}")
        })
        .collect();
    if pairs.keys().all(|internal| stray(&internal)) {
        all.push("rtc.ice_host_override: no pair matches, local addresses are advertised".into());
    }
    all
}

fn about_override(rtc: &Rtc, mapping: &Mapping, own: &[IpAddr]) -> Vec<String> {
    // A name that is of no use is told where it is resolved.
    let Mapping::All(ips) = mapping else { return Vec::new() };
    let shown = ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut all = Vec::new();
    let family = |own: &&IpAddr| ips.iter().any(|ip| ip.is_ipv4() == own.is_ipv4());
    if !own.iter().any(|own| family(&own)) {
        let why = match ips.iter().any(IpAddr::is_ipv4) {
            true => "media is bound to no IPv4 address",
            false if !rtc.enable_ipv6 => "it is IPv6, and rtc.enable_ipv6 is off",
            false => "media is bound to no IPv6 address",
        };
        all.push(format!("rtc.ice_host_override: {shown} applies to nothing: {why}; local addresses are advertised"));
    } else if own.iter().filter(family).all(IpAddr::is_loopback) && !ips.iter().all(IpAddr::is_loopback) {
        all.push(format!(
            "rtc.ice_host_override: {shown} applies to nothing: media is bound to loopback addresses only"
        ));
    }
    if ips.iter().any(|ip| ip.is_unspecified() || ip.is_multicast()) {
        all.push(format!("rtc.ice_host_override: nobody can reach {shown}"));
    }
    all
}

fn about_servers(rtc: &Rtc, own: &[IpAddr]) -> Vec<String> {
    let stun: Vec<_> = rtc.ice_servers.iter().flat_map(|server| &server.urls).filter(|url| !url.turn).collect();
    if stun.is_empty() {
        return Vec::new();
    }
    if stun.iter().all(|url| url.tls) {
        return vec![
            "rtc.ice_servers: a stuns: server cannot be asked for our public address, add a stun: one; \
             local addresses are advertised"
                .into(),
        ];
    }
    if own.iter().all(IpAddr::is_loopback) {
        return vec![
            "rtc.ice_servers: STUN servers are of no use: media is bound to loopback addresses only".to_owned(),
        ];
    }
    Vec::new()
}

fn about_ports(rtc: &Rtc, mapping: &Mapping, own: &[IpAddr]) -> Option<String> {
    let ports = rtc.ice_host_port_override.as_ref()?;
    if let PortOverride::ByAddress(entries) = ports
        && !entries.iter().any(|(ip, _)| own.contains(ip))
    {
        return Some("rtc.ice_host_port_override: no entry is for an address that media is bound to".into());
    }
    // A server that has not answered yet is told elsewhere.
    let asks = rtc.ice_servers.iter().flat_map(|server| &server.urls).any(|url| !url.turn && !url.tls);
    let external = own.iter().any(|ip| mapping.has_external(*ip));
    let settled = rtc.ice_host_override.is_some() || !asks;
    let nothing = "rtc.ice_host_port_override has no effect: it is for external addresses, and none is known";
    (settled && !external).then(|| nothing.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    fn check(variables: &[(&str, &str)], mapping: &Mapping, bound: &[&str], expected: &[&str]) {
        let environment: Environment =
            variables.iter().map(|(name, value)| (format!("RTCD_RTC_{name}"), (*value).to_owned())).collect();
        let loaded = config::from_text("x".as_ref(), "", &environment).expect("valid");
        let bound: Vec<_> = bound.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), 8443)).collect();
        let found = complaints(&loaded.config.rtc, mapping, &bound);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected} in {found}");
        }
    }

    fn all(list: &[&str]) -> Mapping {
        Mapping::All(list.iter().map(|text| text.parse().expect("an address")).collect())
    }

    #[test]
    fn an_override_that_applies_is_nothing_to_complain_of() {
        check(&[("ICEHOSTOVERRIDE", "192.0.2.1")], &all(&["192.0.2.1"]), &["10.0.0.1", "127.0.0.1"], &[]);
        check(&[("ICEHOSTOVERRIDE", "127.0.0.1")], &all(&["127.0.0.1"]), &["127.0.0.1"], &[]);
    }

    #[test]
    fn an_override_that_applies_to_nothing_is_told() {
        let address = &[("ICEHOSTOVERRIDE", "2001:db8::1")][..];
        check(address, &all(&["2001:db8::1"]), &["10.0.0.1"], &["rtc.enable_ipv6 is off"]);
        check(&[("ICEHOSTOVERRIDE", "192.0.2.1")], &all(&["192.0.2.1"]), &["127.0.0.1"], &["loopback addresses only"]);
        let name = &[("ICEHOSTOVERRIDE", "rtcd.example.com")][..];
        check(name, &Mapping::none(), &["10.0.0.1"], &[]);
        check(&[("ICEHOSTOVERRIDE", "0.0.0.0")], &all(&["0.0.0.0"]), &["10.0.0.1"], &["nobody can reach"]);
    }

    #[test]
    fn pairs_that_match_nothing_are_named() {
        let pairs = &[("ICEHOSTOVERRIDE", "192.0.2.1/10.0.0.1,192.0.2.2/10.0.0.2")][..];
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mapping =
            Mapping::Nat([(ip("10.0.0.1"), ip("192.0.2.1")), (ip("10.0.0.2"), ip("192.0.2.2"))].into_iter().collect());
        check(pairs, &mapping, &["10.0.0.1", "127.0.0.1"], &["192.0.2.2/10.0.0.2 matches nothing"]);
        let both = ["192.0.2.1/10.0.0.1 matches nothing", "192.0.2.2/10.0.0.2 matches nothing", "no pair matches"];
        check(pairs, &mapping, &["10.0.0.3"], &both);
    }

    #[test]
    fn private_addresses_alone_are_told_unless_something_is_set_for_them() {
        let told = |variables: &[(&str, &str)], ips: &[&str]| {
            let environment: Environment =
                variables.iter().map(|(name, value)| (format!("RTCD_RTC_{name}"), (*value).to_owned())).collect();
            let loaded = config::from_text("x".as_ref(), "", &environment).expect("valid");
            let ips: Vec<_> = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
            nobody_outside(&loaded.config.rtc, &ips).unwrap_or_default()
        };
        let plain = told(&[], &["192.168.1.5", "fd00::1", "127.0.0.1"]);
        assert!(plain.contains("rtc.ice_host_override") && !plain.contains("container"), "{plain}");
        assert!(told(&[], &["172.17.0.2"]).contains("container"));
        assert!(told(&[], &["100.64.0.1"]).contains("private"));
        for ips in [&["127.0.0.1", "::1"][..], &["10.0.0.1", "203.0.113.5"], &["fd00::1", "2001:db8::1"], &[]] {
            assert_eq!(told(&[], ips), "", "{ips:?}");
        }
        assert_eq!(told(&[("ICEHOSTOVERRIDE", "10.0.0.1")], &["10.0.0.1"]), "");
        assert_eq!(told(&[("ICESERVERS", r#"["stun:a"]"#)], &["10.0.0.1"]), "");
    }

    #[test]
    fn servers_and_ports_without_use_are_told() {
        check(&[("ICESERVERS", r#"["stuns:a"]"#)], &Mapping::none(), &["10.0.0.1"], &["cannot be asked"]);
        check(&[("ICESERVERS", r#"["stuns:a", "stun:b"]"#)], &Mapping::none(), &["10.0.0.1"], &[]);
        check(&[("ICEHOSTPORTOVERRIDE", "443")], &Mapping::none(), &["10.0.0.1"], &["has no effect"]);
        let stray = &[("ICEHOSTPORTOVERRIDE", "10.9.9.9/443"), ("ICEHOSTOVERRIDE", "192.0.2.1")][..];
        check(stray, &all(&["192.0.2.1"]), &["10.0.0.1"], &["no entry is for an address"]);
    }
}
