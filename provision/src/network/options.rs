//! Parameters of bonds and bridges, in the words of both versions and of networkd (systemd.netdev(5)).
use super::field::Field;
use super::model::Options;
use super::report::Report;
use crate::mistake::Mark;
use std::ops::RangeInclusive;

/// IEEE 802.1Q, 9.6: 0 and 4095 are reserved.
pub(super) const VLAN_IDS: RangeInclusive<u32> = 1..=4094;

/// What a parameter's value is.
enum Kind {
    /// One of these words, or its number in the kernel.
    Word(&'static [&'static str]),
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// A number of at most this.
    Number(u32),
    Flag,
    Addresses,
    /// An interface; goes elsewhere.
    Primary,
    /// Known, and networkd has nothing for it.
    Ignored,
    /// Known, and not supported.
    Refused,
}
use Kind::{Addresses, Flag, Ignored, Milliseconds, Number, Primary, Refused, Seconds, Word};

/// Names (of version 2 first, then of version 1 without `bond-`), networkd's key, the kind of value.
type Parameter = (&'static [&'static str], &'static str, Kind);

const MODES: &[&str] =
    &["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
const HASHES: &[&str] = &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"];

const BOND: &[Parameter] = &[
    (&["mode"], "Mode", Word(MODES)),
    (&["transmit-hash-policy", "xmit-hash-policy"], "TransmitHashPolicy", Word(HASHES)),
    (&["lacp-rate"], "LACPTransmitRate", Word(&["slow", "fast"])),
    (&["mii-monitor-interval", "miimon"], "MIIMonitorSec", Milliseconds),
    (&["up-delay", "updelay"], "UpDelaySec", Milliseconds),
    (&["down-delay", "downdelay"], "DownDelaySec", Milliseconds),
    (&["learn-packet-interval", "lp-interval"], "LearnPacketIntervalSec", Seconds),
    (&["ad-select"], "AdSelect", Word(&["stable", "bandwidth", "count"])),
    (&["fail-over-mac-policy", "fail-over-mac"], "FailOverMACPolicy", Word(&["none", "active", "follow"])),
    (&["arp-validate"], "ARPValidate", Word(&["none", "active", "backup", "all"])),
    (&["arp-interval"], "ARPIntervalSec", Milliseconds),
    (&["arp-ip-targets", "arp-ip-target"], "ARPIPTargets", Addresses),
    (&["arp-all-targets"], "ARPAllTargets", Word(&["any", "all"])),
    (&["primary-reselect-policy", "primary-reselect"], "PrimaryReselectPolicy", Word(&["always", "better", "failure"])),
    (&["resend-igmp"], "ResendIGMP", Number(255)),
    (&["packets-per-slave", "packets-per-member"], "PacketsPerSlave", Number(65535)),
    (&["gratuitous-arp", "num-grat-arp", "num-unsol-na"], "GratuitousARP", Number(255)),
    (&["all-slaves-active", "all-members-active"], "AllSlavesActive", Flag),
    (&["tlb-dynamic-lb"], "DynamicTransmitLoadBalancing", Flag),
    (&["min-links"], "MinLinks", Number(64)),
    (&["primary"], "", Primary),
    (&["use-carrier", "downdelay-auto", "slaves", "master"], "", Ignored),
];

const BRIDGE: &[Parameter] = &[
    (&["stp"], "STP", Flag),
    (&["forward-delay", "fd"], "ForwardDelaySec", Seconds),
    (&["hello-time", "hello"], "HelloTimeSec", Seconds),
    (&["max-age", "maxage"], "MaxAgeSec", Seconds),
    (&["ageing-time", "aging-time", "ageing"], "AgeingTimeSec", Seconds),
    (&["priority", "bridgeprio"], "Priority", Number(65535)),
    (&["path-cost", "pathcost", "port-priority", "portprio"], "", Refused),
    (&["waitport", "gcint", "ports", "hw"], "", Ignored),
];

/// `[Bond]`, and the member that is used while it works.
pub(super) fn bond(params: &Field<'_>, report: &mut Report) -> (Options, Option<String>) {
    read(params, BOND, "bond", report)
}

/// `[Bridge]`
pub(super) fn bridge(params: &Field<'_>, report: &mut Report) -> Options {
    read(params, BRIDGE, "bridge", report).0
}

/// One word of a bond in the kernel's numbers or names: what OpenStack says of it.
pub(super) fn bond_word(name: &str, field: &Field<'_>, report: &mut Report) -> Options {
    let mut options = Options::new();
    if let Some((_, key, kind)) = BOND.iter().find(|(names, ..)| names.contains(&name)) {
        value(key, kind, field, report, &mut options);
    }
    options
}

fn read(params: &Field<'_>, known: &[Parameter], prefix: &str, report: &mut Report) -> (Options, Option<String>) {
    let (mut options, mut primary) = (Options::new(), None);
    let mut lines: Vec<(&str, Mark)> = Vec::new();
    for (entry, field) in report.section(params) {
        // `bond-mode`, `bond_mode` and `mode`; `bridge_stp` and `stp`.
        let spelt = entry.key.to_ascii_lowercase().replace('_', "-");
        let name = spelt.strip_prefix(prefix).and_then(|name| name.strip_prefix('-')).unwrap_or(&spelt);
        let Some((names, key, kind)) = known.iter().find(|(names, ..)| names.contains(&name)) else {
            let names: Vec<_> = known.iter().filter_map(|(names, ..)| names.first().copied()).collect();
            report.unknown(entry, &field.path, &names);
            continue;
        };
        let first = names.first().copied().unwrap_or_default();
        if let Some((_, mark)) = lines.iter().find(|(line, _)| *line == first) {
            report.mistake(
                entry.mark,
                &field.path,
                format!("is set twice, first in line {}", mark.line),
                "keep one of the two",
            );
            continue;
        }
        lines.push((first, entry.mark));
        match kind {
            Primary => primary = report.word(&field).map(str::to_owned),
            Ignored => report.notice(&field, "is ignored", "it changes nothing on this machine"),
            Refused => report.wrong(&field, "is not supported", "remove it"),
            kind => value(key, kind, &field, report, &mut options),
        }
    }
    (options, primary)
}

fn value(key: &'static str, kind: &Kind, field: &Field<'_>, report: &mut Report, options: &mut Options) {
    let text = match kind {
        Word(known) => report.word(field).and_then(|word| {
            let named = known.iter().find(|known| known.eq_ignore_ascii_case(word)).copied();
            let numbered = || word.parse::<usize>().ok().and_then(|number| known.get(number)).copied();
            let found = named.or_else(numbered);
            if found.is_none() {
                report.none_of(field, word, known);
            }
            found.map(str::to_owned)
        }),
        Milliseconds => report.number(field, 0..=3_600_000).map(|number| format!("{number}ms")),
        Seconds => report.number(field, 0..=1_000_000).map(|number| format!("{number}s")),
        Number(most) => report.number(field, 0..=*most).map(|number| number.to_string()),
        Flag => report.flag(field).map(|flag| if flag { "yes" } else { "no" }.to_owned()),
        Addresses => {
            let all: Vec<_> = report.ips(field).iter().map(ToString::to_string).collect();
            (!all.is_empty()).then(|| all.join(" "))
        }
        Primary | Ignored | Refused => None,
    };
    options.extend(text.map(|text| (key, text)));
}
