//! More files, fewer rights. Nothing here ever fails the start: a container may forbid any of it.
use crate::config::{Config, ListenAddress};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Ports below need a capability (ip(7)).
const FIRST_FREE_PORT: u16 = 1024;

/// Raises the limit of open files: each TCP participant and each WebSocket is one. Returns what is in effect.
pub fn raise_file_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        tracing::warn!(soft, hard, "the limit of open files could not be raised");
        return Some(soft);
    }
    Some(hard)
}

/// No core is ever written: it would have the keys of all calls in it. Not by PR_SET_DUMPABLE: another process of ours could not
/// say any more who has its port.
pub fn forbid_dumps() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::debug!(%error, "core dumps could not be forbidden");
    }
}

/// Gives up every capability but those that `config` needs, and the way back to them.
/// Capabilities belong to threads: call this before the first one is started.
pub fn restrict(config: &Config) {
    let keep = needed(config, nix::unistd::geteuid().is_root());
    let mut refused = Vec::new();
    // The bounding set first: it takes CAP_SETPCAP, which goes with the others.
    for capability in caps::all().difference(&keep) {
        if matches!(caps::has_cap(None, CapSet::Bounding, *capability), Ok(true))
            && caps::drop(None, CapSet::Bounding, *capability).is_err()
        {
            refused.push("bounding");
            break;
        }
    }
    for (set, name) in [
        (CapSet::Ambient, "ambient"),
        (CapSet::Inheritable, "inheritable"),
        (CapSet::Effective, "effective"),
        (CapSet::Permitted, "permitted"),
    ] {
        let held = caps::read(None, set).unwrap_or_default();
        let kept: CapsHashSet = match set {
            CapSet::Effective | CapSet::Permitted => held.intersection(&keep).copied().collect(),
            _ => CapsHashSet::new(),
        };
        if kept != held && caps::set(None, set, &kept).is_err() {
            refused.push(name);
        }
    }
    if nix::sys::prctl::set_no_new_privs().is_err() {
        refused.push("no_new_privs");
    }
    if !refused.is_empty() {
        tracing::debug!(?refused, "some privileges could not be given up");
    }
}

fn needed(config: &Config, root: bool) -> CapsHashSet {
    let api = match &config.api.listen {
        ListenAddress::Any(port) | ListenAddress::Name(_, port) => *port,
        ListenAddress::Address(address) => address.port(),
    };
    let mut keep = CapsHashSet::new();
    if [api, config.rtc.ice_port_udp, config.rtc.ice_port_tcp].iter().any(|port| *port < FIRST_FREE_PORT) {
        keep.insert(Capability::CAP_NET_BIND_SERVICE);
    }
    // In a container as root, the store's volume may belong to somebody else.
    if root {
        keep.insert(Capability::CAP_DAC_OVERRIDE);
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_low_port_needs_a_capability() {
        let mut config = Config::default();
        assert!(needed(&config, false).is_empty());
        config.rtc.ice_port_tcp = 443;
        assert_eq!(needed(&config, false), CapsHashSet::from([Capability::CAP_NET_BIND_SERVICE]));
    }
}
