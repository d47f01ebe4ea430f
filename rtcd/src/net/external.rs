//! What is known of the addresses that stand in for ours, and who said so. What was once known stays until something better
//! is known.
use super::addresses::is_private;
use super::candidates::Mapping;
use super::outside::{Found, Named, Public, Source};
use crate::config::{HostOverride, Rtc};
use crate::logging::OnceEach;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Between two looks at a name. The reference resolves it anew for each session.
const NAME_INTERVAL: Duration = Duration::from_secs(5);
/// Between two questions to STUN servers, which belong to others: an address behind a NAT changes once a day.
const STUN_INTERVAL: Duration = Duration::from_secs(30);
/// After the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Addresses of a name that are told, of each family: a participant checks every pair of one of them and one of its own.
const MAX_OF_NAME: usize = 8;
/// Local addresses whose public one is remembered, also while they are away.
const MAX_REMEMBERED: usize = 256;

/// The key that overrides are set by.
const OVERRIDE: &str = "rtc.ice_host_override";

/// What stands in for our addresses, as far as it is known.
pub struct External {
    source: Source,
    mapping: Mapping,
    /// Who said so, for all of them.
    origin: String,
    /// The same for each local address where servers were asked.
    servers: BTreeMap<IpAddr, String>,
    /// Addresses of the name that are known to be this machine's.
    ours: BTreeSet<IpAddr>,
    /// The source has answered since it was set.
    settled: bool,
    failures: u32,
    failing: OnceEach<Option<IpAddr>>,
}

impl External {
    /// What is known without asking anybody.
    pub fn new(rtc: &Rtc) -> Self {
        let mut new = Self {
            source: Source::Nobody,
            mapping: Mapping::none(),
            origin: String::new(),
            servers: BTreeMap::new(),
            ours: BTreeSet::new(),
            settled: true,
            failures: 0,
            failing: OnceEach::default(),
        };
        new.set(rtc);
        new
    }

    /// Takes over a configuration. What is known stays where the new one must ask first.
    pub fn set(&mut self, rtc: &Rtc) {
        let source = Source::of(rtc);
        match &rtc.ice_host_override {
            Some(HostOverride::Address(ip)) => self.replace(Mapping::All(vec![*ip]), OVERRIDE),
            Some(HostOverride::Nat(pairs)) => {
                let pairs = pairs.iter().map(|pair| (pair.internal, pair.external)).collect();
                self.replace(Mapping::Nat(pairs), OVERRIDE);
            }
            Some(HostOverride::Name(_)) => {}
            None if source == Source::Nobody => self.replace(Mapping::none(), ""),
            None => {}
        }
        self.settled = source == Source::Nobody || (self.settled && source == self.source);
        if source != self.source {
            self.ours.clear();
        }
        self.failing = OnceEach::default();
        self.failures = 0;
        self.source = source;
    }

    fn replace(&mut self, mapping: Mapping, origin: &str) {
        self.mapping = mapping;
        origin.clone_into(&mut self.origin);
    }

    /// What stands in for local addresses.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Whom to ask.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether all that must be asked for has been answered.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Who said what stands in for this local address.
    pub fn origin(&self, local: IpAddr) -> &str {
        match self.mapping {
            Mapping::Seen(_) => self.servers.get(&local).map_or("", String::as_str),
            Mapping::All(_) | Mapping::Nat(_) => &self.origin,
        }
    }

    /// The operator has named this very address.
    pub fn names(&self, ip: IpAddr) -> bool {
        matches!(&self.mapping, Mapping::All(ips) if ips.contains(&ip))
    }

    /// Media is bound to these addresses now: of others nothing fails.
    pub fn set_local(&mut self, own: &[IpAddr]) {
        self.failing.retain(|local| local.is_none_or(|local| own.contains(&local)));
        if let Mapping::Seen(public) = &mut self.mapping
            && public.len() > MAX_REMEMBERED
        {
            public.retain(|local, _| own.contains(local));
            self.servers.retain(|local, _| own.contains(local));
        }
    }

    /// Takes over what was found, and says what is new about it.
    pub fn learn(&mut self, found: Found) {
        match found {
            Found::Nothing => {}
            Found::Name(Ok(named)) => {
                if self.failing.works(&None) {
                    tracing::info!(name = self.name(), "rtc.ice_host_override resolves again");
                }
                self.learn_name(named);
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

    /// All addresses of a name are told, as it may be one machine that has them. Where some are known to be ours, those of
    /// their kind that are not belong to other machines by the same name. Name servers shuffle: what is told keeps its order
    /// while it is among them; and an answer for one family that is lost is no reason to forget.
    fn learn_name(&mut self, Named { ips: found, ours }: Named) {
        if let Some(ours) = ours {
            self.ours = ours.into_iter().collect();
        }
        let before = match &self.mapping {
            Mapping::All(before) if self.settled => before.clone(),
            _ => Vec::new(),
        };
        let known = |private| found.iter().any(|ip| self.ours.contains(ip) && is_private(*ip) == private);
        let told = |ip: &&IpAddr| self.ours.contains(ip) || !known(is_private(**ip));
        let mut now: Vec<IpAddr> = Vec::new();
        for v4 in [true, false] {
            let family = |ip: &&IpAddr| ip.is_ipv4() == v4;
            let lost = !found.iter().any(|ip| family(&ip));
            let still = before.iter().filter(family).filter(|ip| lost || (found.contains(ip) && told(ip)));
            let mut all: Vec<IpAddr> = Vec::new();
            for ip in still.chain(found.iter().filter(family).filter(told)) {
                if all.len() < MAX_OF_NAME && !all.contains(ip) {
                    all.push(*ip);
                }
            }
            now.append(&mut all);
        }
        if before.is_empty() {
            tracing::info!(name = self.name(), addresses = ?now, "rtc.ice_host_override resolved");
        } else if before != now {
            tracing::info!(name = self.name(), ?before, ?now, "rtc.ice_host_override has other addresses");
        }
        let origin = format!("{OVERRIDE} {}", self.name());
        self.replace(Mapping::All(now), &origin);
        self.settled = true;
    }

    fn learn_public(&mut self, local: IpAddr, answer: &Result<Public, String>, public: &mut BTreeMap<IpAddr, IpAddr>) {
        match answer {
            Ok(Public { ip: new, server }) => {
                let again = self.failing.works(&Some(local));
                let before = public.insert(local, *new);
                if before == Some(*new) {
                    if again {
                        tracing::info!(%local, "STUN servers answer again");
                    }
                    return;
                }
                match before {
                    Some(before) => {
                        tracing::info!(%local, %before, public = %new, %server, "our public address has changed");
                    }
                    None => tracing::info!(%local, public = %new, %server, "public address found by STUN"),
                }
                self.servers.insert(local, server.to_string());
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
        if let Source::Name(name, _) = &self.source { name } else { "" }
    }

    /// Until the next look.
    pub fn pause(&self) -> Duration {
        let interval = if matches!(self.source, Source::Stun(_)) { STUN_INTERVAL } else { NAME_INTERVAL };
        match self.failures {
            0 => interval,
            failures => interval.min(FIRST_RETRY * 2u32.saturating_pow(failures.saturating_sub(1).min(16))),
        }
    }
}

#[cfg(test)]
mod tests;
