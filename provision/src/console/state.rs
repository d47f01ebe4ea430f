//! The machine in one word, and what is to be done about it.
use super::facts::{Endpoint, Facts, written};
use super::units::{self, Unit};
use std::time::Duration;

/// A start of the machine that takes longer is none. The slowest source has five minutes.
const START: Duration = Duration::from_secs(10 * 60);
/// How rtcd ends when its configuration is wrong.
const WRONG_CONFIGURATION: i32 = 78;

/// The one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is not known yet what will become of it.
    Starting,
    /// Calls are served.
    Ready,
    /// Nobody has told this machine what it is to do, or what was told has mistakes.
    Unconfigured,
    /// rtcd does not run, or does not answer.
    Failed,
    /// rtcd runs, and nobody can reach it.
    Unreachable,
    /// Running calls go on, new ones go elsewhere.
    Draining,
    /// The same, for a newer version that is installed.
    Updating,
}

impl State {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unconfigured => "unconfigured",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Draining => "draining",
            Self::Updating => "updating",
        }
    }

    /// By these facts.
    pub fn of(facts: &Facts) -> Self {
        let rtcd = facts.unit(units::RTCD);
        match &facts.daemon {
            Some(daemon) if daemon.state == "draining" || rtcd.active == "deactivating" => {
                let updates = facts.unit(units::UPDATE).active == "activating";
                if updates { Self::Updating } else { Self::Draining }
            }
            Some(daemon) if daemon.advertised.is_empty() || has_no_address(facts) => Self::Unreachable,
            Some(_) => Self::Ready,
            None => Self::without_answer(facts, &rtcd),
        }
    }

    fn without_answer(facts: &Facts, rtcd: &Unit) -> Self {
        let provision = facts.unit(units::PROVISION);
        let told = facts.provisioned.as_ref();
        if rtcd.active == "deactivating" {
            Self::Draining
        } else if rtcd.fails() {
            Self::Failed
        } else if told.is_some_and(|told| !told.ready) || (told.is_none() && provision.fails()) {
            Self::Unconfigured
        } else if facts.uptime > START && provision.active != "activating" && !facts.units.is_empty() {
            // It runs and says nothing, or nobody has started it.
            Self::Failed
        } else {
            Self::Starting
        }
    }
}

/// Whether it is known that no card has an address.
pub fn has_no_address(facts: &Facts) -> bool {
    facts.addresses.as_ref().is_some_and(Vec::is_empty)
}

/// What Mattermost is told: `http://10.0.0.5:8045`; none while that cannot be known.
pub fn url(facts: &Facts) -> Option<String> {
    let Endpoint { tls, host, port, is_open } = facts.api.as_ref()?;
    let own = || facts.addresses.as_ref()?.first().map(|ip| written(*ip));
    let host = host.clone().or_else(own)?;
    let key = if *is_open { "" } else { "ID:KEY@" };
    Some(format!("http{}://{key}{host}:{port}", if *tls { "s" } else { "" }))
}

/// What to do next.
pub fn next(state: State, facts: &Facts) -> String {
    let told = facts.provisioned.as_ref();
    match state {
        State::Starting => "wait: this takes a minute, or five where the source of the user data is slow".into(),
        State::Ready => ready(facts),
        State::Unconfigured if told.and_then(|told| told.error.as_ref()).is_some_and(|why| why.contains("mistake")) => {
            "correct the user data where you gave them; rtcd is not started; they are read again within five minutes"
                .into()
        }
        State::Unconfigured => "see below what is missing, and give the machine its user data; rtcd is not started; this is \
                                tried again and again, within five minutes"
            .into(),
        State::Failed if facts.unit(units::RTCD).exit == WRONG_CONFIGURATION => {
            "correct the configuration in the user data, then restart the machine".into()
        }
        State::Failed => "see below what went wrong (key e: more of it); systemd starts rtcd again by itself".into(),
        State::Unreachable if has_no_address(facts) => {
            "nobody can reach this machine: no network card has an address: look at the virtual machine's network, at DHCP, or \
             at the network-config"
                .into()
        }
        State::Unreachable => "participants are told no address: look at rtc.ice_address_udp, rtc.ice_address_tcp and \
                               rtc.ice_host_override in the user data"
            .into(),
        State::Draining => "nothing: new calls go elsewhere, and running ones end by themselves".into(),
        State::Updating => "nothing: the machine restarts into the newer version when the last call has ended".into(),
    }
}

