//! Whether a network that was just set up reaches anything: a card of it is configured and has an address of more than
//! its link (networkd's "routable"), and one of the routers, if there are any, answers on the link (ARP, neighbour
//! discovery). What a router thinks of our packets is its affair.
use super::model::Network;
use super::render::{PREFIXES, REST};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

/// The kernel asks three times, a second apart, who has an address.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// More routers are not asked.
const ROUTERS: usize = 4;
/// Discard (RFC 863): where nothing listens, and any answer is one.
const PORT: u16 = 9;

/// A router, and the file of the interface that it is behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Router {
    /// Its address.
    pub ip: IpAddr,
    /// `75-provision-eth0.network`
    pub file: String,
}

/// The routers to everywhere; without any, those of other routes.
pub(super) fn routers(network: &Network) -> Vec<Router> {
    let of = |default: bool| -> Vec<Router> {
        let routes = network
            .interfaces
            .iter()
            .flat_map(|interface| interface.routes.iter().map(move |route| (interface, route)));
        routes
            .filter(|(_, route)| (route.to.prefix == 0) == default)
            .filter_map(|(interface, route)| {
                Some(Router { ip: route.via?, file: format!("{}{}.network", PREFIXES[0], interface.name) })
            })
            .take(ROUTERS)
            .collect()
    };
    // By DHCP others may come, whom nobody named.
    let asked = network.interfaces.iter().any(|interface| interface.dhcp4);
    let defaults = of(true);
    if defaults.is_empty() && !asked { of(false) } else { defaults }
}

/// An interface as networkd sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Link {
    index: u32,
    name: String,
    administrative_state: String,
    operational_state: String,
    network_file: Option<String>,
}

/// What `networkctl` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(default)]
    interfaces: Vec<Link>,
}

/// All interfaces.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let output = Command::new("networkctl").args(["--json=short", "list"]).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(serde_json::from_slice::<Described>(&output.stdout)?.interfaces)
}

/// Why nothing is reached. `answers` asks a router, over the interface of that index.
pub(super) fn judge(
    links: &[Link],
    routers: &[Router],
    mut answers: impl FnMut(&Router, u32) -> bool,
) -> Result<(), String> {
    let file = |link: &Link| -> String {
        let path = link.network_file.as_deref().unwrap_or_default();
        if path.starts_with("/run/systemd/network/") {
            path.rsplit('/').next().unwrap_or_default().to_owned()
        } else {
            String::new()
        }
    };
    // Those of the kernel command line and of credentials count as well.
    let ours: Vec<_> =
        links.iter().map(|link| (link, file(link))).filter(|(_, file)| !file.is_empty() && file != REST).collect();
    if ours.is_empty() {
        return Err("it fits none of the network cards that are here".to_owned());
    }
    let is_up = |link: &Link| link.administrative_state == "configured" && link.operational_state == "routable";
    if !ours.iter().any(|(link, _)| is_up(link)) {
        let states: Vec<_> = ours
            .iter()
            .map(|(link, _)| format!("{} is {} and {}", link.name, link.administrative_state, link.operational_state))
            .collect();
        return Err(format!("no card has an address that others reach: {}", states.join(", ")));
    }
    if routers.is_empty() {
        return Ok(());
    }
    let behind = |router: &Router| ours.iter().find(|(_, file)| *file == router.file).map(|(link, _)| link.index);
    if routers.iter().any(|router| behind(router).is_some_and(|index| answers(router, index))) {
        return Ok(());
    }
    let named: Vec<_> = routers.iter().map(|router| router.ip.to_string()).collect();
    Err(format!("no router answers: {}", named.join(", ")))
}

