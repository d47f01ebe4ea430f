//! The network as files of systemd-networkd (systemd.network(5)) and of udev (systemd.link(5)).
//!
//! | file | for |
//! |---|---|
//! | `75-provision-NAME.network` | each interface: addresses, routes, name servers |
//! | `75-provision-NAME.netdev` | a bond, bridge or VLAN |
//! | `75-provision-NAME.link` | a card that is given a name |
//! | `79-provision-rest.network` | cards that nobody named: they stay without addresses |
//!
//! What the kernel command line (`ip=`, `70-*`) and credentials (`network.*`) say comes first, the image's own
//! `80-dhcp.network` last.
mod devices;

use super::model::{Interface, Kind, LinkLocal, Network, OnLink, Route};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Files by name.
pub type Files = BTreeMap<String, String>;

/// How names of our files begin, so that others are never touched.
pub const PREFIXES: [&str; 2] = ["75-provision-", "79-provision-"];
/// Cards that nobody named.
pub const REST: &str = "79-provision-rest.network";

/// The same whoever wants it so: a seed on another device is no new network.
const HEADER: &str = "# Written by provision at each boot from what the metadata say: what is changed here is lost.\n";

/// All files.
pub fn render(network: &Network) -> Files {
    let mut files = Files::new();
    for interface in &network.interfaces {
        let stem = format!("{}{}", PREFIXES[0], interface.name);
        files.insert(format!("{stem}.network"), HEADER.to_owned() + &network_file(network, interface));
        if let Some(text) = devices::netdev(interface) {
            files.insert(format!("{stem}.netdev"), HEADER.to_owned() + &text);
        }
        if let Some(text) = devices::link(interface) {
            files.insert(format!("{stem}.link"), HEADER.to_owned() + &text);
        }
    }
    let mut rest = File::default();
    rest.section("Match").set("Type", "ether").set("Kind", "!*");
    rest.section("Link").set("RequiredForOnline", "no");
    rest.section("Network").set("DHCP", "no").set("LinkLocalAddressing", "no").set("IPv6AcceptRA", "no");
    files.insert(REST.to_owned(), HEADER.to_owned() + &rest.0);
    files
}

/// A text of sections.
#[derive(Default)]
struct File(String);

impl File {
    fn section(&mut self, name: &str) -> &mut Self {
        let _ = write!(self.0, "\n[{name}]\n");
        self
    }

    fn set(&mut self, key: &str, value: impl Display) -> &mut Self {
        let _ = writeln!(self.0, "{key}={value}");
        self
    }

    fn set_all<'a>(&mut self, options: impl IntoIterator<Item = &'a (&'static str, String)>) -> &mut Self {
        for (key, value) in options {
            self.set(key, value);
        }
        self
    }

    /// The key once for each value.
    fn each<T: Display>(&mut self, key: &str, values: impl IntoIterator<Item = T>) -> &mut Self {
        for value in values {
            self.set(key, value);
        }
        self
    }
}

fn network_file(network: &Network, interface: &Interface) -> String {
    let mut file = File::default();
    let master = network.interfaces.iter().find(|other| other.kind.members().contains(&interface.name));
    file.section("Match");
    matching(&mut file, interface, master);
    // Of a netdev it stands in the file that makes it.
    let mac = interface.mac.filter(|_| matches!(interface.kind, Kind::Card(_)));
    if interface.mtu.is_some() || interface.optional || mac.is_some() {
        file.section("Link");
        file.each("MTUBytes", interface.mtu);
        file.each("MACAddress", mac);
        if interface.optional {
            file.set("RequiredForOnline", "no");
        }
    }
    file.section("Network");
    membership(&mut file, network, interface, master);
    let dhcp = match (interface.dhcp4, interface.dhcp6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, true) => "ipv6",
        (false, false) => "no",
    };
    file.set("DHCP", dhcp);
    match (master.is_some(), interface.link_local) {
        (true, _) => {
            file.set("LinkLocalAddressing", "no").set("IPv6AcceptRA", "no");
        }
        (false, Some(LinkLocal { ipv4, ipv6 })) => {
            let families = match (ipv4, ipv6) {
                (true, true) => "yes",
                (true, false) => "ipv4",
                (false, true) => "ipv6",
                (false, false) => "no",
            };
            file.set("LinkLocalAddressing", families);
        }
        (false, None) => {}
    }
    if let (false, Some(accept)) = (master.is_some(), interface.accept_ra) {
        file.set("IPv6AcceptRA", if accept { "yes" } else { "no" });
    }
    file.each("Address", &interface.addresses).each("DNS", &interface.dns);
    if !interface.search.is_empty() {
        file.set("Domains", interface.search.join(" "));
    }
    for route in &interface.routes {
        self::route(&mut file, route);
    }
    // The name of the machine is that of the user data or the metadata.
    if interface.dhcp4 {
        file.section("DHCPv4").set("UseHostname", "no").set_all(&interface.dhcp4_options);
    }
    if interface.dhcp6 {
        file.section("DHCPv6").set("UseHostname", "no").set_all(&interface.dhcp6_options);
    }
    file.0
}

fn matching(file: &mut File, interface: &Interface, master: Option<&Interface>) {
    let Kind::Card(matching) = &interface.kind else {
        file.set("Name", &interface.name);
        return;
    };
    if let Some(mac) = matching.mac {
        // A card of a bond has the bond's address; one that is given another has that. Its own stays what it was.
        let changes = interface.mac.is_some() || matches!(master, Some(Interface { kind: Kind::Bond { .. }, .. }));
        file.set(if changes { "PermanentMACAddress" } else { "MACAddress" }, mac);
        // VLANs and bridges over it have the same.
        file.set("Kind", "!bond bridge vlan");
    }
    if !matching.names.is_empty() {
        let renamed = interface.set_name.iter().filter(|name| !matching.names.contains(name));
        file.set("Name", matching.names.iter().chain(renamed).map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    if !matching.drivers.is_empty() {
        file.set("Driver", matching.drivers.join(" "));
    }
}

/// What it belongs to, and the VLANs over it.
fn membership(file: &mut File, network: &Network, interface: &Interface, master: Option<&Interface>) {
    match master {
        Some(Interface { name, kind: Kind::Bond { primary, .. }, .. }) => {
            file.set("Bond", name);
            if primary.as_ref() == Some(&interface.name) {
                file.set("PrimarySlave", "yes");
            }
        }
        Some(Interface { name, .. }) => {
            file.set("Bridge", name);
        }
        None => {}
    }
    for vlan in &network.interfaces {
        if matches!(&vlan.kind, Kind::Vlan { link, .. } if *link == interface.name) {
            file.set("VLAN", &vlan.name);
        }
    }
}

fn route(file: &mut File, route: &Route) {
    file.section("Route").set("Destination", route.to).each("Gateway", route.via);
    if route.on_link == OnLink::Said(true) {
        file.set("GatewayOnLink", "yes");
    }
    file.each("Metric", route.metric);
    file.set_all(&route.options);
}
