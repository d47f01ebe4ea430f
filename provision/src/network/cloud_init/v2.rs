//! Version 2: netplan's form. Interfaces stand in a section for each kind, below an id that others call them by.
use super::super::field::Field;
use super::super::model::{Interface, Kind, MAX_INTERFACES, Match, Network, Place};
use super::super::options;
use super::super::report::Report;
use super::v2_parts;
use crate::yaml::Entry;

const SECTIONS: [&str; 6] = ["version", "renderer", "ethernets", "bonds", "bridges", "vlans"];
/// What netplan knows beside, and what is to be said of it.
const OTHER_SECTIONS: [(&str, &str); 9] = [
    ("wifis", "the machine has no wireless card; remove it"),
    ("tunnels", "there are no tunnels on this machine; remove it"),
    ("vrfs", "there is one routing table; remove it"),
    ("modems", "the machine has no modem; remove it"),
    ("dummy-devices", "nothing here uses them; remove it"),
    ("virtual-ethernets", "nothing here uses them; remove it"),
    ("nm-devices", "NetworkManager is not here; write ethernets, bonds, bridges or vlans"),
    ("openvswitch", "Open vSwitch is not here; remove it"),
    ("sriov", "the host shares the card out; remove it"),
];

/// Reads all sections.
pub(super) fn read(root: &Field<'_>, report: &mut Report) -> Option<Network> {
    let mut network = Network::default();
    for (entry, section) in report.section(root) {
        match entry.key.as_str() {
            "version" => {}
            "renderer" => match report.word(&section) {
                Some("networkd") | None => {}
                Some(_) => report.notice(&section, "is ignored", "systemd-networkd is what is here"),
            },
            "ethernets" | "bonds" | "bridges" | "vlans" => {
                if section.node.is_empty() {
                    continue;
                }
                for (id, field) in report.section(&section) {
                    if network.interfaces.len() == MAX_INTERFACES {
                        report.wrong(
                            &section,
                            format!("has more than {MAX_INTERFACES} interfaces"),
                            "no machine has so many",
                        );
                        return Some(network);
                    }
                    network.interfaces.extend(interface(&entry.key, id, &field, report));
                }
            }
            key => match OTHER_SECTIONS.iter().find(|(name, _)| *name == key) {
                Some((_, instead)) => report.mistake(entry.mark, &section.path, "is not supported", *instead),
                None => report.unknown(entry, &section.path, &SECTIONS),
            },
        }
    }
    Some(network)
}

fn interface(section: &str, id: &Entry, field: &Field<'_>, report: &mut Report) -> Option<Interface> {
    let place = Place { mark: id.mark, path: field.path.clone() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if id.key.len() > 64 || !id.key.chars().all(plain) {
        report.mistake(
            id.mark,
            &field.path,
            "is no id",
            "allowed: at most 64 letters, digits, dots, hyphens and underscores",
        );
        return None;
    }
    let kind = match section {
        "ethernets" => Kind::Card(Match::default()),
        "bonds" => Kind::Bond { members: Vec::new(), primary: None, options: Vec::new() },
        "bridges" => Kind::Bridge { members: Vec::new(), options: Vec::new() },
        _ => Kind::Vlan { link: String::new(), id: 0 },
    };
    let mut interface = Interface::new(id.key.clone(), place, kind);
    // `eth0: {}` is an interface of that name that is up.
    if !field.node.is_empty() {
        for (entry, value) in report.section(field) {
            if !own(&mut interface, &entry.key, &value, report)
                && !v2_parts::common(&mut interface, &entry.key, &value, report)
            {
                report.unknown(entry, &value.path, &[v2_parts::COMMON, own_keys(section)].concat());
            }
        }
    }
    finish(&mut interface, section, id, field, report);
    Some(interface)
}

fn own_keys(section: &str) -> &'static [&'static str] {
    match section {
        "ethernets" => &["match", "set-name"],
        "vlans" => &["id", "link"],
        _ => &["interfaces", "parameters"],
    }
}

/// Whether the key belongs to the kind of the interface.
fn own(interface: &mut Interface, key: &str, value: &Field<'_>, report: &mut Report) -> bool {
    match (&mut interface.kind, key) {
        (Kind::Card(matching), "match") => *matching = read_match(value, report),
        (Kind::Card(_), "set-name") => interface.set_name = report.interface_name(value),
        (Kind::Bond { members, .. } | Kind::Bridge { members, .. }, "interfaces") => {
            *members = report.words(value).into_iter().map(|(word, _)| word.to_owned()).collect();
        }
        (Kind::Bond { primary, options, .. }, "parameters") => (*options, *primary) = options::bond(value, report),
        (Kind::Bridge { options, .. }, "parameters") => *options = options::bridge(value, report),
        (Kind::Vlan { link, .. }, "link") => *link = report.word(value).unwrap_or_default().to_owned(),
        (Kind::Vlan { id, .. }, "id") => {
            *id = report.number(value, options::VLAN_IDS).and_then(|id| u16::try_from(id).ok()).unwrap_or_default();
        }
        _ => return false,
    }
    true
}

fn read_match(field: &Field<'_>, report: &mut Report) -> Match {
    let mut matching = Match::default();
    let glob = |c: char| c.is_ascii_alphanumeric() || "_.-*?[]!".contains(c);
    for (entry, value) in report.section(field) {
        match entry.key.as_str() {
            "macaddress" => matching.mac = report.mac(&value),
            "name" | "driver" => {
                let mut found = Vec::new();
                for (word, at) in report.words(&value) {
                    if word.chars().all(glob) && !word.starts_with('!') {
                        found.push(word.to_owned());
                    } else {
                        report.wrong(
                            &at,
                            "is no name",
                            "allowed: letters, digits, dot, hyphen, underscore, and * and ? for any",
                        );
                    }
                }
                *(if entry.key == "name" { &mut matching.names } else { &mut matching.drivers }) = found;
            }
            _ => report.unknown(entry, &value.path, &["macaddress", "name", "driver"]),
        }
    }
    matching
}

/// What can be said when all keys have been read.
fn finish(interface: &mut Interface, section: &str, id: &Entry, field: &Field<'_>, report: &mut Report) {
    let has_match = field.get("match").is_some();
    match &mut interface.kind {
        Kind::Card(matching) if has_match => {
            if *matching == Match::default()
                && field.get("match").is_some_and(|field| field.node.entries().is_ok_and(<[_]>::is_empty))
            {
                report.wrong(field, "matches every card", "say macaddress, name or driver");
            }
            if interface.set_name.is_some()
                && matching.mac.is_none()
                && matching.names.iter().any(|name| name.contains('*'))
            {
                report.wrong(field, "gives one name to several cards", "match by macaddress where set-name is used");
            }
        }
        Kind::Card(matching) => match super::super::field::check_name(&id.key) {
            Ok(()) => matching.names = vec![id.key.clone()],
            Err((what, hint)) => report.mistake(id.mark, &field.path, what, format!("{hint}; or say match: below it")),
        },
        Kind::Vlan { .. } => {
            for key in ["id", "link"] {
                if field.get(key).is_none() {
                    report.mistake(
                        id.mark,
                        &field.path,
                        format!("has no {key}"),
                        "a VLAN has an interface that it runs over, and a number",
                    );
                }
            }
        }
        Kind::Bond { .. } | Kind::Bridge { .. } => {}
    }
    if section != "ethernets"
        && let Err((what, hint)) = super::super::field::check_name(&id.key)
    {
        report.mistake(id.mark, &field.path, what, hint);
    }
}
