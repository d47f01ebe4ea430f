//! Keeps what participants are told true while the world changes: names get other addresses, servers fall silent and come
//! back. Nobody waits for it. What was once known stays until something better is known.
use super::addresses;
use super::candidates::{Mapping, advertise};
use super::complaints::complaints;
use super::lookup::Resolver;
use super::outside::{Found, Source, look};
use crate::config::{HostOverride, Rtc};
use crate::logging::OnceEach;
use crate::signal::SignalHandle;
use rtcd_media::sdp::write::Candidate;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// Between two looks at a name, and at our own addresses. The reference resolves the name anew for each session.
const NAME_INTERVAL: Duration = Duration::from_secs(5);
/// Between two questions to STUN servers, which belong to others: an address behind a NAT changes once a day.
const STUN_INTERVAL: Duration = Duration::from_secs(30);
/// After the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A configuration to be taken over; told whether what it asks of others is known now.
type Reload = (Rtc, oneshot::Sender<bool>);

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

/// What is known of us.
pub struct Discovery {
    rtc: Rtc,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    source: Source,
    mapping: Mapping,
    /// The source has answered since it was set.
    settled: bool,
    /// Somebody was told that a reload was not complete.
    late: bool,
    failures: u32,
    failing: OnceEach<Option<IpAddr>>,
    complained: OnceEach<String>,
    local: BTreeSet<IpAddr>,
}

impl Discovery {
    /// What is known without asking anybody, for sockets bound to these addresses.
    pub fn new(rtc: &Rtc, udp: &[SocketAddr], tcp: &[SocketAddr]) -> Self {
        let mut new = Self {
            rtc: rtc.clone(),
            udp: udp.to_vec(),
            tcp: tcp.to_vec(),
            source: Source::Nobody,
            mapping: Mapping::none(),
            settled: true,
            late: false,
            failures: 0,
            failing: OnceEach::default(),
            complained: OnceEach::default(),
            local: udp.iter().chain(tcp).map(SocketAddr::ip).collect(),
        };
        new.set(rtc.clone());
        new
    }

    /// What participants are told now.
    pub fn candidates(&self) -> Vec<Candidate> {
        advertise(self.rtc.ice_host_port_override.as_ref(), &self.mapping, &self.udp, &self.tcp)
    }

    /// Looks once: what would be told a moment after the start, and whether all of it is known.
    pub async fn once(mut self) -> (Vec<Candidate>, bool) {
        let found = look(&self.source, &self.own(), &Resolver::default()).await;
        self.learn(found);
        (self.candidates(), self.settled)
    }

    /// Keeps signalling informed until that has ended.
    pub fn start(self, signal: SignalHandle) -> DiscoveryHandle {
        let (handle, reloads) = mpsc::channel(1);
        tokio::spawn(self.run(signal, reloads));
        DiscoveryHandle(handle)
    }

    async fn run(mut self, signal: SignalHandle, mut reloads: mpsc::Receiver<Reload>) {
        let resolver = Resolver::default();
        let mut told = self.candidates();
        let mut waiting: Option<oneshot::Sender<bool>> = None;
        self.complain();
        loop {
            let own = self.own();
            let reload = tokio::select! {
                found = look(&self.source, &own, &resolver) => { self.learn(found); None }
                reload = reloads.recv() => Some(reload),
            };
            let reload = match reload {
                Some(reload) => Some(reload),
                None => {
                    self.complain();
                    self.notice_local_addresses();
                    let candidates = self.candidates();
                    if candidates != told {
                        tracing::info!(candidates = ?shown(&candidates), "newcomers are told other addresses from now on");
                        if signal.advertise(candidates.clone()).await.is_err() {
                            return;
                        }
                        told = candidates;
                    }
                    if let Some(waiting) = waiting.take() {
                        self.late = !self.settled;
                        // Whoever asked may have gone.
                        let _ = waiting.send(self.settled);
                    } else if self.late && self.settled {
                        self.late = false;
                        tracing::info!("configuration reloaded: what it asks of others is known now");
                    }
                    tokio::select! {
                        () = sleep(self.pause()) => None,
                        reload = reloads.recv() => Some(reload),
                    }
                }
            };
            match reload {
                None => {}
                Some(Some((rtc, done))) => {
                    self.set(rtc);
                    waiting = Some(done);
                }
                // The daemon is ending.
                Some(None) => return,
            }
        }
    }

