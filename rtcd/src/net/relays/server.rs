//! One allocation for as long as the daemon runs: made, watched, and made again when it has ended.
use super::account::Credentials;
use super::link;
use crate::config::IceUrl;
use crate::metrics::TurnMetrics;
use crate::net::lookup::Resolver;
use crate::plane::PlaneHandle;
use crate::plane::command::Command;
use crate::plane::relay::{OpenRelay, RelayId};
use rtcd_media::turn::RelayEvent;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// After the first failure; doubled with each further one up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// What a server cannot do it may do after an upgrade.
const UNSUPPORTED_RETRY: Duration = Duration::from_secs(10 * 60);
/// Until the way to a server is open.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events of one allocation that may wait.
const EVENTS: usize = 64;

/// An allocation that the configuration asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The server, as logs and metrics call it; and where requests leave from, if there are several such places.
    pub name: String,
    /// The server.
    pub url: IceUrl,
    /// For it.
    pub credentials: Credentials,
    /// The family of the relayed address.
    pub ipv6: bool,
    /// Where requests leave from; `None`: where the kernel wants.
    pub local: Option<IpAddr>,
}

impl Place {
    /// One of the server's addresses, and where to send from. The local address goes first: servers of another family are
    /// reached from wherever the kernel wants, when there is no other.
    pub fn choose(&self, addresses: &[SocketAddr], attempt: usize) -> Option<(SocketAddr, Option<IpAddr>)> {
        let family = |address: &&SocketAddr| self.local.is_some_and(|local| local.is_ipv4() == address.is_ipv4());
        let of_family: Vec<_> = addresses.iter().filter(family).collect();
        match of_family.len() {
            0 => addresses.get(attempt % addresses.len().max(1)).map(|address| (*address, None)),
            count => Some((*of_family[attempt % count], self.local)),
        }
    }
}

/// What becomes of a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// There is none, or none any more.
    None {
        /// What the admin may want to do something about.
        why: Option<String>,
    },
    /// Participants reach us here.
    Allocated(SocketAddr),
}

/// Whom a server's task works with.
#[derive(Clone)]
pub struct Context {
    /// Where the sockets go.
    pub plane: PlaneHandle,
    /// Names to addresses.
    pub resolver: Resolver,
    /// What it counts.
    pub metrics: Arc<TurnMetrics>,
    /// Told what becomes of the place of this number.
    pub states: mpsc::Sender<(usize, State)>,
}

/// Gives an allocation back when it is dropped.
struct Open {
    plane: PlaneHandle,
    id: RelayId,
}

impl Drop for Open {
    fn drop(&mut self) {
        // A worker that takes no commands is stuck: the watchdog sees it.
        let _ = self.plane.send(self.id.worker(), Command::CloseRelay(self.id));
    }
}

/// The task of one place.
pub struct Server {
    place: Place,
    /// Its number among the places.
    number: usize,
    context: Context,
    /// The last good answer of the name servers.
    addresses: Arc<[SocketAddr]>,
    attempts: usize,
    /// What was logged last as the reason of a failure.
    told: Option<String>,
}

impl Server {
    /// For the place of this number.
    pub fn new(place: Place, number: usize, context: Context) -> Self {
        Self { place, number, context, addresses: Arc::new([]), attempts: 0, told: None }
    }

