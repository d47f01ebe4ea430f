//! The parts of version 2 that all kinds of interfaces share: addresses, routes, name servers, DHCP.
use super::super::field::Field;
use super::super::model::{Address, Interface, LinkLocal, OnLink, Options, Place, Route};
use super::super::report::Report;
use super::everywhere;
use crate::yaml::Value;

/// All keys that [`common`] takes, for suggestions: of two that are as like the later one is suggested.
pub(super) const COMMON: &[&str] = &[
    "dhcp6",
    "dhcp4",
    "dhcp4-overrides",
    "dhcp6-overrides",
    "accept-ra",
    "addresses",
    "gateway4",
    "gateway6",
    "nameservers",
    "routes",
    "mtu",
    "macaddress",
    "optional",
    "link-local",
    "wakeonlan",
    "critical",
    "dhcp-identifier",
    "ipv6-privacy",
    "optional-addresses",
    "activation-mode",
    "ignore-carrier",
    "emit-lldp",
    "ipv6-mtu",
    "renderer",
];
/// What is asked for and cannot be had.
const REFUSED: [(&str, &str); 6] = [
    ("routing-policy", "there is one routing table; remove it"),
    ("auth", "the machine does not log in to a network; remove it"),
    ("openvswitch", "Open vSwitch is not here; remove it"),
    ("ipv6-address-token", "give the whole address in addresses"),
    ("ipv6-address-generation", "addresses are made from the card's own; remove it"),
    ("embedded-switch-mode", "the host shares the card out; remove it"),
];
const ROUTE: [&str; 8] = ["to", "via", "metric", "on-link", "mtu", "from", "type", "scope"];
/// Keys of the overrides, networkd's key, and whether it is a number.
const OVERRIDES: [(&str, &str, bool); 8] = [
    ("use-dns", "UseDNS", false),
    ("use-ntp", "UseNTP", false),
    ("use-domains", "UseDomains", false),
    ("use-routes", "UseRoutes", false),
    ("use-mtu", "UseMTU", false),
    ("send-hostname", "SendHostname", false),
    ("route-metric", "RouteMetric", true),
    ("use-hostname", "", false),
];

/// Whether the key is one of those that all kinds share.
pub(super) fn common(interface: &mut Interface, key: &str, value: &Field<'_>, report: &mut Report) -> bool {
    match key {
        "dhcp4" => interface.dhcp4 = report.flag(value).unwrap_or_default(),
        "dhcp6" => interface.dhcp6 = report.flag(value).unwrap_or_default(),
        "dhcp4-overrides" => interface.dhcp4_options = overrides(value, true, report),
        "dhcp6-overrides" => interface.dhcp6_options = overrides(value, false, report),
        "accept-ra" => interface.accept_ra = report.flag(value),
        "addresses" => addresses(interface, value, report),
        "gateway4" | "gateway6" => gateway(interface, key, value, report),
        "nameservers" => nameservers(interface, value, report),
        "routes" => {
            let routes = report.list(value);
            for item in report.bounded(value, routes) {
                interface.routes.extend(route(&item, report));
            }
        }
        "mtu" => interface.mtu = report.mtu(value),
        "macaddress" => interface.mac = report.mac(value),
        "optional" => interface.optional = report.flag(value).unwrap_or_default(),
        "link-local" => {
            let words = report.words(value);
            let has = |family: &str| words.iter().any(|(word, _)| *word == family);
            interface.link_local = Some(LinkLocal { ipv4: has("ipv4"), ipv6: has("ipv6") });
            for (word, at) in words.iter().filter(|(word, _)| !["ipv4", "ipv6"].contains(word)) {
                report.none_of(at, word, &["ipv4", "ipv6"]);
            }
        }
        "wakeonlan" | "critical" | "dhcp-identifier" | "ipv6-privacy" | "optional-addresses" | "activation-mode"
        | "ignore-carrier" | "emit-lldp" | "ipv6-mtu" | "renderer" => {
            report.notice(value, "is ignored", "it changes nothing on this machine")
        }
        _ => match REFUSED.iter().find(|(name, _)| *name == key) {
            Some((_, instead)) => report.wrong(value, "is not supported", *instead),
            None => return false,
        },
    }
    true
}

/// Texts, or mappings with labels and lifetimes, which networkd is not told.
fn addresses(interface: &mut Interface, field: &Field<'_>, report: &mut Report) {
    if field.node.is_empty() {
        return;
    }
    let items = report.list(field);
    for item in report.bounded(field, items) {
        let word = match &item.node.value {
            Value::Mapping(entries) => match entries.as_slice() {
                [only] => {
                    report.notice(&item, "label and lifetime are ignored", "the address stays");
                    Some(only.key.as_str())
                }
                _ => {
                    report.wrong(&item, "is no address", "write it like 192.0.2.7/24");
                    None
                }
            },
            _ => report.word(&item),
        };
        interface.addresses.extend(word.and_then(|word| report.address(&item, word, None)));
    }
}

