//! One look at what others know of us: the addresses of our name, and those that STUN servers see.
use super::lookup::Resolver;
use super::stun_client;
use crate::config::{HostOverride, IceUrl, Rtc};
use futures_util::StreamExt as _;
use futures_util::future::{select_all, select_ok};
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long one look may take: a server that has not answered after three requests (RFC 8489, 6.2.1: 0.5 s, 1 s, 2 s)
/// is asked again by the next look.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// How much longer is waited for the other answers once there is one.
const GRACE: Duration = Duration::from_millis(500);

/// Who knows our public addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody: all is said in the configuration.
    Nobody,
    /// The name servers, for this name. Which of several addresses is ours, STUN servers may know.
    Name(String, Vec<IceUrl>),
    /// Each answers with the address that it sees (RFC 8489).
    Stun(Vec<IceUrl>),
}

impl Source {
    /// Whom this configuration asks.
    pub fn of(rtc: &Rtc) -> Self {
        // pion asks over UDP whatever the URL's transport, and so do we; under TLS we cannot.
        let stun = || rtc.ice_servers.iter().flat_map(|server| &server.urls).filter(|url| !url.turn && !url.tls);
        let urls: Vec<_> = stun().cloned().collect();
        match &rtc.ice_host_override {
            Some(HostOverride::Name(name)) => Self::Name(name.clone(), urls),
            Some(_) => Self::Nobody,
            None if urls.is_empty() => Self::Nobody,
            None => Self::Stun(urls),
        }
    }
}

/// A public address of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Public {
    /// The address.
    pub ip: IpAddr,
    /// Who sees it.
    pub server: IceUrl,
}

/// What a name means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// All addresses that are of use here.
    pub ips: Vec<IpAddr>,
    /// Those of them that are known to be ours; `None`: nobody who was asked could tell.
    pub ours: Option<Vec<IpAddr>>,
}

/// What a look has found, or why it has found nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nobody was asked: local addresses are told.
    Nothing,
    /// Of the name.
    Name(Result<Named, String>),
    /// Of each local address that a server could be asked from.
    Public(BTreeMap<IpAddr, Result<Public, String>>),
}

/// Looks once, for [`PATIENCE`] at most. `local`: the addresses that media is bound to.
pub async fn look(source: &Source, local: &[IpAddr], resolver: &Resolver) -> Found {
    let deadline = Instant::now() + PATIENCE;
    match source {
        Source::Nobody => Found::Nothing,
        Source::Name(name, urls) => Found::Name(match resolve(name, local, resolver, deadline).await {
            Ok(ips) => {
                let ours = recognize(&ips, urls, local, resolver, deadline).await;
                Ok(Named { ips, ours })
            }
            Err(why) => Err(why),
        }),
        Source::Stun(urls) => Found::Public(discover(local, urls, resolver, deadline).await),
    }
}

/// Asks from every local address. Once one has its answer the others have little time left for theirs: there are addresses,
/// of bridges to containers say, from which nobody can ever be asked.
async fn discover(
    local: &[IpAddr],
    urls: &[IceUrl],
    resolver: &Resolver,
    deadline: Instant,
) -> BTreeMap<IpAddr, Result<Public, String>> {
    let silence = Err("no answer in time".to_owned());
    let mut found: BTreeMap<_, _> = local.iter().map(|local| (*local, Some(silence.clone()))).collect();
    let mut questions: FuturesUnordered<_> =
        local.iter().map(|local| async { (*local, ask_all(*local, urls, resolver, deadline).await) }).collect();
    let mut patience = deadline;
    while let Ok(Some((local, answer))) = timeout_at(patience, questions.next()).await {
        if matches!(answer, Some(Ok(_))) {
            patience = patience.min(Instant::now() + GRACE);
        }
        found.insert(local, answer);
    }
    found.into_iter().filter_map(|(local, answer)| Some((local, answer?))).collect()
}

