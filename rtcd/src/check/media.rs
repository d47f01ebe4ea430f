//! Whether the media port is reached: a STUN Binding request without credentials over UDP and over TCP. Mattermost's own
//! rtcd answers none, so that its silence says nothing of what is in between.
use super::PATIENCE;
use super::connect::lookup;
use super::fault::Fault;
use super::report::Report;
use super::target::MediaTarget;
use crate::net::stun_client;
use futures_util::future::select_ok;
use rtcd_media::stun::{TransactionId, client};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Whose rtcd it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// It answers who only asks for an address.
    Ours,
    /// Mattermost's own. It drops such questions over UDP, and over TCP it closes the connection.
    Reference,
    /// Its API has not been asked, or has not answered.
    Unknown,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    server: SocketAddr,
    us: SocketAddr,
    round_trip: Duration,
}

/// Why there is none.
#[derive(Debug)]
struct Unseen {
    /// A connection was made.
    connected: bool,
    fault: Fault,
}

impl From<Fault> for Unseen {
    fn from(fault: Fault) -> Self {
        Self { connected: false, fault }
    }
}

/// Asks by STUN over UDP and over TCP, and reports each; what works.
pub async fn check(
    udp_target: &MediaTarget,
    tcp_target: &MediaTarget,
    server: Server,
    report: &mut Report<impl Write>,
) -> (bool, bool) {
    let (over_udp, over_tcp) = tokio::join!(
        first(udp_target, |server| Box::pin(udp(server))),
        first(tcp_target, |server| Box::pin(tcp(server)))
    );
    let is_taken = matches!(&over_tcp, Err(unseen) if unseen.connected);
    let server = match &over_tcp {
        Ok(_) => Server::Ours,
        Err(_) => server,
    };
    let works = (over_udp.is_ok(), over_tcp.is_ok());
    match over_udp {
        Ok(seen) => report.ok("media over UDP", seen),
        Err(unseen) => tell_udp(udp_target, &unseen.fault, server, is_taken, report),
    }
    match over_tcp {
        Ok(seen) => report.ok("media over TCP", seen),
        Err(unseen) => tell_tcp(tcp_target, &unseen, server, report),
    }
    works
}

/// The same for somebody who reaches the media port alone, with what it means for calls.
pub async fn check_only(target: &MediaTarget, report: &mut Report<impl Write>) {
    const ADMIN: &str = "give the lines above to whoever runs the server";
    match check(target, target, Server::Unknown, report).await {
        (true, true) => report.ok("calls", "work from here, over UDP, and over TCP if need be"),
        (true, false) => report.warn("calls", "work from here, over UDP alone", ADMIN),
        (false, true) => report.warn("calls", "work from here, over TCP alone: with more delay", ADMIN),
        (false, false) => report.warn("calls", "nothing here says that they work", ADMIN),
    }
}

fn tell_udp(target: &MediaTarget, fault: &Fault, server: Server, is_taken: bool, report: &mut Report<impl Write>) {
    const WHAT: &str = "media over UDP";
    let port = target.port;
    let found = format!("{target}: {fault}");
    let open = format!(
        "open UDP port {port} (rtc.ice_port_udp) in firewalls and security groups; is it the address that participants \
         use?"
    );
    match fault {
        Fault::TimedOut if server == Server::Reference => report.warn(
            WHAT,
            format!("{target}: no answer, but Mattermost's own rtcd never gives one to this question"),
            "this is no fault; whether UDP gets through shows in a call (chrome://webrtc-internals)",
        ),
        Fault::TimedOut if server == Server::Unknown && is_taken => report.warn(
            WHAT,
            found,
            &format!(
                "if Mattermost's own rtcd runs there, this is no fault, as it never answers this question; else {open}"
            ),
        ),
        Fault::TimedOut => report.fail(WHAT, found, &open),
        Fault::Refused => report.fail(WHAT, format!("{target}: the port is closed"), &closed("UDP", "udp", port)),
        fault => report.fail(WHAT, found, &fault.advice(port)),
    }
}

fn tell_tcp(target: &MediaTarget, unseen: &Unseen, server: Server, report: &mut Report<impl Write>) {
    const WHAT: &str = "media over TCP";
    const IN_FRONT: &str =
        "is a proxy or a load balancer for HTTP or TLS in front of it? It must pass TCP through as it is";
    let (port, fault) = (target.port, &unseen.fault);
    let found = format!("{target}: {fault}");
    match (fault, server) {
        (_, Server::Reference) if unseen.connected => {
            report.ok(WHAT, format!("{target} takes connections (Mattermost's own rtcd answers participants alone)"));
        }
        (_, Server::Unknown) if unseen.connected => {
            report.warn(WHAT, found, &format!("if Mattermost's own rtcd runs there, this is no fault; else {IN_FRONT}"))
        }
        (_, _) if unseen.connected => report.fail(WHAT, found, IN_FRONT),
        (Fault::TimedOut, _) => report.fail(
            WHAT,
            found,
            &format!(
                "open TCP port {port} (rtc.ice_port_tcp) in firewalls and security groups: participants need it whose \
                 network blocks UDP, calls of others work"
            ),
        ),
        (Fault::Refused, _) => report.fail(WHAT, found, &closed("TCP", "tcp", port)),
        (fault, _) => report.fail(WHAT, found, &fault.advice(port)),
    }
}

fn closed(protocol: &str, key: &str, port: u16) -> String {
    format!(
        "is rtcd running there, and is {port} its rtc.ice_port_{key}? Is it the address that participants use? A firewall \
         that rejects {protocol} looks the same"
    )
}

/// A name may have addresses that the daemon does not listen on (IPv6): one that answers is enough.
async fn first<F: Future<Output = Result<Seen, Unseen>> + Unpin>(
    target: &MediaTarget,
    ask: impl Fn(SocketAddr) -> F,
) -> Result<Seen, Unseen> {
    let asked: Vec<_> = lookup(&target.host, target.port).await?.into_iter().map(ask).collect();
    select_ok(asked).await.map(|(seen, _)| seen)
}

async fn udp(server: SocketAddr) -> Result<Seen, Unseen> {
    let transaction: TransactionId = rand::random();
    let local = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let request = client::padded_request(&transaction);
    let begin = Instant::now();
    let us = stun_client::ask(local, server, begin + PATIENCE, &transaction, &request).await.map_err(Fault::from)?;
    Ok(Seen { server, us, round_trip: begin.elapsed() })
}

async fn tcp(server: SocketAddr) -> Result<Seen, Unseen> {
    let stream = timeout(PATIENCE, TcpStream::connect(server)).await.map_err(|_| Fault::TimedOut)?;
    let mut stream = stream.map_err(Fault::from)?;
    let exchange = async {
        stream.set_nodelay(true)?;
        let transaction: TransactionId = rand::random();
        let request = client::padded_request(&transaction);
        let begin = Instant::now();
        // RFC 4571: a length of two bytes in front of each packet.
        let frame = [&(request.len() as u16).to_be_bytes()[..], &request].concat();
        stream.write_all(&frame).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        let us = client::mapped_address(&transaction, &answer);
        let us = us.ok_or_else(|| Fault::Other("connected, and the answer is no STUN".into()))?;
        Ok(Seen { server, us, round_trip: begin.elapsed() })
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap_or(Err(Fault::Silent));
    answer.map_err(|fault| Unseen { connected: true, fault })
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, us, round_trip } = self;
        let milliseconds = round_trip.as_secs_f64() * 1000.0;
        write!(f, "{server} answers in {milliseconds:.1} ms and sees us as {us}")
    }
}
