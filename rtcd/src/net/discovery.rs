//! Keeps what participants are told true while the world changes: addresses of this machine come and go, names get others,
//! servers fall silent and come back. Nobody waits for it.
use super::addresses::Local;
use super::binder::Binder;
use super::candidates::advertise;
use super::complaints::{complaints, nobody_outside};
use super::external::External;
use super::lookup::Resolver;
use super::outside::{Found, Source, look};
use super::watch::Watch;
use crate::config::Rtc;
use crate::logging::OnceEach;
use crate::metrics::{Address, Advertised};
use crate::notices::{Notices, Topic};
use crate::signal::SignalHandle;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rtcd_media::demux::Protocol;
use rtcd_media::sdp::write::Candidate;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Between two looks at our own addresses: where the kernel gives no news of them, and for what could not be bound.
const LOCAL_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks outside, however fast our addresses change.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// A configuration to be taken over; told whether what it asks of others is known now.
type Reload = (Rtc, oneshot::Sender<bool>);

/// What wakes the task.
enum Event {
    Found(Found),
    LocalChange,
    /// `None`: the daemon is ending.
    Reload(Option<Reload>),
}

/// A handle on the running task.
#[derive(Clone)]
pub struct DiscoveryHandle(mpsc::Sender<Reload>);

impl DiscoveryHandle {
    /// Takes over what decides the addresses that participants are told. Whether all of it is known when this returns, some
    /// seconds later at most; if not, what was known before stays, and is replaced as soon as it is. `None`: it has ended.
    pub async fn reload(&self, rtc: Rtc) -> Option<bool> {
        let (done, told) = oneshot::channel();
        self.0.send((rtc, done)).await.ok()?;
        told.await.ok()
    }
}

/// Where the admin reads what participants are told, and what is odd about it.
#[derive(Clone)]
pub struct Board {
    /// The addresses.
    pub advertised: Arc<Advertised>,
    /// What is odd.
    pub notices: Notices,
}

/// What is known of us.
pub struct Discovery {
    rtc: Rtc,
    local: Local,
    external: External,
    /// Somebody was told that a reload was not complete.
    late: bool,
    complained: OnceEach<String>,
    /// What participants are told, as the log shows it: UDP, TCP.
    said: [String; 2],
    resolver: Resolver,
    /// When the last look began, and when the next one does.
    looked: Option<Instant>,
    looks: Option<Instant>,
}

impl Discovery {
    /// What is known without asking anybody.
    pub fn new(rtc: &Rtc, local: Local) -> Self {
        Self {
            rtc: rtc.clone(),
            local,
            external: External::new(rtc),
            late: false,
            complained: OnceEach::default(),
            said: Default::default(),
            resolver: Resolver::default(),
            looked: None,
            looks: None,
        }
    }

    /// What participants are told now.
    pub fn candidates(&self) -> Vec<Candidate> {
        let ports = self.rtc.ice_host_port_override.as_ref();
        advertise(ports, self.external.mapping(), &self.local.bind.udp, &self.local.bind.tcp)
    }

    /// Looks once: what would be told a moment after the start, and whether all of it is known.
    pub async fn once(mut self) -> (Vec<Candidate>, bool) {
        let found = look(self.external.source(), &self.local.bind.ips(), &self.resolver).await;
        self.external.learn(found);
        (self.candidates(), self.external.is_settled())
    }

    /// Keeps signalling informed until that has ended.
    pub fn start(self, signal: SignalHandle, binder: Binder, board: Board) -> DiscoveryHandle {
        let (handle, reloads) = mpsc::channel(1);
        tokio::spawn(self.run(signal, binder, board, reloads));
        DiscoveryHandle(handle)
    }

