//! What no reader can see alone: names that lead nowhere, addresses that cannot be a machine's, routers out of reach.
use super::model::{Address, Interface, Kind, MAX_ENTRIES, Network, OnLink, Place, Route};
use super::report::Report;
use crate::mistake::Mistake;
use crate::nearest::nearest;
use crate::yaml::shown;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Checks the whole and settles what follows from it.
pub(super) fn check(network: &mut Network, report: &mut Report) {
    // Another mistake explains it.
    if network.interfaces.is_empty() && report.is_clean() {
        let hint = "to leave the network to the image write config: disabled, or leave the file out";
        report.add(Mistake::whole("names no interface", hint));
    }
    names(network, report);
    masters(network, report);
    cycles(network, report);
    let mut addresses = BTreeMap::new();
    for interface in &mut network.interfaces {
        let Interface { place, .. } = &*interface;
        let place = place.clone();
        for address in &interface.addresses {
            own_address(address, &place, report);
            if let Some(other) = addresses.insert(address.ip, place.path.clone()) {
                wrong(
                    report,
                    &place,
                    format!("has the address {}, which {other} has", address.ip),
                    "keep one of the two",
                );
            }
        }
        for list in [interface.addresses.len(), interface.routes.len(), interface.dns.len(), interface.search.len()] {
            if list > MAX_ENTRIES {
                wrong(
                    report,
                    &place,
                    format!("has more than {MAX_ENTRIES} addresses, routes or name servers"),
                    "nothing needs so many",
                );
            }
        }
        let needs_link_local = interface.dhcp6 || interface.accept_ra == Some(true);
        if needs_link_local && interface.link_local.is_some_and(|families| !families.ipv6) {
            let what = "asks for IPv6 by DHCP or router advertisements without a link-local address";
            wrong(report, &place, what, "remove link-local, or write ipv6 into it");
        }
        let mut routes = std::mem::take(&mut interface.routes);
        routes.iter_mut().for_each(|route| self::route(interface, route, report));
        interface.routes = routes;
    }
}

fn wrong(report: &mut Report, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
    report.mistake(place.mark, &place.path, what, hint);
}

/// No two interfaces are called the same or are the same card.
fn names(network: &Network, report: &mut Report) {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut cards = BTreeMap::new();
    for interface in &network.interfaces {
        let called = interface.set_name.as_deref().filter(|name| *name != interface.name);
        for name in [Some(interface.name.as_str()), called].into_iter().flatten() {
            if let Some(other) = names.insert(name, &interface.place.path) {
                wrong(
                    report,
                    &interface.place,
                    format!("is called {}, as {other} is", shown(name)),
                    "give it another name",
                );
            }
        }
        if let Kind::Card(matching) = &interface.kind
            && let Some(mac) = matching.mac
            && matching.names.is_empty()
            && matching.drivers.is_empty()
            && let Some(other) = cards.insert(mac.0, &interface.place.path)
        {
            wrong(report, &interface.place, format!("is the card {mac}, which {other} is"), "keep one of the two");
        }
    }
}

/// Members and links are there, and a member belongs to one alone.
fn masters(network: &Network, report: &mut Report) {
    let all: BTreeMap<&str, &Interface> =
        network.interfaces.iter().map(|interface| (interface.name.as_str(), interface)).collect();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for interface in &network.interfaces {
        let place = &interface.place;
        let link = if let Kind::Vlan { link, .. } = &interface.kind { Some(link) } else { None };
        for name in interface.kind.members().iter().chain(link).filter(|name| !name.is_empty()) {
            if !all.contains_key(name.as_str()) {
                let hint = match nearest(name, all.keys().copied()) {
                    Some(nearest) => format!("did you mean {nearest}?"),
                    None => format!("known are {}", all.keys().copied().collect::<Vec<_>>().join(", ")),
                };
                wrong(report, place, format!("there is no interface {}", shown(name)), hint);
            }
        }
        for name in interface.kind.members() {
            if let Some(other) = owners.insert(name, &interface.name) {
                wrong(
                    report,
                    place,
                    format!("{} belongs to {other}", shown(name)),
                    "an interface belongs to one alone",
                );
            }
            if let Some(member) = all.get(name.as_str()).filter(|member| member.has_addresses()) {
                wrong(
                    report,
                    &member.place,
                    format!("belongs to {} and has addresses of its own", interface.name),
                    format!("the addresses are those of {}", interface.name),
                );
            }
        }
        if let Kind::Bond { members, primary: Some(primary), .. } = &interface.kind
            && !members.contains(primary)
        {
            wrong(
                report,
                place,
                format!("the primary {} is no member", shown(primary)),
                "name one of the interfaces of the bond",
            );
        }
    }
}

