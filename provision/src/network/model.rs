//! The network as it shall be, whoever said so and in whatever form. Everything in it has been checked to be one plain
//! word, a number or an address, so that it can stand in a file of networkd as it is.
use crate::mistake::Mark;
use std::fmt;
use std::net::IpAddr;

/// More interfaces than the machines of any cloud have; EC2's largest have 15.
pub const MAX_INTERFACES: usize = 64;
/// Addresses, routes, name servers or members of one interface.
pub const MAX_ENTRIES: usize = 64;
/// `IFNAMSIZ` without its zero byte.
pub const MAX_NAME: usize = 15;

/// All interfaces that somebody said something about.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Network {
    /// In the order of the text.
    pub interfaces: Vec<Interface>,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// What others call it by: a bond its members, a VLAN its link. For a card of version 2 this is the id, and the
    /// card itself may be called otherwise.
    pub name: String,
    /// Where it was said.
    pub place: Place,
    /// Card, bond, bridge or VLAN.
    pub kind: Kind,
    /// The name that the card is given.
    pub set_name: Option<String>,
    /// The MAC address that it is given.
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: Option<u32>,
    /// Whether addresses come by DHCP.
    pub dhcp4: bool,
    /// Whether addresses come by DHCPv6.
    pub dhcp6: bool,
    /// Whether router advertisements count; networkd's own rule when nobody said.
    pub accept_ra: Option<bool>,
    /// `link-local`: the families that get such an address; networkd's own rule when nobody said.
    pub link_local: Option<LinkLocal>,
    /// Fixed addresses.
    pub addresses: Vec<Address>,
    /// Routes through it, those to everywhere among them.
    pub routes: Vec<Route>,
    /// Name servers that are asked through it.
    pub dns: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    pub search: Vec<String>,
    /// Whether the machine is online without it.
    pub optional: bool,
    /// `[DHCPv4]`, `[DHCPv6]`: what is taken of the answers.
    pub dhcp4_options: Options,
    /// The same for DHCPv6.
    pub dhcp6_options: Options,
}

/// Where something stands in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Line and column.
    pub mark: Mark,
    /// `ethernets.eth0`, `config[0]`
    pub path: String,
}

/// Keys of networkd with their values.
pub type Options = Vec<(&'static str, String)>;

/// What an interface is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A network card that is there.
    Card(Match),
    /// Several cards as one.
    Bond {
        /// Names of interfaces.
        members: Vec<String>,
        /// The member that is used while it works.
        primary: Option<String>,
        /// `[Bond]`
        options: Options,
    },
    /// A switch inside of the machine.
    Bridge {
        /// Names of interfaces.
        members: Vec<String>,
        /// `[Bridge]`
        options: Options,
    },
    /// One network of a cable that carries several (IEEE 802.1Q).
    Vlan {
        /// The interface that it runs over.
        link: String,
        /// 1 to 4094.
        id: u16,
    },
}

/// How a card is recognized: by all that is said.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Match {
    /// Its own MAC address.
    pub mac: Option<Mac>,
    /// Names with `*` and `?`, one of which fits.
    pub names: Vec<String>,
    /// Drivers with `*` and `?`, one of which fits.
    pub drivers: Vec<String>,
}

/// A fixed address and its network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The machine's.
    pub ip: IpAddr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
}

/// A way to a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where it was said.
    pub place: Place,
    /// Where it leads; everywhere when the prefix is 0.
    pub to: Address,
    /// The router; none for what is directly there.
    pub via: Option<IpAddr>,
    /// Whether the router is there though no address says so.
    pub on_link: OnLink,
    /// The smaller one is taken.
    pub metric: Option<u32>,
    /// Further keys of `[Route]`.
    pub options: Options,
}

/// Whether a router is reached without a network that it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnLink {
    /// Somebody said so.
    Said(bool),
    /// The form has no word for it: as it has to be.
    ByAddresses,
}

/// Families that get a link-local address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkLocal {
    /// 169.254.0.0/16
    pub ipv4: bool,
    /// fe80::/10
    pub ipv6: bool,
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

impl Interface {
    /// With nothing but a name.
    pub fn new(name: String, place: Place, kind: Kind) -> Self {
        Self {
            name,
            place,
            kind,
            set_name: None,
            mac: None,
            mtu: None,
            dhcp4: false,
            dhcp6: false,
            accept_ra: None,
            link_local: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            optional: false,
            dhcp4_options: Options::new(),
            dhcp6_options: Options::new(),
        }
    }

    /// Whether it gets addresses of its own in any way.
    pub fn has_addresses(&self) -> bool {
        self.dhcp4 || self.dhcp6 || !self.addresses.is_empty() || self.accept_ra == Some(true)
    }
}

impl Kind {
    /// The interfaces that belong to it.
    pub fn members(&self) -> &[String] {
        match self {
            Self::Bond { members, .. } | Self::Bridge { members, .. } => members,
            Self::Card(_) | Self::Vlan { .. } => &[],
        }
    }
}

impl Address {
    /// Whether `ip` is in this network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }

    /// The longest prefix of a family.
    pub fn longest(ip: IpAddr) -> u8 {
        if ip.is_ipv4() { 32 } else { 128 }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