    /// Takes over a configuration. What is known stays where the new one must ask first.
    fn set(&mut self, rtc: Rtc) {
        let source = Source::of(&rtc);
        match &rtc.ice_host_override {
            Some(HostOverride::Address(ip)) => self.mapping = Mapping::All(vec![*ip]),
            Some(HostOverride::Nat(pairs)) => {
                self.mapping = Mapping::Nat(pairs.iter().map(|pair| (pair.internal, pair.external)).collect());
            }
            Some(HostOverride::Name(_)) => {}
            None if source == Source::Nobody => self.mapping = Mapping::none(),
            None => {}
        }
        self.settled = source == Source::Nobody || (self.settled && source == self.source);
        self.failing = OnceEach::default();
        self.failures = 0;
        self.source = source;
        self.rtc = rtc;
    }

    /// Takes over what was found, and says what is new about it.
    fn learn(&mut self, found: Found) {
        match found {
            Found::Nothing => {}
            Found::Name(Ok(ips)) => {
                if self.failing.works(&None) {
                    tracing::info!(name = self.name(), "rtc.ice_host_override resolves again");
                }
                self.learn_name(ips);
            }
            Found::Name(Err(why)) => {
                if self.failing.failed(None) {
                    let kept = self.kept();
                    tracing::error!(
                        name = self.name(),
                        why,
                        "rtc.ice_host_override does not resolve to anything of use, {kept}"
                    );
                }
            }
            Found::Public(found) => {
                let mut public = match &self.mapping {
                    Mapping::Seen(public) => public.clone(),
                    _ => BTreeMap::new(),
                };
                for (local, answer) in &found {
                    self.learn_public(*local, answer, &mut public);
                }
                let answered = found.is_empty() || found.values().any(Result::is_ok);
                // Another source's answer stays until this one has given any.
                if answered {
                    self.mapping = Mapping::Seen(public);
                    self.settled = true;
                }
            }
        }
        self.failures = if self.failing.any() { self.failures.saturating_add(1) } else { 0 };
    }

    /// One address of each family is told: the others of a name belong to other machines. Name servers shuffle them, so the
    /// one that is told stays while it is among them; and an answer for one family that is lost is no reason to forget.
    fn learn_name(&mut self, found: Vec<IpAddr>) {
        let before = match &self.mapping {
            Mapping::All(before) if self.settled => before.clone(),
            _ => Vec::new(),
        };
        let choose = |v4: bool| {
            let family = |ip: &&IpAddr| ip.is_ipv4() == v4;
            let last = before.iter().find(family);
            last.filter(|last| found.contains(last)).or(found.iter().find(family)).or(last).copied()
        };
        let now: Vec<_> = choose(true).into_iter().chain(choose(false)).collect();
        if before.is_empty() {
            tracing::info!(name = self.name(), addresses = ?now, "rtc.ice_host_override resolved");
        } else if before != now {
            tracing::info!(name = self.name(), ?before, ?now, "rtc.ice_host_override has another address");
        }
        self.mapping = Mapping::All(now);
        self.settled = true;
    }

    fn learn_public(&mut self, local: IpAddr, answer: &Result<IpAddr, String>, public: &mut BTreeMap<IpAddr, IpAddr>) {
        match answer {
            Ok(new) => {
                let again = self.failing.works(&Some(local));
                match public.insert(local, *new) {
                    Some(before) if before != *new => {
                        tracing::info!(%local, %before, public = %new, "our public address has changed");
                    }
                    None => tracing::info!(%local, public = %new, "public address found by STUN"),
                    Some(_) if again => tracing::info!(%local, "STUN servers answer again"),
                    Some(_) => {}
                }
            }
            Err(why) if self.failing.failed(Some(local)) => match public.get(&local) {
                Some(last) => {
                    tracing::warn!(%local, why, %last, "no STUN server answers, the last known is advertised")
                }
                None => {
                    let kept = self.kept();
                    tracing::warn!(%local, why, "no STUN server answers, {kept}");
                }
            },
            Err(_) => {}
        }
    }