fn ready(facts: &Facts) -> String {
    let Some(daemon) = &facts.daemon else { return "nothing".into() };
    if daemon.clients.iter().any(|client| client.connections > 0) {
        return "nothing: Mattermost is connected".into();
    }
    let Some(url) = url(facts) else { return "nothing".into() };
    let key = if facts.api.as_ref().is_some_and(|api| api.is_open) {
        ""
    } else {
        " with the ID and KEY that `rtcd client add` or POST /register has made"
    };
    format!("paste {url} into Mattermost: System Console, Plugins, Calls, RTCD service URL{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::daemon::{Client, Daemon, Told};
    use crate::status::Status;
    use std::collections::HashMap;

    pub fn serving(state: &str) -> Daemon {
        let told = Told { protocol: "udp".into(), address: "192.0.2.1:8443".into() };
        Daemon { state: state.into(), advertised: vec![told], ..Daemon::default() }
    }

    fn unit(active: &str, sub: &str) -> Unit {
        Unit { active: active.into(), sub: sub.into(), ..Unit::default() }
    }

    fn with(units: &[(&str, Unit)]) -> Facts {
        let units: HashMap<_, _> = units.iter().map(|(name, unit)| ((*name).to_owned(), unit.clone())).collect();
        Facts { units, addresses: Some(vec![[192, 0, 2, 9].into()]), ..Facts::default() }
    }

    #[test]
    fn every_state_has_its_facts() {
        let (inactive, starting) = (unit("inactive", "dead"), unit("activating", "start"));
        let (running, stopping) = (unit("active", "running"), unit("deactivating", "stop"));
        let (failed, again) = (unit("failed", "failed"), unit("activating", "auto-restart"));
        let late = |facts| Facts { uptime: 2 * START, ..facts };
        let ready = Some(Status { ready: true, ..Status::default() });
        let wrong = Some(Status { error: Some("user-data has 1 mistake:".into()), ..Status::default() });
        let (rtcd, provision, update) = (units::RTCD, units::PROVISION, units::UPDATE);
        let answers = |state: &str, facts| Facts { daemon: Some(serving(state)), ..facts };
        for (facts, expected) in [
            (Facts::default(), State::Starting),
            (with(&[(rtcd, inactive.clone()), (provision, starting.clone())]), State::Starting),
            (late(with(&[(rtcd, inactive.clone()), (provision, starting.clone())])), State::Starting),
            (Facts { provisioned: ready.clone(), ..with(&[(rtcd, starting.clone())]) }, State::Starting),
            (Facts { provisioned: ready.clone(), ..late(with(&[(rtcd, inactive.clone())])) }, State::Failed),
            (Facts { provisioned: ready.clone(), ..late(with(&[(rtcd, running.clone())])) }, State::Failed),
            (Facts { provisioned: ready.clone(), ..with(&[(rtcd, failed.clone())]) }, State::Failed),
            (Facts { provisioned: ready, ..with(&[(rtcd, again)]) }, State::Failed),
            (Facts { provisioned: wrong, ..with(&[(rtcd, inactive.clone())]) }, State::Unconfigured),
            (with(&[(rtcd, inactive), (provision, failed)]), State::Unconfigured),
            (with(&[(rtcd, stopping.clone())]), State::Draining),
            (answers("serving", with(&[])), State::Ready),
            (answers("serving", with(&[(rtcd, running.clone()), (update, starting.clone())])), State::Ready),
            (answers("draining", with(&[(rtcd, running.clone())])), State::Draining),
            (answers("serving", with(&[(rtcd, stopping)])), State::Draining),
            (answers("draining", with(&[(rtcd, running), (update, starting)])), State::Updating),
            (Facts { addresses: Some(vec![]), ..answers("serving", with(&[])) }, State::Unreachable),
            (Facts { daemon: Some(Daemon::default()), ..with(&[]) }, State::Unreachable),
        ] {
            assert_eq!(State::of(&facts), expected, "{facts:#?}");
            assert!(!next(expected, &facts).is_empty());
        }
    }

    #[test]
    fn what_is_pasted_into_mattermost_is_a_whole_url() {
        let api = |tls, host: Option<&str>, is_open| {
            let api = Endpoint { tls, host: host.map(str::to_owned), port: 8045, is_open };
            url(&Facts { api: Some(api), ..with(&[]) })
        };
        assert_eq!(api(false, None, true).as_deref(), Some("http://192.0.2.9:8045"));
        assert_eq!(api(true, Some("rtcd.example.com"), false).as_deref(), Some("https://ID:KEY@rtcd.example.com:8045"));
        assert_eq!(url(&with(&[])), None);
    }

    #[test]
    fn whoever_has_no_mattermost_yet_is_told_what_to_paste() {
        let api = Some(Endpoint { tls: false, host: None, port: 8045, is_open: true });
        let mut facts = Facts { daemon: Some(serving("serving")), api, ..with(&[]) };
        assert!(next(State::Ready, &facts).starts_with("paste http://192.0.2.9:8045 into Mattermost"));
        facts.daemon.as_mut().expect("there").clients = vec![Client { connections: 1 }];
        assert_eq!(next(State::Ready, &facts), "nothing: Mattermost is connected");
    }
}