async fn resolve(name: &str, local: &[IpAddr], resolver: &Resolver, deadline: Instant) -> Result<Vec<IpAddr>, String> {
    let found = resolver.lookup(name, 0, deadline).await.map_err(|why| why.to_string())?;
    let outside = local.iter().any(|ip| !ip.is_loopback());
    let of_use = |ip: &IpAddr| {
        // Debian's /etc/hosts gives the machine's own name 127.0.1.1.
        let reached = !ip.is_unspecified() && (!ip.is_loopback() || !outside);
        reached && local.iter().any(|local| local.is_ipv4() == ip.is_ipv4())
    };
    let of_use: Vec<_> = found.iter().map(SocketAddr::ip).filter(of_use).collect();
    if !of_use.is_empty() {
        return Ok(of_use);
    }
    let mut shown: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
    shown.dedup();
    Err(format!("applies to nothing: {} is loopback, or of a family that media is not bound to", shown.join(", ")))
}

/// Which of a name's addresses are ours. One name may stand for many machines, and which of them is this one is seen by the
/// addresses that media is bound to, or else by those that STUN servers see.
async fn recognize(
    ips: &[IpAddr],
    urls: &[IceUrl],
    local: &[IpAddr],
    resolver: &Resolver,
    deadline: Instant,
) -> Option<Vec<IpAddr>> {
    let ours = |own: &[IpAddr]| ips.iter().copied().filter(|ip| own.contains(ip)).collect::<Vec<_>>();
    let bound = ours(local);
    if !bound.is_empty() || urls.is_empty() || ips.len() == 1 {
        return Some(bound);
    }
    let seen = discover(local, urls, resolver, deadline).await;
    let seen: Vec<_> = seen.into_values().flatten().map(|public| public.ip).collect();
    Some(ours(&seen)).filter(|_| !seen.is_empty())
}

