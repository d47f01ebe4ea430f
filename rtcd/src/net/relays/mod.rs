//! Addresses of ours on TURN servers, for participants who cannot send to us and to whom we cannot send: one allocation for
//! each server, shared by all sessions. Each server has a task of its own, so that one that is down delays nobody.
mod account;
mod link;
pub mod probe;
mod server;

use crate::config::Rtc;
use crate::metrics::{Address, TurnMetrics};
use crate::net::discovery::Board;
use crate::net::lookup::Resolver;
use crate::notices::Topic;
use crate::plane::PlaneHandle;
use crate::signal::SignalHandle;
pub(crate) use account::Credentials;
use rtcd_media::demux::Protocol;
use rtcd_media::sdp::write::Candidate;
use server::{Context, Place, Server, State, family};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Allocations in all: participants try each of them.
const MAX_PLACES: usize = 16;
/// States that may wait for the task that tells signalling.
const STATES: usize = 64;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Counts allocations over the life of the process.
fn next_number() -> u32 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The allocations that a configuration asks for, in its order.
fn places(rtc: &Rtc) -> Vec<Place> {
    let mut places = Vec::new();
    // Where the operator has named addresses, relays leave from them; else from where the kernel wants.
    let named: Vec<IpAddr> =
        rtc.ice_address_udp.iter().copied().filter(|ip| !ip.is_unspecified() && !ip.is_loopback()).collect();
    let locals: Vec<_> = if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() };
    for server in &rtc.ice_servers {
        let Some(credentials) = Credentials::of(server, rtc.turn.as_ref()) else { continue };
        for url in server.urls.iter().filter(|url| url.turn) {
            for local in &locals {
                let name = match local.filter(|_| locals.len() > 1) {
                    Some(local) => format!("{url} from {local}"),
                    None => url.to_string(),
                };
                for ipv6 in [false, true].into_iter().filter(|ipv6| !ipv6 || rtc.enable_ipv6) {
                    places.push(Place {
                        name: name.clone(),
                        url: url.clone(),
                        credentials: credentials.clone(),
                        ipv6,
                        local: *local,
                    });
                }
            }
        }
    }
    if places.len() > MAX_PLACES {
        let more = places.len() - MAX_PLACES;
        tracing::warn!(more, "rtc.ice_servers: more TURN servers than participants would try, the last are not used");
        places.truncate(MAX_PLACES);
    }
    places
}

/// The relays of a running daemon.
pub struct Relays {
    plane: PlaneHandle,
    signal: SignalHandle,
    metrics: Arc<TurnMetrics>,
    board: Board,
    resolver: Resolver,
    places: Vec<Place>,
    tasks: Vec<JoinHandle<()>>,
}

impl Relays {
    /// Asks all servers of the configuration from now on.
    pub fn start(rtc: &Rtc, plane: PlaneHandle, signal: SignalHandle, metrics: Arc<TurnMetrics>, board: Board) -> Self {
        let resolver = Resolver::default();
        let mut relays = Self { plane, signal, metrics, board, resolver, places: Vec::new(), tasks: Vec::new() };
        relays.set(rtc);
        relays
    }

    /// Takes over a configuration. While it asks for the same nothing changes; else all is asked for anew.
    pub fn set(&mut self, rtc: &Rtc) {
        let places = places(rtc);
        if places == self.places {
            return;
        }
        self.tasks.drain(..).for_each(|task| task.abort());
        self.metrics.forget();
        let (states, told) = mpsc::channel(STATES);
        for (number, place) in places.iter().enumerate() {
            self.metrics.expect(&place.name, family(place.ipv6));
            let context = Context {
                plane: self.plane.clone(),
                resolver: self.resolver.clone(),
                metrics: self.metrics.clone(),
                states: states.clone(),
            };
            self.tasks.push(tokio::spawn(Server::new(place.clone(), number, context).run()));
        }
        self.tasks.push(tokio::spawn(tell(told, places.clone(), self.signal.clone(), self.board.clone())));
        self.places = places;
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

/// Tells participants of what there is.
async fn tell(mut told: mpsc::Receiver<(usize, State)>, places: Vec<Place>, signal: SignalHandle, board: Board) {
    let mut addresses: BTreeMap<usize, SocketAddr> = BTreeMap::new();
    let mut failures: BTreeMap<usize, String> = BTreeMap::new();
    // What an earlier configuration had is gone.
    let mut advertised = None;
    loop {
        let candidates = candidates(addresses.values().copied());
        if advertised.as_ref() != Some(&candidates) {
            if signal.advertise_relays(candidates.clone()).await.is_err() {
                return;
            }
            advertised = Some(candidates);
            let address = |(number, address): (&usize, &SocketAddr)| Address {
                protocol: "relay",
                address: address.to_string(),
                origin: places[*number].name.clone(),
            };
            board.advertised.set_relays(addresses.iter().map(address).collect());
        }
        board.notices.set(Topic::Turn, failures.values().cloned().collect());
        match told.recv().await {
            Some((number, State::Allocated(relayed))) => {
                addresses.insert(number, relayed);
                failures.remove(&number);
            }
            Some((number, State::None { why })) => {
                addresses.remove(&number);
                match why {
                    Some(why) => failures.insert(number, format!("rtc.ice_servers: {}: {why}", places[number].name)),
                    None => failures.remove(&number),
                };
            }
            None => return,
        }
    }
}

fn candidates(addresses: impl Iterator<Item = SocketAddr>) -> Vec<Candidate> {
    let candidate = |(rank, address)| Candidate { protocol: Protocol::Relay, address, rank, base: None };
    (0..).zip(addresses).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    fn check(variables: &[(&str, &str)], expected: &[&str]) {
        let environment: Environment =
            variables.iter().map(|(name, value)| (format!("RTCD_RTC_{name}"), (*value).to_owned())).collect();
        let rtc = config::from_text("x".as_ref(), "", &environment).expect("valid").config.rtc;
        let shown =
            places(&rtc).iter().map(|place| format!("{} {}", place.name, family(place.ipv6))).collect::<Vec<_>>();
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_url_with_credentials_is_asked_for_each_family() {
        let servers = r#"["stun:s", "turn:none", {"urls": ["turn:a", "turns:b:443?transport=tcp"], "username": "u", "credential": "c"}]"#;
        check(&[("ICESERVERS", servers)], &["turn:a:3478 ipv4", "turns:b:443 ipv4"]);
        check(
            &[("ICESERVERS", servers), ("TURNCONFIG_STATICAUTHSECRET", "secret"), ("ENABLEIPV6", "true")],
            &[
                "turn:none:3478 ipv4",
                "turn:none:3478 ipv6",
                "turn:a:3478 ipv4",
                "turn:a:3478 ipv6",
                "turns:b:443 ipv4",
                "turns:b:443 ipv6",
            ],
        );
    }
}
