//! The files of `network::render`, read by this machine's own systemd-networkd in a network and a `/run` that nobody else
//! sees. Needs root; without it, or without networkd, there is nothing to ask.
use crate::network::{accepted, render};
use provision::network::render::Files;
use std::path::Path;
use std::process::Command;

const NETWORKD: &str = "/lib/systemd/systemd-networkd";

/// A `/run` with the files of `$1`, cards as pairs of virtual ones, and networkd for three seconds. `/sys` is read-only, as
/// in a container: then networkd does not wait for udev.
const SCRIPT: &str =
    "mount -t tmpfs -o mode=755 none /run && mount -t sysfs -o ro none /sys && mkdir -p /run/systemd/network || exit 1
cp \"$1\"/* /run/systemd/network/ && chmod 644 /run/systemd/network/*
ip link set lo up
for n in 0 1 2; do ip link add eth$n address 52:54:00:00:00:0$n type veth peer name peer$n && ip link set peer$n up; done
SYSTEMD_LOG_LEVEL=info SYSTEMD_LOG_TARGET=console timeout 3 \"$2\"
echo; ip -oneline address; ip route; ip -6 route; ip -oneline link";

/// What networkd says of the files, and how the network is then. `None` where it cannot be asked.
fn networkd(files: &Files) -> Option<(String, String)> {
    if !nix::unistd::geteuid().is_root() || !Path::new(NETWORKD).exists() {
        eprintln!("left out: not root, or no systemd-networkd");
        return None;
    }
    let directory = tempfile::TempDir::new().expect("a directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", SCRIPT, "sh"]).arg(directory.path()).arg(NETWORKD);
    let output = command.output().expect("unshare is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stderr), text(&output.stdout)))
}

#[test]
fn networkd_has_no_complaint_about_any_file() {
    // All at once: each name of a file is of its text.
    let mut all = Files::new();
    for (path, text) in accepted() {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").replace('.', "-");
        // Prefixed, so that they do not replace each other, and no VLAN or bond is made twice.
        all.extend(render(&path, &text).into_iter().map(|(name, text)| (format!("60-{stem}-{name}"), text)));
    }
    let Some((said, _)) = networkd(&all) else { return };
    let complaints: Vec<_> = said
        .lines()
        .filter(|line| line.contains("/run/systemd/network/") && !line.contains("onfiguring with"))
        // Two texts have a bond of the same name.
        .filter(|line| !line.contains("already exists") && !line.contains("was already configured"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(said.contains("Configuring with /run/systemd/network/"), "{said}");
}

#[test]
fn static_networks_are_on_their_cards_and_bridges_with_their_routes() {
    let text = "version: 1
config:
- type: physical
  name: eth0
  mtu: 1400
  subnets:
  - {type: static, address: 192.0.2.5/24, gateway: 192.0.2.1}
  - {type: static6, address: '2001:db8::5/64', gateway: 'fe80::1'}
  - {type: manual, routes: [{destination: 10.0.0.0/8, gateway: 203.0.113.1, metric: 7}]}
- type: physical
  name: lan1
  mac_address: '52:54:00:00:00:01'
  subnets:
  - {type: static, address: 198.51.100.5/24}
- {type: physical, name: eth2}
- type: bridge
  name: br0
  bridge_interfaces: [eth2]
  params: {bridge_stp: 'off'}
  subnets: [{type: static, address: 203.0.113.5/25}]
";
    let Some((said, state)) = networkd(&render(Path::new("a.yaml"), text.as_bytes())) else { return };
    for line in [
        "inet 192.0.2.5/24",
        "inet6 2001:db8::5/64",
        "default via 192.0.2.1 dev eth0",
        "10.0.0.0/8 via 203.0.113.1 dev eth0 proto static metric 7 onlink",
        "eth1    inet 198.51.100.5/24",
        "br0    inet 203.0.113.5/25",
        "eth2@peer2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master br0",
        "default via fe80::1 dev eth0",
        "mtu 1400",
    ] {
        assert!(state.contains(line), "no {line:?} in\n{state}\n{said}");
    }
}
