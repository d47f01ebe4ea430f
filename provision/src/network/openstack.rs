//! OpenStack's `network_data.json`: links, the networks on them, services. A program writes it, and clouds put in fields of
//! their own: what is not known is left aside with a notice.
use super::field::{self, Field};
use super::model::{Address, Interface, Kind, MAX_INTERFACES, Match, Network, OnLink, Options, Place, Route};
use super::options;
use super::report::Report;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Kinds of links that are a network card to the machine, whatever they are to the host.
const CARDS: [&str; 15] = [
    "phy",
    "physical",
    "ethernet",
    "ovs",
    "vif",
    "bridge",
    "tap",
    "vhostuser",
    "hw_veb",
    "hostdev_physical",
    "dvs",
    "cascading",
    "macvtap",
    "hyperv",
    "vrouter",
];

/// Reads a whole document; `None` when there is nothing in it.
pub(super) fn read(root: &crate::yaml::Node, report: &mut Report) -> Option<Network> {
    let root = Field::root(root);
    for (entry, field) in report.section(&root) {
        if !["links", "networks", "services"].contains(&entry.key.as_str()) {
            report.notice(&field, "is not known", "it is left aside");
        }
    }
    let mut network = Network::default();
    // Links by their ids, which nobody else sees; a card has a name only where the document gives one.
    let mut names = BTreeMap::new();
    for link in list(&root, "links", report) {
        if network.interfaces.len() == MAX_INTERFACES {
            report.wrong(&link, format!("is more than {MAX_INTERFACES} interfaces"), "no machine has so many");
            break;
        }
        let number = network.interfaces.len();
        let Some(id) = link.get("id").and_then(|field| report.word(&field)) else {
            report.wrong(&link, "has no id", "write the drive again");
            continue;
        };
        if let Some(interface) = self::link(&link, number, report) {
            if names.insert(id.to_owned(), number).is_some() {
                report.wrong(&link, "has the id of another link", "write the drive again");
            }
            network.interfaces.push(interface);
        }
    }
    rename(&mut network, &names, report);
    for item in list(&root, "networks", report) {
        let Some(link) = item.get("link") else {
            report.wrong(&item, "has no link", "write the drive again");
            continue;
        };
        let Some(id) = report.word(&link) else { continue };
        match names.get(id).and_then(|number| network.interfaces.get_mut(*number)) {
            Some(interface) => on_link(interface, &item, report),
            None => report.wrong(&link, "is no link of this document", "write the drive again"),
        }
    }
    for service in list(&root, "services", report) {
        let dns = service_address(&service, report);
        for interface in network.interfaces.iter_mut().filter(|interface| interface.has_addresses()) {
            interface.dns.extend(dns.filter(|dns| !interface.dns.contains(dns)));
        }
    }
    (!network.interfaces.is_empty()).then_some(network)
}

fn list<'a>(root: &Field<'a>, key: &str, report: &mut Report) -> Vec<Field<'a>> {
    match root.get(key).filter(|field| !field.node.is_empty()) {
        Some(field) => report.list(&field),
        None => Vec::new(),
    }
}

fn link(item: &Field<'_>, number: usize, report: &mut Report) -> Option<Interface> {
    let kind = item.get("type").and_then(|field| report.word(&field)).unwrap_or("phy");
    let get = |key: &str| item.get(key).filter(|field| !field.node.is_empty());
    let mac = get("ethernet_mac_address").or_else(|| get("vlan_mac_address"));
    let mac = mac.and_then(|field| report.mac(&field));
    let place = Place { mark: item.mark, path: item.path.clone() };
    let words = |key: &str, report: &mut Report| -> Vec<String> {
        get(key)
            .map(|field| report.words(&field).into_iter().map(|(word, _)| word.to_owned()).collect())
            .unwrap_or_default()
    };
    let of_kind = match kind {
        "bond" => {
            let mut options = Options::new();
            for (key, name) in
                [("bond_mode", "mode"), ("bond_miimon", "miimon"), ("bond_xmit_hash_policy", "xmit-hash-policy")]
            {
                options.extend(get(key).map(|field| options::bond_word(name, &field, report)).unwrap_or_default());
            }
            Kind::Bond { members: words("bond_links", report), primary: None, options }
        }
        "vlan" => {
            let link = get("vlan_link").and_then(|field| report.word(&field)).map(str::to_owned);
            let id = get("vlan_id").and_then(|field| report.number(&field, options::VLAN_IDS));
            let (Some(link), Some(id)) = (link, id) else {
                report.wrong(item, "is a VLAN without a link or a number", "write the drive again");
                return None;
            };
            Kind::Vlan { link, id: u16::try_from(id).unwrap_or_default() }
        }
        kind if CARDS.contains(&kind) => {
            if mac.is_none() {
                report.wrong(item, "has no ethernet_mac_address", "a card is told by it");
                return None;
            }
            Kind::Card(Match { mac, ..Match::default() })
        }
        kind => {
            report.notice(
                item,
                format!("is a link of a kind that is not known, {}", crate::yaml::shown(kind)),
                "it is taken for a card",
            );
            mac?;
            Kind::Card(Match { mac, ..Match::default() })
        }
    };
    let name = match &of_kind {
        Kind::Bond { .. } => format!("bond{number}"),
        Kind::Vlan { id, .. } => format!("vlan{id}"),
        Kind::Card(_) | Kind::Bridge { .. } => format!("nic{number}"),
    };
    let mut interface = Interface::new(name, place, of_kind);
    interface.mtu = get("mtu").and_then(|field| report.mtu(&field));
    if !matches!(interface.kind, Kind::Card(_)) {
        interface.mac = mac;
    }
    // Ironic and some clouds say how the card shall be called.
    if let Some(name) = get("name").and_then(|field| report.word(&field)).filter(|name| field::check_name(name).is_ok())
    {
        if matches!(interface.kind, Kind::Card(_)) {
            interface.set_name = Some(name.to_owned());
        } else {
            interface.name = name.to_owned();
        }
    }
    Some(interface)
}

