//! Boot 3: user data with three mistakes, and a network configuration with one.
use crate::image::{ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use rtcd_tests::daemon::temp_dir;
use std::fs;

const USER_DATA: &str = "#cloud-config
hostname: rtcd 1
rtcd:
  rtc:
    ice_prot_udp: 8443
runcmd: [reboot]
";

/// As they stand on the panel.
const MISTAKES: [&str; 4] = [
    "line 3, column 10: ethernets.eth0.adresses: unknown key; did you mean addresses?",
    "line 2, column 11: hostname: ",
    "line 5, column 5: rtcd.rtc.ice_prot_udp: unknown key; did you mean rtcd.rtc.ice_port_udp?",
    "line 6, column 1: runcmd: is not supported; ",
];

#[test]
#[ignore = "boots a machine, which needs an image: tests/run"]
fn boot_3_says_what_is_wrong_and_starts_no_rtcd() {
    let _alone = ALONE.blocking_lock();
    let dir = temp_dir("boot");
    let disk = dir.join("disk.raw");
    Image::built().disk(&disk);
    let network_config = Some("version: 2\nethernets:\n  eth0: {adresses: [192.0.2.5/24]}\n".to_owned());
    let hardware = Hardware { seed: Some((USER_DATA.to_owned(), "mistakes")), network_config, ..Hardware::default() };
    let mut machine = Machine::start(&disk, ports(), &hardware);
    for mistake in MISTAKES {
        machine.wait_panel(mistake);
    }
    machine.wait_ready("boot 3");
    assert_eq!(machine.sh("systemctl show -P ActiveState rtcd").trim(), "inactive");
    // Not the version's fault: it counts as good, and nothing is rolled back.
    machine.wait_for("systemctl is-active rtcd-healthcheck");
    assert_eq!(machine.sh("systemctl --failed --no-legend --plain").split(' ').next(), Some("provision.service"));
    assert_eq!(machine.sh("systemctl --failed --no-legend --plain").lines().count(), 1);
    assert_eq!(machine.sh("systemctl show -P ExecMainStatus provision").trim(), "1");
    let (status, said) = machine.run("provision status");
    assert!(status == 1 && said.contains("FAILED") && MISTAKES.iter().all(|mistake| said.contains(mistake)), "{said}");
    for mistake in MISTAKES {
        assert!(machine.sh("journalctl -b -p err -u provision -o cat --no-pager").contains(mistake), "{mistake}");
    }
    // The rest of the machine is well: the network, the clock's service, the journal.
    for unit in ["systemd-networkd", "systemd-resolved", "systemd-timesyncd", "systemd-journald"] {
        machine.sh(&format!("systemctl is-active {unit}"));
    }
    machine.done();
    fs::remove_dir_all(dir).expect("removed");
}
