//! Version 1: a list of interfaces, each with its subnets; name servers and routes may stand beside them.
use super::super::field::Field;
use super::super::model::{Interface, Kind, MAX_INTERFACES, Match, Network, Place};
use super::super::options;
use super::super::report::Report;
use super::v1_parts::{self, Servers};

/// What an entry of `config` can be.
const TYPES: [&str; 6] = ["physical", "bond", "bridge", "vlan", "nameserver", "route"];
/// What cloud-init knows beside.
const OTHER_TYPES: [&str; 2] = ["loopback", "infiniband"];
/// Keys of every interface.
const COMMON: [&str; 8] =
    ["type", "name", "mac_address", "mtu", "subnets", "accept-ra", "optional", "keep_configuration"];

/// Reads `version` and `config`.
pub(super) fn read(root: &Field<'_>, report: &mut Report) -> Option<Network> {
    for (entry, field) in report.section(root) {
        if !["version", "config"].contains(&entry.key.as_str()) {
            report.unknown(entry, &field.path, &["version", "config"]);
        }
    }
    let Some(config) = root.get("config") else {
        report.wrong(root, "has no config", "version 1 has a list of interfaces there");
        return None;
    };
    let mut network = Network::default();
    let mut servers = Vec::new();
    let mut routes = Vec::new();
    for item in report.list(&config) {
        if network.interfaces.len() == MAX_INTERFACES {
            report.wrong(&config, format!("has more than {MAX_INTERFACES} interfaces"), "no machine has so many");
            break;
        }
        if report.section(&item).is_empty() {
            continue;
        }
        let Some(kind) = item.get("type") else {
            report.wrong(&item, "has no type", format!("allowed: {}", TYPES.join(", ")));
            continue;
        };
        match report.word(&kind) {
            Some("nameserver") => servers.extend(v1_parts::servers(&item, report)),
            Some("route") => routes.extend(v1_parts::route(&item, report)),
            Some("loopback") => report.notice(&item, "is ignored", "the loopback interface is always there"),
            Some(word) if TYPES.contains(&word) => network.interfaces.extend(interface(word, &item, report)),
            Some(word) if OTHER_TYPES.contains(&word) => {
                report.wrong(&kind, "is not supported", format!("allowed: {}", TYPES.join(", ")));
            }
            Some(word) => report.none_of(&kind, word, &TYPES),
            None => {}
        }
    }
    share(&mut network, servers, report);
    for route in routes {
        let via = route.via;
        let reaches =
            |interface: &&mut Interface| via.is_some_and(|via| interface.addresses.iter().any(|own| own.contains(via)));
        match network.interfaces.iter_mut().find(reaches) {
            Some(interface) => interface.routes.push(route),
            None => {
                let hint =
                    "give its gateway an address of the same network, or put the route below the interface's subnet";
                report.mistake(route.place.mark, &route.place.path, "no interface reaches the gateway", hint);
            }
        }
    }
    Some(network)
}

fn interface(kind: &str, item: &Field<'_>, report: &mut Report) -> Option<Interface> {
    let own: &[&str] = match kind {
        "bond" => &["bond_interfaces", "params"],
        "bridge" => &["bridge_interfaces", "params"],
        "vlan" => &["vlan_link", "vlan_id"],
        _ => &["wakeonlan", "driver"],
    };
    let Some(name_field) = item.get("name") else {
        report.wrong(item, "has no name", "an interface of version 1 has one");
        return None;
    };
    let name = report.interface_name(&name_field)?;
    let place = Place { mark: name_field.mark, path: item.path.clone() };
    let mut interface = Interface::new(name.clone(), place, Kind::Card(Match::default()));
    let mut mac = None;
    let (mut members, mut params, mut link, mut id) = (Vec::new(), None, None, None);
    for (entry, field) in report.section(item) {
        match entry.key.as_str() {
            "type" | "name" => {}
            "mac_address" => mac = report.mac(&field),
            "mtu" => interface.mtu = if field.node.is_empty() { None } else { report.mtu(&field) },
            "accept-ra" => interface.accept_ra = report.flag(&field),
            "optional" => interface.optional = report.flag(&field).unwrap_or_default(),
            "subnets" => v1_parts::subnets(&mut interface, &field, report),
            "keep_configuration" | "wakeonlan" | "driver"
                if own.contains(&entry.key.as_str()) || entry.key == "keep_configuration" =>
            {
                report.notice(&field, "is ignored", "it changes nothing on this machine");
            }
            "bond_interfaces" | "bridge_interfaces" if own.contains(&entry.key.as_str()) => {
                members = report.words(&field).into_iter().map(|(word, _)| word.to_owned()).collect();
            }
            "params" if own.contains(&"params") => params = Some(field),
            "vlan_link" if kind == "vlan" => link = report.word(&field).map(str::to_owned),
            "vlan_id" if kind == "vlan" => id = report.number(&field, options::VLAN_IDS),
            _ => report.unknown(entry, &field.path, &[&COMMON, own].concat()),
        }
    }
    match kind {
        "bond" => {
            let (options, primary) = params.map(|params| options::bond(&params, report)).unwrap_or_default();
            interface.kind = Kind::Bond { members, primary, options };
        }
        "bridge" => {
            let options = params.map(|params| options::bridge(&params, report)).unwrap_or_default();
            interface.kind = Kind::Bridge { members, options };
        }
        "vlan" => {
            for (value, key) in [(link.is_some(), "vlan_link"), (id.is_some(), "vlan_id")] {
                if !value && item.get(key).is_none() {
                    report.wrong(
                        item,
                        format!("has no {key}"),
                        "a VLAN has an interface that it runs over, and a number",
                    );
                }
            }
            interface.kind = Kind::Vlan { link: link?, id: u16::try_from(id?).unwrap_or_default() };
        }
        _ => {
            // A card with an address of its own is told by that, and the name is what it shall be called.
            interface.set_name = mac.is_some().then(|| name.clone());
            let names = if mac.is_some() { Vec::new() } else { vec![name] };
            interface.kind = Kind::Card(Match { mac, names, drivers: Vec::new() });
            return Some(interface);
        }
    }
    interface.mac = mac;
    Some(interface)
}

/// Name servers beside the interfaces are everybody's, unless they name one.
fn share(network: &mut Network, servers: Vec<Servers>, report: &mut Report) {
    for servers in servers {
        let mut used = false;
        for interface in &mut network.interfaces {
            let meant = servers.interface.as_ref().map_or(interface.has_addresses(), |name| *name == interface.name);
            if meant {
                interface.dns.extend(
                    servers.addresses.iter().filter(|ip| !interface.dns.contains(ip)).copied().collect::<Vec<_>>(),
                );
                interface.search.extend(
                    servers.search.iter().filter(|name| !interface.search.contains(name)).cloned().collect::<Vec<_>>(),
                );
                used = true;
            }
        }
        if let (false, Some(name)) = (used, &servers.interface) {
            report.mistake(
                servers.place.mark,
                &servers.place.path,
                format!("there is no interface {name}"),
                "name one of this list, or none",
            );
        }
    }
}