/// Members and links are said by id.
fn rename(network: &mut Network, names: &BTreeMap<String, usize>, report: &mut Report) {
    let called: Vec<_> = network.interfaces.iter().map(|interface| interface.name.clone()).collect();
    for interface in &mut network.interfaces {
        let place = &interface.place;
        let mut rename = |id: &mut String| match names.get(id.as_str()).and_then(|number| called.get(*number)) {
            Some(name) => *id = name.clone(),
            None => report.mistake(
                place.mark,
                &place.path,
                "names a link that is not in this document",
                "write the drive again",
            ),
        };
        match &mut interface.kind {
            Kind::Bond { members, .. } | Kind::Bridge { members, .. } => members.iter_mut().for_each(rename),
            Kind::Vlan { link, .. } => rename(link),
            Kind::Card(_) => {}
        }
    }
}

/// A network on a link.
fn on_link(interface: &mut Interface, item: &Field<'_>, report: &mut Report) {
    let get = |key: &str| item.get(key).filter(|field| !field.node.is_empty());
    let Some(kind_field) = get("type") else {
        return report.wrong(item, "has no type", "write the drive again");
    };
    match report.word(&kind_field) {
        Some("ipv4" | "ipv6") => {
            if let Some(field) = get("ip_address")
                && let Some(word) = report.word(&field)
            {
                interface.addresses.extend(report.address(&field, word, get("netmask").as_ref()));
            } else {
                report.wrong(item, "has no ip_address", "write the drive again");
            }
        }
        Some("ipv4_dhcp" | "dhcp4") => interface.dhcp4 = true,
        Some("ipv6_dhcp" | "dhcp6" | "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless") => {
            (interface.dhcp6, interface.accept_ra) = (true, Some(true));
        }
        Some("ipv6_slaac") => interface.accept_ra = Some(true),
        Some(word) => {
            let known = [
                "ipv4",
                "ipv4_dhcp",
                "ipv6",
                "ipv6_dhcp",
                "ipv6_slaac",
                "ipv6_dhcpv6-stateful",
                "ipv6_dhcpv6-stateless",
            ];
            report.none_of(&kind_field, word, &known);
        }
        None => {}
    }
    if let Some(field) = get("gateway")
        && let Some(ip) = report.ip(&field)
    {
        let place = Place { mark: field.mark, path: field.path };
        let to = Address { ip: if ip.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0_u8; 16]) }, prefix: 0 };
        interface.routes.push(Route {
            place,
            to,
            via: Some(ip),
            on_link: OnLink::ByAddresses,
            metric: None,
            options: Vec::new(),
        });
    }
    if let Some(field) = get("dns_nameservers") {
        interface.dns.extend(report.ips(&field));
    }
    for service in list(item, "services", report) {
        let dns = service_address(&service, report);
        interface.dns.extend(dns.filter(|dns| !interface.dns.contains(dns)));
    }
    let routes = list(item, "routes", report);
    for route in report.bounded(item, routes) {
        let get = |key: &str| route.get(key).filter(|field| !field.node.is_empty());
        let (Some(network), gateway) = (get("network"), get("gateway")) else {
            report.wrong(&route, "has no network", "write the drive again");
            continue;
        };
        let to = report.destination(&network, get("netmask").as_ref());
        let via = gateway.and_then(|field| report.ip(&field));
        if let Some(Some(to)) = to {
            let place = Place { mark: route.mark, path: route.path.clone() };
            interface.routes.push(Route {
                place,
                to,
                via,
                on_link: OnLink::ByAddresses,
                metric: None,
                options: Vec::new(),
            });
        }
    }
}

/// The address of a name server.
fn service_address(item: &Field<'_>, report: &mut Report) -> Option<IpAddr> {
    let kind = item.get("type").and_then(|field| report.word(&field))?;
    if kind != "dns" {
        report.notice(item, "is a service that is not known", "it is left aside");
        return None;
    }
    item.get("address").and_then(|field| report.ip(&field))
}