/// Asks all servers at once and takes the first answer; `None` where none can be asked. From loopback only servers on
/// loopback can be.
async fn ask_all(
    local: IpAddr,
    urls: &[IceUrl],
    resolver: &Resolver,
    deadline: Instant,
) -> Option<Result<Public, String>> {
    let ask = async |url: &IceUrl| {
        let servers = match resolver.lookup(&url.host, url.port, deadline).await {
            Ok(servers) => servers,
            Err(why) => return Err(Some(format!("{url}: {why}"))),
        };
        let reachable = |server: &&SocketAddr| {
            server.is_ipv4() == local.is_ipv4() && (!local.is_loopback() || server.ip().is_loopback())
        };
        let questions: Vec<_> = servers
            .iter()
            .filter(reachable)
            .map(|server| Box::pin(stun_client::public_address(local, *server, deadline)))
            .collect();
        if questions.is_empty() {
            return Err(None);
        }
        let answer = select_ok(questions).await;
        let public = answer.map(|(public, _)| Public { ip: public.ip(), server: url.clone() });
        public.map_err(|error| Some(format!("{url}: {error}")))
    };
    let mut failures = Vec::new();
    let mut waiting: Vec<_> = urls.iter().map(|url| Box::pin(ask(url))).collect();
    while !waiting.is_empty() {
        let (answer, _, others) = select_all(waiting).await;
        waiting = others;
        match answer {
            Ok(public) => return Some(Ok(public)),
            Err(why) => failures.extend(why),
        }
    }
    if failures.is_empty() || (local.is_loopback() && failures.len() < urls.len()) {
        return None;
    }
    Some(Err(failures.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Answers each request with a made-up address.
    async fn stun_server() -> SocketAddr {
        stun_server_at("127.0.0.1:0", "192.0.2.77").await
    }

    async fn stun_server_at(address: &str, seen: &str) -> SocketAddr {
        let seen = SocketAddr::new(ip(seen), 4242);
        let socket = tokio::net::UdpSocket::bind(address).await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        tokio::spawn(async move {
            let mut buffer = [0; 200];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                let request = rtcd_media::stun::Request::parse(&buffer[..len]).expect("STUN");
                let answer = rtcd_media::stun::Answer::success(&request.transaction, seen, None);
                socket.send_to(answer.as_ref(), from).await.expect("sent");
            }
        });
        address
    }

    fn url(host: &str, port: u16, tcp: bool) -> IceUrl {
        IceUrl { turn: false, tls: false, host: host.to_owned(), port, tcp }
    }

    #[tokio::test]
    async fn the_first_server_that_answers_is_believed_whatever_the_others_do() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let good = stun_server().await;
        let silent = silent.local_addr().expect("bound").port();
        let urls =
            vec![url("127.0.0.1", silent, false), url("no such name", 1, false), url("localhost", good.port(), true)];
        let local = [ip("127.0.0.1"), ip("::1")];
        let found = look(&Source::Stun(urls), &local, &Resolver::default()).await;
        let Found::Public(found) = found else { panic!("{found:?}") };
        let Some(Ok(public)) = found.get(&local[0]) else { panic!("{found:?}") };
        assert_eq!((public.ip, public.server.port), (ip("192.0.2.77"), good.port()));
    }

    #[tokio::test]
    async fn each_family_is_asked_for_by_its_own() {
        let (v4, v6) = (stun_server().await, stun_server_at("[::1]:0", "2001:db8::77").await);
        let urls = vec![url("127.0.0.1", v4.port(), false), url("::1", v6.port(), false)];
        let local = [ip("127.0.0.1"), ip("::1")];
        let found = look(&Source::Stun(urls), &local, &Resolver::default()).await;
        let Found::Public(found) = found else { panic!("{found:?}") };
        let seen: Vec<_> = found.values().flatten().map(|public| public.ip).collect();
        assert_eq!(seen, [ip("192.0.2.77"), ip("2001:db8::77")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_after_seconds() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let urls = vec![url("127.0.0.1", silent.local_addr().expect("bound").port(), false)];
        let before = Instant::now();
        let found = look(&Source::Stun(urls), &[ip("127.0.0.1")], &Resolver::default()).await;
        assert!(matches!(&found, Found::Public(found) if found.values().all(Result::is_err)), "{found:?}");
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn of_several_addresses_of_a_name_ours_are_those_that_are_bound_or_seen() {
        let deadline = Instant::now() + PATIENCE;
        let ips = ["192.0.2.76", "192.0.2.77"].map(ip);
        let urls = [url("127.0.0.1", stun_server().await.port(), false)];
        let ours = async |urls: &[IceUrl], local: &[IpAddr]| {
            recognize(&ips, urls, local, &Resolver::default(), deadline).await
        };
        assert_eq!(ours(&urls, &[ip("127.0.0.1")]).await, Some(vec![ip("192.0.2.77")]));
        assert_eq!(ours(&urls, &[ip("127.0.0.1"), ip("192.0.2.76")]).await, Some(vec![ip("192.0.2.76")]));
        assert_eq!(ours(&[], &[ip("127.0.0.1")]).await, Some(vec![]));
        let closed = [url("127.0.0.1", 1, false)];
        assert_eq!(ours(&closed, &[ip("127.0.0.1")]).await, None, "nobody could tell");
    }

    #[tokio::test]
    async fn of_a_name_what_is_of_use_is_taken() {
        let find = async |local: &[&str]| {
            let local: Vec<_> = local.iter().map(|text| ip(text)).collect();
            look(&Source::Name("localhost".into(), Vec::new()), &local, &Resolver::default()).await
        };
        let own = vec![ip("127.0.0.1")];
        assert_eq!(find(&["127.0.0.1"]).await, Found::Name(Ok(Named { ips: own.clone(), ours: Some(own) })));
        let Found::Name(Err(why)) = find(&["10.0.0.1", "127.0.0.1"]).await else {
            panic!("loopback is of use to nobody")
        };
        assert!(why.contains("applies to nothing") && why.contains("127.0.0.1"), "{why}");
        assert_eq!(look(&Source::Nobody, &[], &Resolver::default()).await, Found::Nothing);
    }
}
