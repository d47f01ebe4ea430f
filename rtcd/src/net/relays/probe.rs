//! Asks TURN servers once, for `rtcd check`.
use super::server::{Place, family};
use super::{link, places};
use crate::config::Rtc;
use crate::net::lookup::Resolver;
use futures_util::future::join_all;
use prometheus::IntCounter;
use rtcd_media::turn::{Relay, RelayEvent};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long one server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a server has given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocated {
    /// Where participants would reach us.
    pub relayed: SocketAddr,
    /// Between a request and its answer, if none got lost.
    pub round_trip: Option<Duration>,
}

/// Makes an allocation on each server of the configuration, all at once, and gives it back: the server and the family, and
/// what came of it.
pub async fn probe(rtc: &Rtc) -> Vec<(String, Result<Allocated, String>)> {
    let ask = async |place: Place| {
        let transport = match (place.url.tls, place.url.tcp) {
            (true, _) => "TLS",
            (false, true) => "TCP",
            (false, false) => "UDP",
        };
        let family = if place.ipv6 { format!(", {}", family(true)) } else { String::new() };
        (format!("{} over {transport}{family}", place.name), ask(&place).await)
    };
    join_all(places(rtc).into_iter().map(ask)).await
}

async fn ask(place: &Place) -> Result<Allocated, String> {
    let deadline = Instant::now() + PATIENCE;
    let found = Resolver::default().lookup(&place.url.host, place.url.port, deadline).await;
    let found = found.map_err(|why| format!("{}: {why}", place.url.host))?;
    let (server, local) = place.choose(&found, 0).ok_or_else(|| format!("{} has no address", place.url.host))?;
    let dropped = IntCounter::new("dropped", "not told").map_err(|error| error.to_string())?;
    let opened = timeout_at(deadline, link::open(&place.url, server, local, dropped)).await;
    let link = opened.unwrap_or_else(|_| Err(format!("{server} does not answer")))?;
    let socket = link.socket.try_clone().and_then(|socket| {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    });
    let socket = socket.map_err(|error| error.to_string())?;
    let account = place.credentials.account(SystemTime::now());
    let mut relay = Relay::new(account, place.ipv6, link.reliable, Instant::now().into_std());
    let mut buffer = [0; 2048];
    loop {
        while let Some(bytes) = relay.poll_datagram() {
            // A closed port shows as an error of the next receive.
            let _ = socket.send(&bytes).await;
        }
        match relay.poll_event() {
            Some(RelayEvent::Allocated { relayed, round_trip }) => {
                if let Some(bytes) = relay.delete() {
                    let _ = socket.send(&bytes).await;
                }
                return Ok(Allocated { relayed, round_trip });
            }
            Some(RelayEvent::Ended(why)) => return Err(why.to_string()),
            Some(RelayEvent::Denied(_)) | None => {}
        }
        let wake = relay.next_timeout().map_or(deadline, |at| Instant::from_std(at).min(deadline));
        tokio::select! {
            received = socket.recv(&mut buffer) => match received {
                Ok(len) => drop(relay.handle_datagram(Instant::now().into_std(), &buffer[..len])),
                Err(error) => return Err(format!("{server}: {error}")),
            },
            () = sleep_until(wake) => {}
        }
        if Instant::now() >= deadline {
            return Err(format!("{server} does not answer within {} s", PATIENCE.as_secs()));
        }
        relay.handle_timeout(Instant::now().into_std());
    }
}
