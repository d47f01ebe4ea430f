//! The check page: an admin sends a link to whoever cannot call, and the page says which hop is broken and what to open.
//!
//! It is served on the media's TCP port, since that is what participants reach when they reach anything over TCP, and 8045 is
//! closed to them: a worker passes connections that begin with TLS or HTTP on to [`door`], while a [link](links) is alive. The
//! API serves the same pages, for a proxy that publishes their path and for when it is TCP on the media port that is closed.
//! [`web`] has the pages, [`run`] the WebSocket of one run: sessions of a private call, by the way that every call takes.
mod certificate;
mod door;
mod links;
mod result;
mod run;
mod web;

pub use links::{MAX_LIFE, USES};

use crate::api::conn_id;
use crate::config::{Config, IceServer, Rtc, TurnStaticAuth};
use crate::ids::ClientId;
use crate::plane::PlaneHandle;
use crate::signal::SignalHandle;
use certificate::Certificates;
use links::{Links, Standing};
use rtcd_media::demux::Protocol;
use rtcd_media::sdp::write::Candidate;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tracing::info;

/// What the name of its group begins with: no client's does.
pub const GROUP: &str = ":check-page-";

/// Runs at the same time.
const MAX_RUNS: usize = 8;

/// What the page needs of the daemon.
pub struct Parts {
    /// Where its sessions are.
    pub signal: SignalHandle,
    /// Where its visitors come from.
    pub plane: PlaneHandle,
    /// Tells that the API says goodbye.
    pub closing: watch::Receiver<bool>,
    /// The places of WebSockets, which the end of the API waits for.
    pub websockets: Arc<Semaphore>,
}

/// Links, and what it takes to serve those who have one; clones share it.
#[derive(Clone)]
pub struct CheckPage(Arc<Inner>);

struct Inner {
    parts: Parts,
    links: Mutex<Links>,
    /// Of its sessions: no client's, and a name that nobody guesses and logs in by.
    group: ClientId,
    runs: Arc<Semaphore>,
    certificates: Certificates,
    ice: Mutex<Ice>,
}

/// What the page may try beside our own addresses.
#[derive(Clone)]
struct Ice {
    servers: Vec<IceServer>,
    turn: Option<TurnStaticAuth>,
}

impl Ice {
    fn of(rtc: &Rtc) -> Self {
        Self { servers: rtc.ice_servers.clone(), turn: rtc.turn.clone() }
    }
}

/// A link as the admin gets it. The token in it is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `/check/TOKEN`
    pub path: String,
    /// Where the page is on the media port, best first: `https://203.0.113.7:8443/check/TOKEN`.
    pub urls: Vec<String>,
    /// How long it is good for.
    pub life: Duration,
    /// Whether the certificate there is one that no browser knows.
    pub self_signed: bool,
}

impl CheckPage {
    /// Without links yet. The task that serves visitors of the media port runs until the plane ends.
    pub fn start(parts: Parts, config: &Config) -> Self {
        let visitors = parts.plane.web_visitors();
        let page = Self(Arc::new(Inner {
            parts,
            links: Mutex::default(),
            group: format!("{GROUP}{}", conn_id::random()).into(),
            runs: Arc::new(Semaphore::new(MAX_RUNS)),
            certificates: Certificates::new(config.api.tls.as_ref()),
            ice: Mutex::new(Ice::of(&config.rtc)),
        }));
        if let Some(visitors) = visitors {
            tokio::spawn(door::serve(page.clone(), visitors));
        }
        page
    }

    /// A new link, and open doors.
    pub fn make_link(&self, life: Duration) -> Result<Link, rcgen::Error> {
        let life = life.min(MAX_LIFE);
        let told = self.told();
        // What can fail comes first.
        self.0.certificates.prepare(told.iter().map(|candidate| candidate.address.ip()))?;
        let (token, number, is_minded) = {
            let mut links = self.links();
            let (token, number) = links.make(Instant::now(), life);
            (token, number, std::mem::replace(&mut links.is_minded, true))
        };
        self.0.parts.plane.open_web(true);
        if !is_minded {
            tokio::spawn(self.clone().mind_the_door());
        }
        info!(link = number, life_s = life.as_secs(), uses = USES, "a link to the check page was made");
        let path = format!("/check/{token}");
        let tcp: Vec<_> = told.iter().filter(|candidate| candidate.protocol == Protocol::Tcp).collect();
        // A certificate that browsers know is for names.
        let port = tcp.first().map(|candidate| candidate.address.port());
        let names = self.0.certificates.names().iter().zip(port.into_iter().cycle());
        let names = names.map(|(name, port)| format!("https://{name}:{port}{path}"));
        let urls = names.chain(tcp.iter().map(|candidate| format!("https://{}{path}", candidate.address))).collect();
        Ok(Link { path, urls, life, self_signed: self.0.certificates.is_self_signed() })
    }

    /// Runs from now on try these servers.
    pub fn set_servers(&self, rtc: &Rtc) {
        *self.0.ice.lock().unwrap_or_else(PoisonError::into_inner) = Ice::of(rtc);
    }

    /// What participants are told now, without what is of use on this machine alone, where there is more.
    fn told(&self) -> Vec<Candidate> {
        let mut told = self.0.parts.signal.told();
        if told.iter().any(|candidate| !candidate.address.ip().is_loopback()) {
            told.retain(|candidate| !candidate.address.ip().is_loopback());
        }
        told
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self, token: &str) -> Standing {
        self.links().standing(Instant::now(), token)
    }

    /// The media port is open to browsers while there are links, or somebody may be told that one has ended.
    async fn mind_the_door(self) {
        loop {
            let until = {
                let mut links = self.links();
                let until = links.open_until(Instant::now());
                if until.is_none() {
                    // Whoever makes a link now waits for this lock, and opens again.
                    links.is_minded = false;
                    self.0.parts.plane.open_web(false);
                }
                until
            };
            let Some(until) = until else { return };
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

/// Where a request has come from, as far as the media port knows.
#[derive(Clone, Copy, Debug)]
struct SeenAs(SocketAddr);
