//! Whether the media port is reached: a STUN Binding request without credentials over UDP and over TCP.
use super::PATIENCE;
use super::connect::within;
use super::report::Report;
use super::target::MediaTarget;
use crate::net::stun_client;
use futures_util::future::select_ok;
use rtcd_media::stun::{TransactionId, client};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

struct Seen {
    server: SocketAddr,
    us: SocketAddr,
    round_trip: Duration,
}

/// Asks by STUN over UDP and over TCP, and reports each.
pub async fn check(udp_target: &MediaTarget, tcp_target: &MediaTarget, report: &mut Report<impl Write>) {
    let port = udp_target.port;
    let advice = format!(
        "open UDP port {port} (rtc.ice_port_udp) in firewalls and security groups; is it the address that participants use (--media)?"
    );
    tell("media over UDP", first(udp_target, |server| Box::pin(udp(server))).await, &advice, report);
    let port = tcp_target.port;
    let advice = format!(
        "open TCP port {port} (rtc.ice_port_tcp), which participants need whose network blocks UDP; calls of others work"
    );
    tell("media over TCP", first(tcp_target, |server| Box::pin(tcp(server))).await, &advice, report);
}

fn tell(what: &str, result: io::Result<Seen>, advice: &str, report: &mut Report<impl Write>) {
    match result {
        Ok(Seen { server, us, round_trip }) => {
            let milliseconds = round_trip.as_secs_f64() * 1000.0;
            report.ok(what, format!("{server} answers in {milliseconds:.1} ms and sees us as {us}"));
        }
        Err(error) => report.fail(what, error, advice),
    }
}

/// A name may have addresses that the daemon does not listen on (IPv6): one that answers is enough.
async fn first<F: Future<Output = io::Result<Seen>> + Unpin>(
    target: &MediaTarget,
    ask: impl Fn(SocketAddr) -> F,
) -> io::Result<Seen> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", target.host));
    let servers = within(lookup_host((target.host.as_str(), target.port))).await.map_err(named)?;
    let asked: Vec<_> = servers.map(ask).collect();
    if asked.is_empty() {
        return Err(named(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    select_ok(asked).await.map(|(seen, _)| seen)
}

async fn udp(server: SocketAddr) -> io::Result<Seen> {
    let transaction: TransactionId = rand::random();
    let local = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let request = client::padded_request(&transaction);
    let begin = Instant::now();
    let us = stun_client::ask(local, server, begin + PATIENCE, &transaction, &request)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{server}: {error}")))?;
    Ok(Seen { server, us, round_trip: begin.elapsed() })
}

async fn tcp(server: SocketAddr) -> io::Result<Seen> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let transaction: TransactionId = rand::random();
        let request = client::padded_request(&transaction);
        let begin = Instant::now();
        // RFC 4571: a length of two bytes in front of each packet.
        let frame = [&(request.len() as u16).to_be_bytes()[..], &request].concat();
        stream.write_all(&frame).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        let us = client::mapped_address(&transaction, &answer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is no STUN"))?;
        Ok(Seen { server, us, round_trip: begin.elapsed() })
    };
    within(exchange).await.map_err(|error| io::Error::new(error.kind(), format!("{server}: {error}")))
}