/// What netplan calls deprecated and everybody still writes.
fn gateway(interface: &mut Interface, key: &str, value: &Field<'_>, report: &mut Report) {
    let Some(ip) = report.ip(value) else { return };
    if ip.is_ipv4() != (key == "gateway4") {
        let other = if key == "gateway4" { "gateway6" } else { "gateway4" };
        return report.wrong(value, "is of the other family", format!("write {other}"));
    }
    let place = Place { mark: value.mark, path: value.path.clone() };
    let (to, options) = (everywhere(ip), Options::new());
    interface.routes.push(Route { place, to, via: Some(ip), on_link: OnLink::ByAddresses, metric: None, options });
}

fn nameservers(interface: &mut Interface, field: &Field<'_>, report: &mut Report) {
    for (entry, value) in report.section(field) {
        match entry.key.as_str() {
            "addresses" => interface.dns = report.ips(&value),
            "search" => interface.search = report.domains(&value),
            _ => report.unknown(entry, &value.path, &["addresses", "search"]),
        }
    }
}

fn route(item: &Field<'_>, report: &mut Report) -> Option<Route> {
    let place = Place { mark: item.mark, path: item.path.clone() };
    let (mut to, mut via, mut metric, mut on_link) = (None, None, None, false);
    let mut options = Options::new();
    for (entry, field) in report.section(item) {
        match entry.key.as_str() {
            "to" => to = report.destination(&field, None).map(|to| (to, field)),
            "via" => via = report.ip(&field),
            "metric" => metric = report.number(&field, 0..=u32::MAX),
            "on-link" => on_link = report.flag(&field).unwrap_or_default(),
            "mtu" => options.extend(report.mtu(&field).map(|mtu| ("MTUBytes", mtu.to_string()))),
            "from" => options.extend(report.ip(&field).map(|ip| ("PreferredSource", ip.to_string()))),
            "type" => options.extend(one_of(
                &field,
                "Type",
                &["unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit"],
                report,
            )),
            "scope" => options.extend(one_of(&field, "Scope", &["global", "link", "host"], report)),
            "table" => report.wrong(&field, "is not supported", "there is one routing table; remove it"),
            _ => report.unknown(entry, &field.path, &ROUTE),
        }
    }
    if item.get("to").is_none() {
        report.wrong(item, "has no destination", "write to: default, or to: 10.0.0.0/8");
    }
    let to: Address = match (to?, via) {
        ((Some(to), _), _) => to,
        ((None, _), Some(via)) => everywhere(via),
        ((None, _), None) => {
            report.wrong(item, "has no router", "a route to everywhere needs one: via: 192.0.2.1");
            return None;
        }
    };
    Some(Route { place, to, via, on_link: OnLink::Said(on_link), metric, options })
}

fn one_of(field: &Field<'_>, key: &'static str, known: &[&str], report: &mut Report) -> Option<(&'static str, String)> {
    let word = report.word(field)?;
    if known.contains(&word) {
        return Some((key, word.to_owned()));
    }
    report.none_of(field, word, known);
    None
}

fn overrides(field: &Field<'_>, v4: bool, report: &mut Report) -> Options {
    let mut options = Options::new();
    for (entry, value) in report.section(field) {
        let Some((name, key, is_number)) = OVERRIDES.iter().find(|(name, ..)| *name == entry.key) else {
            let known: Vec<_> = OVERRIDES.iter().map(|(name, ..)| *name).collect();
            report.unknown(entry, &value.path, &known);
            continue;
        };
        if *name == "use-hostname" {
            report.notice(&value, "is ignored", "the name is that of the user data or the metadata");
        } else if !v4 && ["use-mtu", "use-routes", "route-metric"].contains(name) {
            report.notice(&value, "is ignored", "with IPv6 this comes by router advertisements");
        } else if *is_number {
            options.extend(report.number(&value, 0..=u32::MAX).map(|number| (*key, number.to_string())));
        } else if *name == "use-domains" && matches!(&value.node.value, Value::Scalar(word, _) if word == "route") {
            options.push((key, "route".to_owned()));
        } else {
            options.extend(report.flag(&value).map(|flag| (*key, if flag { "yes" } else { "no" }.to_owned())));
        }
    }
    options
}