    async fn run(
        mut self,
        signal: SignalHandle,
        mut binder: Binder,
        board: Board,
        mut reloads: mpsc::Receiver<Reload>,
    ) {
        let mut told = self.candidates();
        let mut waiting: Option<oneshot::Sender<bool>> = None;
        self.complain(&told, &board);
        self.say(&told, false, &board);
        let mut watch = Watch::new();
        let mut ticks = interval(LOCAL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = self.look(Duration::ZERO);
        loop {
            let event = tokio::select! {
                found = &mut next => Event::Found(found),
                () = watch.changed() => Event::LocalChange,
                _ = ticks.tick() => Event::LocalChange,
                reload = reloads.recv() => Event::Reload(reload),
            };
            match event {
                Event::Found(found) => {
                    self.external.learn(found);
                    next = self.look(self.external.pause());
                    if let Some(waiting) = waiting.take() {
                        self.late = !self.external.is_settled();
                        // Whoever asked may have gone.
                        let _ = waiting.send(!self.late);
                    } else if self.late && self.external.is_settled() {
                        self.late = false;
                        tracing::info!("configuration reloaded: what it asks of others is known now");
                    }
                }
                Event::LocalChange => {
                    let peers = self.local.peer_policy();
                    if self.follow(&mut binder) {
                        next = self.look(Duration::ZERO);
                    }
                    let now = self.local.peer_policy();
                    if now != peers && signal.set_peers(now).await.is_err() {
                        return;
                    }
                }
                Event::Reload(Some((rtc, done))) => {
                    self.external.set(&rtc);
                    self.rtc = rtc;
                    waiting = Some(done);
                    next = self.look(Duration::ZERO);
                }
                Event::Reload(None) => return,
            }
            let candidates = self.candidates();
            self.complain(&candidates, &board);
            self.say(&candidates, candidates != told, &board);
            if candidates != told {
                if signal.advertise(candidates.clone()).await.is_err() {
                    return;
                }
                told = candidates;
            }
        }
    }

    /// What participants are told now, over UDP and over TCP, each address with its origin.
    pub fn shown(&self) -> [String; 2] {
        self.show(&self.candidates())
    }

    fn show(&self, candidates: &[Candidate]) -> [String; 2] {
        [Protocol::Udp, Protocol::Tcp].map(|protocol| {
            let of_it = candidates.iter().filter(|candidate| candidate.protocol == protocol);
            of_it.map(|candidate| self.with_origin(candidate)).collect::<Vec<_>>().join(", ")
        })
    }

    /// Looks outside after a while, from the addresses of now.
    fn look(&mut self, pause: Duration) -> BoxFuture<'static, Found> {
        let now = Instant::now();
        self.looked = self.looks.filter(|begun| *begun <= now).or(self.looked);
        let earliest = self.looked.filter(|_| *self.external.source() != Source::Nobody).map(|last| last + MIN_PAUSE);
        let at = (now + pause).max(earliest.unwrap_or(now));
        self.looks = Some(at);
        let (source, own, resolver) = (self.external.source().clone(), self.local.bind.ips(), self.resolver.clone());
        async move {
            sleep_until(at).await;
            look(&source, &own, &resolver).await
        }
        .boxed()
    }

    /// Whether media is bound to other addresses than before.
    fn follow(&mut self, binder: &mut Binder) -> bool {
        let Some(local) = binder.follow() else { return false };
        let changed = local.bind != self.local.bind;
        self.local = local;
        if changed {
            self.external.set_local(&self.local.bind.ips());
        }
        changed
    }

    fn complain(&mut self, told: &[Candidate], board: &Board) {
        let bound: Vec<_> = self.local.bind.udp.iter().chain(&self.local.bind.tcp).copied().collect();
        let mut all = complaints(&self.rtc, self.external.mapping(), &bound);
        let ips: Vec<IpAddr> = told.iter().map(|candidate| candidate.address.ip()).collect();
        all.extend(nobody_outside(&self.rtc, &ips));
        board.notices.set(Topic::Addresses, all.clone());
        for complaint in self.complained.only(all) {
            tracing::warn!("{complaint}");
        }
    }