    fn kept(&self) -> &'static str {
        if self.mapping == Mapping::none() {
            "local addresses are advertised"
        } else {
            "what was known before is advertised"
        }
    }

    fn name(&self) -> &str {
        if let Source::Name(name) = &self.source { name } else { "" }
    }

    fn own(&self) -> Vec<IpAddr> {
        let own: BTreeSet<_> = self.udp.iter().chain(&self.tcp).map(SocketAddr::ip).collect();
        own.into_iter().collect()
    }

    /// Until the next look.
    fn pause(&self) -> Duration {
        let interval = if matches!(self.source, Source::Stun(_)) { STUN_INTERVAL } else { NAME_INTERVAL };
        match self.failures {
            0 => interval,
            failures => interval.min(FIRST_RETRY * 2u32.saturating_pow(failures.saturating_sub(1).min(16))),
        }
    }

    fn complain(&mut self) {
        let bound: Vec<_> = self.udp.iter().chain(&self.tcp).copied().collect();
        for complaint in self.complained.only(complaints(&self.rtc, &self.mapping, &bound)) {
            tracing::warn!("{complaint}");
        }
    }

    /// Sockets are bound when the daemon starts: what comes later carries no media, and what goes carries none any more.
    fn notice_local_addresses(&mut self) {
        // The kernel may be short of memory: the next look is in seconds.
        let Ok(bind) = addresses::to_bind(&self.rtc) else { return };
        let now: BTreeSet<_> = bind.udp.iter().chain(&bind.tcp).map(SocketAddr::ip).collect();
        for ip in now.difference(&self.local) {
            tracing::warn!(%ip, "a new address of this machine is not used for media until the daemon is restarted");
        }
        for ip in self.local.difference(&now) {
            tracing::warn!(%ip, "an address that media is bound to has gone from this machine");
        }
        self.local = now;
    }
}

fn shown(candidates: &[Candidate]) -> Vec<SocketAddr> {
    candidates.iter().map(|candidate| candidate.address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    fn rtc(variables: &[(&str, &str)]) -> Rtc {
        let environment: Environment =
            variables.iter().map(|(name, value)| (format!("RTCD_RTC_{name}"), (*value).to_owned())).collect();
        config::from_text("x".as_ref(), "", &environment).expect("valid").config.rtc
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn told(discovery: &Discovery) -> Vec<String> {
        discovery.candidates().iter().map(|candidate| candidate.address.ip().to_string()).collect()
    }

    fn discovery(variables: &[(&str, &str)]) -> Discovery {
        Discovery::new(&rtc(variables), &["10.0.0.1:8443".parse().expect("an address")], &[])
    }

    #[test]
    fn a_name_is_told_as_soon_as_it_is_known_and_never_forgotten() {
        let mut discovery = discovery(&[("ICEHOSTOVERRIDE", "rtcd.example.com")]);
        assert_eq!(told(&discovery), ["10.0.0.1"]);
        discovery.learn(Found::Name(Err("silence".into())));
        assert_eq!((told(&discovery), discovery.settled), (vec!["10.0.0.1".into()], false));
        discovery.learn(Found::Name(Ok(vec![ip("192.0.2.1")])));
        assert_eq!((told(&discovery), discovery.settled), (vec!["192.0.2.1".into()], true));
        discovery.learn(Found::Name(Err("silence".into())));
        assert_eq!(told(&discovery), ["192.0.2.1"]);
        discovery.learn(Found::Name(Ok(vec![ip("192.0.2.2"), ip("192.0.2.1")])));
        assert_eq!(told(&discovery), ["192.0.2.1"], "it is among them still");
        discovery.learn(Found::Name(Ok(vec![ip("192.0.2.2"), ip("192.0.2.3")])));
        assert_eq!(told(&discovery), ["192.0.2.2"]);
    }

    #[test]
    fn a_reload_that_must_ask_first_keeps_what_was_known() {
        let mut discovery = discovery(&[("ICEHOSTOVERRIDE", "192.0.2.1")]);
        assert_eq!(told(&discovery), ["192.0.2.1"]);
        for variables in [("ICEHOSTOVERRIDE", "rtcd.example.com"), ("ICESERVERS", r#"["stun:a"]"#)] {
            discovery.set(rtc(&[variables]));
            assert_eq!((told(&discovery), discovery.settled), (vec!["192.0.2.1".into()], false));
        }
        discovery.learn(Found::Public([(ip("10.0.0.1"), Err("silence".into()))].into()));
        assert_eq!(told(&discovery), ["192.0.2.1"]);
        discovery.learn(Found::Public([(ip("10.0.0.1"), Ok(ip("192.0.2.3")))].into()));
        assert_eq!(told(&discovery), ["192.0.2.3"]);
        discovery.learn(Found::Public([(ip("10.0.0.1"), Err("silence".into()))].into()));
        assert_eq!(told(&discovery), ["192.0.2.3"]);
        discovery.set(rtc(&[]));
        assert_eq!(told(&discovery), ["10.0.0.1"], "the operator's word");
    }

    #[test]
    fn what_fails_is_asked_again_soon_and_then_less_often() {
        let mut discovery = discovery(&[("ICESERVERS", r#"["stun:a"]"#)]);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            discovery.learn(Found::Public([(ip("10.0.0.1"), Err("silence".into()))].into()));
            pauses.push(discovery.pause().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        discovery.learn(Found::Public([(ip("10.0.0.1"), Ok(ip("192.0.2.1")))].into()));
        assert_eq!(discovery.pause(), STUN_INTERVAL);
    }
}
