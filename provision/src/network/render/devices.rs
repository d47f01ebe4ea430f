//! `.netdev` files, which make what is no card, and `.link` files, which name cards.
use super::super::model::{Interface, Kind};
use super::File;

/// systemd.netdev(5); `None` for a card.
pub(super) fn netdev(interface: &Interface) -> Option<String> {
    let mut file = File::default();
    let kind = match &interface.kind {
        Kind::Card(_) => return None,
        Kind::Bond { .. } => "bond",
        Kind::Bridge { .. } => "bridge",
        Kind::Vlan { .. } => "vlan",
    };
    file.section("NetDev").set("Name", &interface.name).set("Kind", kind);
    file.each("MACAddress", interface.mac);
    match &interface.kind {
        Kind::Bond { options, .. } => file.section("Bond").set_all(options),
        Kind::Bridge { options, .. } => file.section("Bridge").set_all(options),
        Kind::Vlan { id, .. } => file.section("VLAN").set("Id", id),
        Kind::Card(_) => &mut file,
    };
    Some(file.0)
}

/// systemd.link(5); `None` where the name stays.
pub(super) fn link(interface: &Interface) -> Option<String> {
    let Kind::Card(matching) = &interface.kind else { return None };
    let name = interface.set_name.as_ref()?;
    let mut file = File::default();
    file.section("Match");
    file.each("PermanentMACAddress", matching.mac);
    if !matching.names.is_empty() {
        file.set("OriginalName", matching.names.join(" "));
    }
    if !matching.drivers.is_empty() {
        file.set("Driver", matching.drivers.join(" "));
    }
    file.section("Link").set("Name", name);
    Some(file.0)
}
