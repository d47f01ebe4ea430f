//! What participants are told: our addresses, or those behind which we are (contract, section 5).
use super::stun_client;
use crate::config::{Config, HostOverride, IceUrl, PortOverride, Rtc};
use futures_util::future::join_all;
use rtcd_media::demux::Protocol;
use rtcd_media::sdp::write::Candidate;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

/// How long name servers and STUN servers may hold up the start.
const PATIENCE: Duration = Duration::from_secs(4);

/// What stands in for local addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Mapping {
    /// These, whatever the local address of their family is.
    All(Vec<IpAddr>),
    /// Internal to external.
    Each(BTreeMap<IpAddr, IpAddr>),
}

/// The host candidates for sockets bound to these addresses, best first. Resolves names and asks STUN servers, for a few
/// seconds at most; what fails is logged and the local address told.
pub async fn candidates(config: &Config, udp: &[SocketAddr], tcp: &[SocketAddr]) -> Vec<Candidate> {
    let rtc = &config.rtc;
    let deadline = Instant::now() + PATIENCE;
    let mapping = match &rtc.ice_host_override {
        Some(HostOverride::Address(ip)) => Mapping::All(vec![*ip]),
        Some(HostOverride::Name(name)) => Mapping::All(resolve(name, deadline).await),
        Some(HostOverride::Nat(pairs)) => {
            Mapping::Each(pairs.iter().map(|pair| (pair.internal, pair.external)).collect())
        }
        None => Mapping::Each(discover(rtc, udp.iter().chain(tcp), deadline).await),
    };
    advertise(rtc.ice_host_port_override.as_ref(), &mapping, udp, tcp)
}

/// One address of each family: the others of a name belong to other machines.
async fn resolve(name: &str, deadline: Instant) -> Vec<IpAddr> {
    let found: Vec<_> = match timeout_at(deadline, lookup_host((name, 0))).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        Ok(Err(error)) => {
            tracing::error!(name, %error, "rtc.ice_host_override does not resolve, local addresses are advertised");
            return Vec::new();
        }
        Err(_) => {
            tracing::error!(name, "rtc.ice_host_override does not resolve in time, local addresses are advertised");
            return Vec::new();
        }
    };
    let first = |v4: bool| found.iter().copied().find(|ip| ip.is_ipv4() == v4);
    first(true).into_iter().chain(first(false)).collect()
}

/// The public address of each local one, as the first STUN server that answers sees it.
async fn discover(rtc: &Rtc, bound: impl Iterator<Item = &SocketAddr>, deadline: Instant) -> BTreeMap<IpAddr, IpAddr> {
    let urls: Vec<_> =
        rtc.ice_servers.iter().flat_map(|server| &server.urls).filter(|url| is_plain_stun(url)).collect();
    if urls.is_empty() {
        return BTreeMap::new();
    }
    let mut local: Vec<_> = bound.map(SocketAddr::ip).collect();
    local.sort_unstable();
    local.dedup();
    let servers = join_all(urls.iter().map(|url| server_addresses(url, deadline))).await.concat();
    let found = join_all(local.iter().map(|local| ask_all(*local, &servers, deadline))).await;
    local.into_iter().zip(found).filter_map(|(local, public)| Some((local, public?))).collect()
}

fn is_plain_stun(url: &IceUrl) -> bool {
    !url.turn && !url.tls && !url.tcp
}