/// Whether a router is there: a connection to a port where nothing listens ends early only when nobody has the address.
pub(super) fn answers(router: &Router, index: u32) -> bool {
    let address = match router.ip {
        IpAddr::V6(ip) => {
            SocketAddr::V6(SocketAddrV6::new(ip, PORT, 0, if ip.is_unicast_link_local() { index } else { 0 }))
        }
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, PORT),
    };
    match TcpStream::connect_timeout(&address, ANSWERS_WITHIN) {
        Ok(_) => true,
        // Silence: it is there, and drops what it does not want.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::TimedOut
            ) =>
        {
            true
        }
        // Or a firewall of its own has said that it is not.
        Err(_) => is_neighbour(Path::new("/proc/net/arp"), router.ip),
    }
}

/// `ATF_COM` in the table of neighbours (IPv4): somebody has answered for the address.
fn is_neighbour(table: &Path, ip: IpAddr) -> bool {
    const COMPLETE: u32 = 2;
    let table = fs::read_to_string(table).unwrap_or_default();
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace();
        let (address, flags) = (fields.next(), fields.nth(1));
        let flags =
            flags.and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()).unwrap_or_default();
        address.and_then(|address| address.parse().ok()) == Some(ip) && flags & COMPLETE != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(file: &str, admin: &str, oper: &str) -> Link {
        let network_file = Some(format!("/run/systemd/network/{file}"));
        Link {
            index: 7,
            name: "eth0".into(),
            administrative_state: admin.into(),
            operational_state: oper.into(),
            network_file,
        }
    }

    fn router() -> Router {
        Router { ip: IpAddr::from([192, 0, 2, 1]), file: "75-provision-eth0.network".into() }
    }

    #[test]
    fn a_network_reaches_something_when_a_card_is_routable_and_a_router_answers() {
        let up = [link("75-provision-eth0.network", "configured", "routable")];
        assert_eq!(judge(&up, &[router()], |_, index| index == 7), Ok(()));
        assert_eq!(judge(&up, &[], |_, _| false), Ok(()));
        assert_eq!(judge(&up, &[router()], |_, _| false), Err("no router answers: 192.0.2.1".into()));
    }

    #[test]
    fn cards_that_wait_or_that_nobody_named_reach_nothing() {
        let why = |link: Link| judge(&[link], &[], |_, _| true).expect_err("nothing is reached");
        let waiting = why(link("75-provision-eth0.network", "configuring", "routable"));
        assert_eq!(waiting, "no card has an address that others reach: eth0 is configuring and routable");
        assert!(why(link("75-provision-eth0.network", "configured", "no-carrier")).contains("no-carrier"));
        assert_eq!(why(link(REST, "configured", "carrier")), "it fits none of the network cards that are here");
        let image = Link {
            network_file: Some("/usr/lib/systemd/network/80-dhcp.network".into()),
            ..link("", "configured", "routable")
        };
        assert_eq!(why(image), "it fits none of the network cards that are here");
    }

    #[test]
    fn the_words_of_networkctl_are_understood() {
        let said = r#"{"Interfaces":[{"Index":2,"Name":"enp0s2","AdministrativeState":"configured","OperationalState":"routable",
            "NetworkFile":"/run/systemd/network/75-provision-eth0.network","MTU":1500},{"Index":1,"Name":"lo"}],"Routes":[]}"#;
        let links = serde_json::from_str::<Described>(said).expect("JSON").interfaces;
        assert_eq!(judge(&links, &[router()], |_, index| index == 2), Ok(()));
    }

    #[test]
    fn a_neighbour_is_one_that_has_answered() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let table = "IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         52:55:0a:00:02:02     *        enp0s2
192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        enp0s2
";
        fs::write(file.path(), table).expect("written");
        assert!(is_neighbour(file.path(), IpAddr::from([192, 0, 2, 1])));
        assert!(!is_neighbour(file.path(), IpAddr::from([192, 0, 2, 9])));
        assert!(!is_neighbour(file.path(), IpAddr::from([192, 0, 2, 2])));
    }

    #[test]
    fn somebody_who_refuses_is_there() {
        let loopback = Router { ip: IpAddr::from([127, 0, 0, 1]), file: String::new() };
        assert!(answers(&loopback, 1));
    }
}