    /// Keeps an allocation for as long as anybody wants to hear of it.
    pub async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let begun = Instant::now();
            let Err(failure) = self.keep_one().await else { return };
            // One that has lived is made again at once: its sessions wait.
            if failure.lived && begun.elapsed() > LONGEST_RETRY {
                failures = 0;
            }
            let wait = match failures {
                0 if failure.lived => Duration::ZERO,
                _ if failure.word == "unsupported" => UNSUPPORTED_RETRY,
                _ => (FIRST_RETRY * 2u32.saturating_pow(failures.min(16))).min(LONGEST_RETRY),
            };
            failures += 1;
            self.tell(&failure);
            // IPv6 is asked for beside IPv4, and many servers have none.
            let is_odd = failure.word != "unsupported" || !self.place.ipv6;
            let why = is_odd.then(|| format!("no relay address, trying again: {}", failure.why));
            if self.context.states.send((self.number, State::None { why })).await.is_err() {
                return;
            }
            sleep(wait).await;
        }
    }

    fn tell(&mut self, failure: &Failure) {
        let (server, family) = (self.place.name.clone(), family(self.place.ipv6));
        self.context.metrics.failed(&server, family, failure.word);
        if self.told.as_ref() != Some(&failure.why) {
            // IPv6 is asked for beside IPv4, and many servers have none.
            match (failure.word, self.place.ipv6) {
                ("unsupported", true) => tracing::info!(server, family, why = failure.why, "no relay address"),
                _ => tracing::warn!(server, family, why = failure.why, "no relay address, trying again"),
            }
            self.told = Some(failure.why.clone());
        }
    }

    /// Makes an allocation and watches it until it ends.
    async fn keep_one(&mut self) -> Result<(), Failure> {
        let (server, local) = self.address().await?;
        let dropped = self.context.metrics.dropped.clone();
        let opened = timeout(PATIENCE, link::open(&self.place.url, server, local, dropped)).await;
        let opened =
            opened.unwrap_or_else(|_| Err(format!("{server} does not answer within {} s", PATIENCE.as_secs())));
        let mut link = opened.map_err(|why| Failure::of("unreachable", why))?;
        let socket = link.socket.try_clone().map_err(|error| Failure::of("unreachable", error.to_string()))?;
        let (events, mut told) = mpsc::channel(EVENTS);
        let workers: Vec<_> = self.context.plane.workers().collect();
        let id = RelayId::new(workers[self.number % workers.len()], super::next_number());
        let open = OpenRelay {
            id,
            socket,
            server: link.server,
            account: self.place.credentials.account(SystemTime::now()),
            ipv6: self.place.ipv6,
            reliable: link.reliable,
            events,
        };
        let refused = |_| Failure::of("overload", "the packet plane takes no commands".to_owned());
        self.context.plane.send(id.worker(), Command::OpenRelay(Box::new(open))).map_err(refused)?;
        let _open = Open { plane: self.context.plane.clone(), id };
        let (mut lived, mut denied) = (false, false);
        loop {
            let event = tokio::select! {
                event = told.recv() => event,
                why = link.closed() => return Err(Failure { word: "closed", why, lived }),
            };
            match event {
                Some(RelayEvent::Allocated { relayed, round_trip }) => {
                    lived = true;
                    self.allocated(relayed, round_trip);
                    if self.context.states.send((self.number, State::Allocated(relayed))).await.is_err() {
                        return Ok(());
                    }
                }
                Some(RelayEvent::Denied(_)) => {
                    self.context.metrics.denied.inc();
                    // Private addresses, as a rule, which browsers name beside their public ones.
                    if !std::mem::replace(&mut denied, true) {
                        let server = &*self.place.name;
                        tracing::info!(
                            server,
                            "the TURN server relays nothing to some addresses of participants (403)"
                        );
                    }
                }
                Some(RelayEvent::Ended(ending)) => {
                    return Err(Failure { word: ending.as_str(), why: ending.to_string(), lived });
                }
                None => return Err(Failure::of("overload", "the packet plane has no room for it".to_owned())),
            }
        }
    }

    fn allocated(&mut self, relayed: SocketAddr, round_trip: Option<Duration>) {
        let (server, family) = (self.place.name.clone(), family(self.place.ipv6));
        self.context.metrics.allocated(&server, family, round_trip);
        let again = self.told.take().is_some();
        tracing::info!(server, %relayed, again, "relay address allocated");
    }

    /// One of the server's addresses, another one with each attempt, and where to send from.
    async fn address(&mut self) -> Result<(SocketAddr, Option<IpAddr>), Failure> {
        let url = &self.place.url;
        match self.context.resolver.lookup(&url.host, url.port, Instant::now() + PATIENCE).await {
            Ok(found) if !found.is_empty() => self.addresses = found,
            Ok(_) => {}
            Err(why) if self.addresses.is_empty() => {
                return Err(Failure::of("unresolvable", format!("{}: {why}", url.host)));
            }
            // The last good answer.
            Err(_) => {}
        }
        let none = || Failure::of("unresolvable", format!("{} has no address", url.host));
        let chosen = self.place.choose(&self.addresses, self.attempts).ok_or_else(none);
        self.attempts += 1;
        chosen
    }
}

/// The family as metrics and logs call it.
pub const fn family(ipv6: bool) -> &'static str {
    if ipv6 { "ipv6" } else { "ipv4" }
}

/// Why there is no allocation.
struct Failure {
    /// A constant for metrics.
    word: &'static str,
    /// For people.
    why: String,
    /// There was one.
    lived: bool,
}

impl Failure {
    fn of(word: &'static str, why: String) -> Self {
        Self { word, why, lived: false }
    }
}