async fn server_addresses(url: &IceUrl, deadline: Instant) -> Vec<SocketAddr> {
    match timeout_at(deadline, lookup_host((url.host.as_str(), url.port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            tracing::warn!(server = %url, %error, "STUN server does not resolve");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!(server = %url, "STUN server does not resolve in time");
            Vec::new()
        }
    }
}

/// Asks all servers at once and takes the first answer. From loopback only servers on loopback can be asked.
async fn ask_all(local: IpAddr, servers: &[SocketAddr], deadline: Instant) -> Option<IpAddr> {
    let reachable = |server: &&SocketAddr| {
        server.is_ipv4() == local.is_ipv4() && (!local.is_loopback() || server.ip().is_loopback())
    };
    let questions: Vec<_> = servers
        .iter()
        .filter(reachable)
        .map(|server| Box::pin(stun_client::public_address(local, *server, deadline)))
        .collect();
    if questions.is_empty() {
        return None;
    }
    match futures_util::future::select_ok(questions).await {
        Ok((public, _)) => {
            tracing::info!(%local, public = %public.ip(), "public address found by STUN");
            Some(public.ip())
        }
        Err(error) => {
            tracing::warn!(%local, %error, "no STUN server answers, the local address is advertised");
            None
        }
    }
}

fn advertise(
    ports: Option<&PortOverride>,
    mapping: &Mapping,
    udp: &[SocketAddr],
    tcp: &[SocketAddr],
) -> Vec<Candidate> {
    let own: Vec<_> = udp.iter().chain(tcp).map(SocketAddr::ip).collect();
    let mut all: Vec<Candidate> = Vec::new();
    for (protocol, bound) in [(Protocol::Udp, udp), (Protocol::Tcp, tcp)] {
        let mut rank = 0;
        // Loopback last: it is of use to tests and to participants on this very machine.
        let (loopback, outside): (Vec<&SocketAddr>, Vec<&SocketAddr>) =
            bound.iter().partition(|address| address.ip().is_loopback());
        for local in outside.into_iter().chain(loopback) {
            let external = match mapping {
                Mapping::All(ips) => ips.iter().copied().find(|ip| ip.is_ipv4() == local.is_ipv4()),
                Mapping::Each(pairs) => pairs.get(&local.ip()).copied(),
            };
            let port = port(ports, *local, &own);
            let address = SocketAddr::new(external.unwrap_or(local.ip()), port);
            if all.iter().any(|other| other.protocol == protocol && other.address == address) {
                continue;
            }
            let behind = external.filter(|external| *external != local.ip()).map(|_| local.ip());
            all.push(Candidate { protocol, address, rank, behind });
            rank += 1;
        }
    }
    all
}

/// The entry of the address itself, or else the one of any address of ours: the list is shared by many machines.
fn port(ports: Option<&PortOverride>, local: SocketAddr, own: &[IpAddr]) -> u16 {
    match ports {
        None => local.port(),
        Some(PortOverride::All(port)) => *port,
        Some(PortOverride::ByAddress(entries)) => {
            let exact = entries.iter().find(|(ip, _)| *ip == local.ip());
            let entry = exact.or_else(|| entries.iter().find(|(ip, _)| own.contains(ip)));
            entry.map_or(local.port(), |(_, port)| *port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IceServer;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn check(ports: Option<PortOverride>, mapping: Mapping, udp: &[&str], tcp: &[&str], expected: &[&str]) {
        let found = advertise(ports.as_ref(), &mapping, &addresses(udp), &addresses(tcp));
        let shown: Vec<_> = found
            .iter()
            .map(|candidate| {
                let behind = candidate.behind.map(|ip| format!(" behind {ip}")).unwrap_or_default();
                format!("{:?} {} {}{behind}", candidate.protocol, candidate.rank, candidate.address)
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_local_address_is_told_loopback_last() {
        let none = Mapping::Each(BTreeMap::new());
        let udp = ["127.0.0.1:1", "10.0.0.1:1", "[2001:db8::1]:1"];
        let expected = ["Udp 0 10.0.0.1:1", "Udp 1 [2001:db8::1]:1", "Udp 2 127.0.0.1:1", "Tcp 0 10.0.0.1:2"];
        check(None, none, &udp, &["10.0.0.1:2"], &expected);
    }

    #[test]
    fn an_override_stands_in_once_for_all_addresses_of_its_family() {
        let mapping = Mapping::All(vec![ip("192.0.2.1")]);
        let udp = ["10.0.0.1:1", "127.0.0.1:1", "[2001:db8::1]:1"];
        let expected = ["Udp 0 192.0.2.1:1 behind 10.0.0.1", "Udp 1 [2001:db8::1]:1"];
        check(None, mapping, &udp, &[], &expected);
    }

    #[test]
    fn a_nat_pair_stands_in_for_its_internal_address_only() {
        let mapping = Mapping::Each(BTreeMap::from([(ip("10.0.0.1"), ip("192.0.2.1"))]));
        let expected = ["Udp 0 192.0.2.1:1 behind 10.0.0.1", "Udp 1 10.0.0.2:1", "Tcp 0 192.0.2.1:9 behind 10.0.0.1"];
        check(None, mapping, &["10.0.0.1:1", "10.0.0.2:1"], &["10.0.0.1:9"], &expected);
    }

    #[test]
    fn a_port_override_by_address_is_that_of_an_own_address() {
        let none = || Mapping::Each(BTreeMap::new());
        let entries = PortOverride::ByAddress(vec![(ip("10.9.9.9"), 1000), (ip("10.0.0.1"), 2000)]);
        let expected = ["Udp 0 10.0.0.1:2000", "Udp 1 10.0.0.2:2000"];
        check(Some(entries), none(), &["10.0.0.1:1", "10.0.0.2:1"], &[], &expected);
        let strangers = PortOverride::ByAddress(vec![(ip("10.9.9.9"), 1000)]);
        check(Some(strangers), none(), &["10.0.0.1:1"], &[], &["Udp 0 10.0.0.1:1"]);
        check(
            Some(PortOverride::All(443)),
            none(),
            &["10.0.0.1:1"],
            &["10.0.0.1:2"],
            &["Udp 0 10.0.0.1:443", "Tcp 0 10.0.0.1:443"],
        );
    }

    /// Answers one request with a made-up address.
    async fn stun_server() -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        tokio::spawn(async move {
            let mut buffer = [0; 200];
            let (len, from) = socket.recv_from(&mut buffer).await.expect("a request");
            let request = rtcd_media::stun::Request::parse(&buffer[..len]).expect("STUN");
            let seen = SocketAddr::new(ip("192.0.2.77"), 4242);
            let answer = rtcd_media::stun::Answer::success(&request.transaction, seen, None);
            socket.send_to(answer.as_ref(), from).await.expect("sent");
        });
        address
    }

    fn config_with(server: SocketAddr) -> Config {
        let host = server.ip().to_string();
        let url = IceUrl { turn: false, tls: false, host, port: server.port(), tcp: false };
        let mut config = Config::default();
        config.rtc.ice_servers = vec![IceServer { urls: vec![url], username: String::new(), credential: None }];
        config
    }

    #[tokio::test]
    async fn the_address_that_a_stun_server_sees_is_told_with_our_own_port() {
        let config = config_with(stun_server().await);
        let found = candidates(&config, &addresses(&["127.0.0.1:8443"]), &[]).await;
        assert_eq!(found[0].address, addresses(&["192.0.2.77:8443"])[0]);
        assert_eq!(found[0].behind, Some(ip("127.0.0.1")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stun_server_delays_the_start_for_seconds_only() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let config = config_with(silent.local_addr().expect("bound"));
        let before = Instant::now();
        let found = candidates(&config, &addresses(&["127.0.0.1:8443"]), &[]).await;
        assert_eq!(found[0].address, addresses(&["127.0.0.1:8443"])[0]);
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_name_is_resolved_to_one_address_of_each_family() {
        let found = resolve("localhost", Instant::now() + PATIENCE).await;
        assert!(found.contains(&ip("127.0.0.1")), "{found:?}");
        assert!(found.iter().filter(|ip| ip.is_ipv4()).count() == 1);
    }
}