    /// Says what participants are told and where that comes from, when either is news.
    fn say(&mut self, candidates: &[Candidate], changed: bool, board: &Board) {
        let shown = self.show(candidates);
        if shown == self.said {
            return;
        }
        let address = |candidate: &Candidate| Address {
            protocol: if candidate.protocol == Protocol::Udp { "udp" } else { "tcp" },
            address: candidate.address.to_string(),
            origin: self.origin(candidate),
        };
        board.advertised.set_own(candidates.iter().map(address).collect());
        let what = match changed {
            true => "newcomers are told other addresses from now on",
            false => "participants are told these addresses",
        };
        let [udp_candidates, tcp_candidates] = &shown;
        tracing::info!(udp_candidates, tcp_candidates, "{what}");
        self.said = shown;
    }

    fn with_origin(&self, candidate: &Candidate) -> String {
        format!("{} ({})", candidate.address, self.origin(candidate))
    }

    /// Where an address came from: an interface, or whoever said what stands in for a local one.
    fn origin(&self, candidate: &Candidate) -> String {
        let (ip, port) = (candidate.address.ip(), candidate.address.port());
        let bound = if candidate.protocol == Protocol::Udp { &self.local.bind.udp } else { &self.local.bind.tcp };
        let local = candidate.base.unwrap_or(ip);
        let origin = match candidate.base {
            Some(local) => format!("{}, for {local}", self.external.origin(local)),
            None if self.external.names(ip) => self.external.origin(ip).to_owned(),
            None => match self.local.interfaces.get(&ip) {
                Some(interface) => interface.clone(),
                None => "named in the configuration".to_owned(),
            },
        };
        let same_port = bound.iter().any(|bound: &SocketAddr| bound.ip() == local && bound.port() == port);
        let port = if same_port { "" } else { "; rtc.ice_host_port_override" };
        format!("{origin}{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};
    use crate::net::addresses::Bind;

    fn discovery(variables: &[(&str, &str)], bound: &[(&str, &str)]) -> Discovery {
        let environment: Environment =
            variables.iter().map(|(name, value)| (format!("RTCD_RTC_{name}"), (*value).to_owned())).collect();
        let rtc = config::from_text("x".as_ref(), "", &environment).expect("valid").config.rtc;
        let addresses: Vec<IpAddr> = bound.iter().map(|(ip, _)| ip.parse().expect("an address")).collect();
        let interfaces = addresses.iter().zip(bound).filter(|(_, bound)| !bound.1.is_empty());
        let local = Local {
            bind: Bind { udp: addresses.iter().map(|ip| SocketAddr::new(*ip, 8443)).collect(), tcp: Vec::new() },
            interfaces: interfaces.map(|(ip, bound)| (*ip, bound.1.to_owned())).collect(),
        };
        Discovery::new(&rtc, local)
    }

    #[test]
    fn every_address_is_shown_with_its_origin() {
        let check = |variables: &[(&str, &str)], expected: &[&str]| {
            let bound = [("10.0.0.1", "eth0"), ("fd00::1", "eth0"), ("10.0.0.2", ""), ("127.0.0.1", "lo")];
            let discovery = discovery(variables, &bound);
            let shown: Vec<_> = discovery.candidates().iter().map(|one| discovery.with_origin(one)).collect();
            assert_eq!(shown, expected);
        };
        let (eth, lo) = ("10.0.0.1:8443 (eth0)", "127.0.0.1:8443 (lo)");
        let named = "10.0.0.2:8443 (named in the configuration)";
        check(&[], &[eth, "[fd00::1]:8443 (eth0)", named, lo]);
        check(
            &[("ICEHOSTOVERRIDE", "192.0.2.1"), ("ICEHOSTPORTOVERRIDE", "443")],
            &[
                "192.0.2.1:443 (rtc.ice_host_override, for 10.0.0.1; rtc.ice_host_port_override)",
                "[fd00::1]:8443 (eth0)",
                lo,
            ],
        );
        check(
            &[("ICEHOSTOVERRIDE", "2001:db8::7/fd00::1")],
            &["[2001:db8::7]:8443 (rtc.ice_host_override, for fd00::1)"],
        );
        let own = "10.0.0.1:8443 (rtc.ice_host_override)";
        check(&[("ICEHOSTOVERRIDE", "10.0.0.1")], &[own, "[fd00::1]:8443 (eth0)", lo]);
    }
}