/// Nothing runs over itself.
fn cycles(network: &Network, report: &mut Report) {
    let below = |name: &str| -> Vec<&str> {
        let found = network.interfaces.iter().find(|interface| interface.name == name);
        let link = found.and_then(|found| if let Kind::Vlan { link, .. } = &found.kind { Some(link) } else { None });
        found.into_iter().flat_map(|found| found.kind.members()).chain(link).map(String::as_str).collect()
    };
    for interface in &network.interfaces {
        let mut seen = BTreeSet::new();
        let mut open = below(&interface.name);
        while let Some(name) = open.pop() {
            if name == interface.name {
                wrong(report, &interface.place, "runs over itself", "look at its members and its link");
                break;
            }
            if seen.insert(name) {
                open.extend(below(name));
            }
        }
    }
}

fn own_address(address: &Address, place: &Place, report: &mut Report) {
    let why = match address.ip {
        ip if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() => {
            Some("cannot be the address of a machine")
        }
        IpAddr::V4(ip) if (1..31).contains(&address.prefix) => {
            let host = u32::from(ip) & (u32::MAX >> address.prefix);
            match host {
                0 => Some("is the address of the network itself"),
                host if host == u32::MAX >> address.prefix => Some("is the broadcast address of the network"),
                _ => None,
            }
        }
        _ if address.prefix == 0 => Some("says that its network is the whole world"),
        _ => None,
    };
    if let Some(why) = why {
        wrong(
            report,
            place,
            format!("{address} {why}"),
            "give it the address of this machine and the length of its network's prefix",
        );
    }
}

fn route(interface: &Interface, route: &mut Route, report: &mut Report) {
    route.to = masked(route.to);
    let Some(via) = route.via else {
        if route.to.prefix == 0 && !route.options.iter().any(|(key, _)| *key == "Type") {
            wrong(report, &route.place, "has no router", "a route to everywhere needs one");
        }
        route.on_link = OnLink::Said(false);
        return;
    };
    if via.is_ipv4() != route.to.ip.is_ipv4() {
        return wrong(
            report,
            &route.place,
            format!("{via} is of another family than {}", route.to),
            "a router is of the family of its route",
        );
    }
    if via.is_unspecified() || via.is_loopback() || via.is_multicast() {
        return wrong(report, &route.place, format!("{via} cannot be the address of a router"), "");
    }
    if interface.addresses.iter().any(|own| own.ip == via) {
        return wrong(report, &route.place, format!("{via} is the machine's own address"), "name the router");
    }
    let is_link_local = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    let asked = if via.is_ipv4() { interface.dhcp4 } else { interface.dhcp6 || interface.accept_ra != Some(false) };
    let near = is_link_local || interface.addresses.iter().any(|own| own.contains(via));
    match route.on_link {
        OnLink::Said(false) if !near && !asked => {
            wrong(
                report,
                &route.place,
                format!("{via} is in none of the networks of the interface"),
                "look at the prefix of its address, or say on-link: true",
            );
        }
        OnLink::Said(_) => {}
        OnLink::ByAddresses => route.on_link = OnLink::Said(!(near || asked && interface.addresses.is_empty())),
    }
}

/// The kernel refuses a destination with bits of a host in it.
fn masked(to: Address) -> Address {
    let ip = match to.ip {
        IpAddr::V4(ip) => IpAddr::from(
            (u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(to.prefix.min(32))).unwrap_or(0)).to_be_bytes(),
        ),
        IpAddr::V6(ip) => IpAddr::from(
            (u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(to.prefix.min(128))).unwrap_or(0)).to_be_bytes(),
        ),
    };
    Address { ip, ..to }
}
