//! The parts of version 1: subnets with their routes, name servers, routes beside the interfaces.
use super::super::field::Field;
use super::super::model::{Address, Interface, MAX_ENTRIES, OnLink, Options, Place, Route};
use super::super::report::Report;
use super::everywhere;
use std::net::IpAddr;

/// What a subnet can be.
const TYPES: [&str; 10] = [
    "dhcp",
    "dhcp4",
    "dhcp6",
    "static",
    "static6",
    "manual",
    "ipv6_slaac",
    "ipv6_dhcpv6-stateful",
    "ipv6_dhcpv6-stateless",
    "dhcp4+dhcp6",
];
const SUBNET: [&str; 13] = [
    "type",
    "address",
    "netmask",
    "gateway",
    "dns_nameservers",
    "dns_search",
    "routes",
    "metric",
    "control",
    "broadcast",
    "ipv4",
    "ipv6",
    "mtu",
];
const ROUTE: [&str; 7] = ["type", "destination", "network", "netmask", "gateway", "metric", "mtu"];

/// A `nameserver` of the list.
pub(super) struct Servers {
    pub place: Place,
    /// Whose they are; everybody's without.
    pub interface: Option<String>,
    pub addresses: Vec<IpAddr>,
    pub search: Vec<String>,
}

pub(super) fn servers(item: &Field<'_>, report: &mut Report) -> Option<Servers> {
    let place = Place { mark: item.mark, path: item.path.clone() };
    let mut servers = Servers { place, interface: None, addresses: Vec::new(), search: Vec::new() };
    for (entry, field) in report.section(item) {
        match entry.key.as_str() {
            "type" => {}
            "address" => servers.addresses = report.ips(&field),
            "search" => servers.search = report.domains(&field),
            "interface" => servers.interface = report.word(&field).map(str::to_owned),
            _ => report.unknown(entry, &field.path, &["type", "address", "search", "interface"]),
        }
    }
    Some(servers)
}

pub(super) fn subnets(interface: &mut Interface, field: &Field<'_>, report: &mut Report) {
    let subnets = report.list(field);
    for subnet in report.bounded(field, subnets) {
        read_subnet(interface, &subnet, report);
    }
}

fn read_subnet(interface: &mut Interface, subnet: &Field<'_>, report: &mut Report) {
    let Some(kind_field) = subnet.get("type") else {
        if !report.section(subnet).is_empty() {
            report.wrong(subnet, "has no type", format!("allowed: {}", TYPES.join(", ")));
        }
        return;
    };
    let Some(kind) = report.word(&kind_field) else { return };
    let mut fixed = false;
    match kind {
        // Hetzner says of which family it is.
        "dhcp" if flag(subnet, "ipv6", report) == Some(true) && flag(subnet, "ipv4", report) != Some(true) => {
            interface.dhcp6 = true
        }
        "dhcp" | "dhcp4" => interface.dhcp4 = true,
        "dhcp4+dhcp6" => (interface.dhcp4, interface.dhcp6) = (true, true),
        "dhcp6" => interface.dhcp6 = true,
        "ipv6_slaac" => interface.accept_ra = Some(true),
        "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless" => (interface.dhcp6, interface.accept_ra) = (true, Some(true)),
        "static" | "static6" => fixed = true,
        "manual" => {}
        word => report.none_of(&kind_field, word, &TYPES),
    }
    let mut gateway = None;
    let mut metric = None;
    for (entry, field) in report.section(subnet) {
        match entry.key.as_str() {
            "type" | "netmask" | "ipv4" | "ipv6" | "address" => {}
            "gateway" if field.node.is_empty() => {}
            "gateway" => gateway = report.ip(&field).map(|ip| (ip, field)),
            "dns_nameservers" => interface.dns.extend(report.ips(&field)),
            "dns_search" => interface.search.extend(report.domains(&field)),
            "mtu" => interface.mtu = report.mtu(&field).or(interface.mtu),
            "metric" => metric = report.number(&field, 0..=u32::MAX),
            "routes" => {
                let routes = report.list(&field);
                for route in report.bounded(&field, routes) {
                    interface.routes.extend(self::route(&route, report));
                }
            }
            "control" => match report.word(&field) {
                Some("manual" | "hotplug") => interface.optional = true,
                Some("auto") | None => {}
                Some(word) => report.none_of(&field, word, &["auto", "manual", "hotplug"]),
            },
            "broadcast" => report.notice(&field, "is ignored", "it follows from the address"),
            _ => report.unknown(entry, &field.path, &SUBNET),
        }
    }
    if !fixed
        && kind != "manual"
        && let Some(metric) = metric
    {
        interface.dhcp4_options.push(("RouteMetric", metric.to_string()));
    }
    if fixed {
        match subnet.get("address") {
            Some(field) => {
                let netmask = subnet.get("netmask").filter(|netmask| !netmask.node.is_empty());
                let word = report.word(&field);
                let address = word.and_then(|word| report.address(&field, word, netmask.as_ref()));
                interface.addresses.extend(address);
            }
            None => report.wrong(subnet, "has no address", "a static subnet has one: address: 192.0.2.7/24"),
        }
    } else if kind != "manual"
        && let Some(field) = subnet.get("address")
    {
        report.notice(&field, "is ignored", format!("addresses of type {kind} come from the network"));
    }
    if let Some((ip, field)) = gateway {
        interface.routes.push(Route {
            place: Place { mark: field.mark, path: field.path },
            to: everywhere(ip),
            via: Some(ip),
            on_link: OnLink::ByAddresses,
            metric,
            options: Options::new(),
        });
    }
    interface.dns.truncate(MAX_ENTRIES);
    interface.search.truncate(MAX_ENTRIES);
}

fn flag(subnet: &Field<'_>, key: &str, report: &mut Report) -> Option<bool> {
    subnet.get(key).and_then(|field| report.flag(&field))
}

/// A route of a subnet, or one beside the interfaces: they differ in what the destination is called.
pub(super) fn route(item: &Field<'_>, report: &mut Report) -> Option<Route> {
    let place = Place { mark: item.mark, path: item.path.clone() };
    let (mut via, mut metric, mut options) = (None, None, Options::new());
    for (entry, field) in report.section(item) {
        match entry.key.as_str() {
            "type" | "destination" | "network" | "netmask" => {}
            "gateway" => via = report.ip(&field),
            "metric" => metric = report.number(&field, 0..=u32::MAX),
            "mtu" => options.extend(report.mtu(&field).map(|mtu| ("MTUBytes", mtu.to_string()))),
            _ => report.unknown(entry, &field.path, &ROUTE),
        }
    }
    let Some(destination) = item.get("destination").or(item.get("network")) else {
        report.wrong(item, "has no destination", "write destination: 10.0.0.0/8 and gateway: 192.0.2.1");
        return None;
    };
    let netmask = item.get("netmask").filter(|netmask| !netmask.node.is_empty());
    let to = report.destination(&destination, netmask.as_ref())?;
    let to = match (to, via) {
        (Some(to), _) => to,
        (None, Some(via)) => everywhere(via),
        (None, None) => {
            report.wrong(item, "has no gateway", "a route to everywhere needs one");
            return None;
        }
    };
    Some(Route { place, to: Address { ..to }, via, on_link: OnLink::ByAddresses, metric, options })
}
