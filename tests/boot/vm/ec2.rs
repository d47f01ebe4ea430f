//! Boot 4: a machine on EC2, which only its firmware tells, and whose metadata service is not there yet when it first starts.
use crate::image::{ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use anyhow::Result;
use rtcd_tests::daemon::{binary, temp_dir};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::Plugin;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The service as a program for QEMU: nothing is there, then a web page answers everything, then it is up.
fn late_service(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("late-imds");
    let (dir, imds) = (dir.display(), binary().with_file_name("imds"));
    let answer = |status: &str, kind: &str| {
        format!(
            "printf 'HTTP/1.1 {status}\\r\\nContent-Type: {kind}\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nno'"
        )
    };
    let script = format!(
        "#!/bin/sh\n[ ! -e {dir}/up ] || exec {}\nhead -n 1 >/dev/null\nif [ -e {dir}/portal ]; then {}; else {}; fi\n",
        imds.display(),
        answer("200 OK", "text/html"),
        answer("404 Not Found", "text/plain"),
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a machine, which needs an image: tests/run"]
async fn boot_4_advertises_the_public_address_that_ec2_tells() -> Result<()> {
    let _alone = ALONE.lock().await;
    let dir = temp_dir("boot");
    let disk = dir.join("disk.raw");
    Image::built().disk(&disk);
    let metadata = Some(late_service(&dir)?);
    let hardware = Hardware { vendor: Some("Amazon EC2"), metadata, ..Hardware::default() };
    let mut machine = Machine::start(&disk, ports(), &hardware);
    machine.wait_panel("answered with status 404");
    machine.wait_panel("rtcd is not started; this is tried again and again");
    machine.wait_ready("boot 4, without its source");
    assert_ne!(machine.sh("systemctl show -P ActiveState rtcd").trim(), "active");
    // Another attempt, and something else is in the way.
    fs::write(dir.join("portal"), "")?;
    machine.wait_panel("answered with the content type \"text/html\"");
    fs::write(dir.join("up"), "")?;
    machine.wait_for("systemctl is-active rtcd");
    machine.wait_for("systemctl is-active rtcd-healthcheck");
    assert_eq!(machine.sh("systemctl --failed --no-legend"), "");
    let status = machine.sh("provision status");
    for said in ["EC2", "i-0123456789abcdef0", "ip-169-254-2-15.ec2.internal"] {
        assert!(status.contains(said), "{said} is missing in {status}");
    }
    let file = machine.sh("cat /run/rtcd/rtcd.toml");
    assert!(file.contains("203.0.113.7/169.254.2.15"), "{file}");
    // Only the agent may ask the service: rtcd's own cgroup may not.
    let denied = machine.sh("systemctl show -P IPAddressDeny rtcd");
    assert!(denied.contains("169.254.169.254/32"), "{denied}");

    let node = Mattermost::connect(&Plugin::new(machine.api(), "mattermost")).await?;
    let ann = Peer::start(&node, PeerConfig::new("call", "ann"), machine.media()).await?;
    ann.wait("an answer", |state| !state.last_exchange.1.is_empty()).await?;
    let answer = ann.state().last_exchange.1.clone();
    assert!(answer.contains(" 203.0.113.7 8443 typ host"), "{answer}");
    drop((ann, node));
    tokio::task::block_in_place(|| {
        a_network_that_reaches_nothing_is_taken_back(&mut machine);
        a_machine_without_network_is_not_well(&mut machine);
    });
    machine.done();
    fs::remove_dir_all(dir)?;
    Ok(())
}

/// A credential says what no router answers to; the DHCP of before is back after two minutes.
fn a_network_that_reaches_nothing_is_taken_back(machine: &mut Machine) {
    let network = r#"{"version": 2, "ethernets": {"a": {"match": {"name": "en*"}, "addresses": ["198.51.100.9/24"], "gateway4": "198.51.100.1"}}}"#;
    machine.tell(&format!(
        "systemd-run --unit=trial --property='SetCredential=rtcd.network-config:{network}' provision run"
    ));
    machine.wait_for("grep -q 198.51.100.9 /proc/net/fib_trie");
    machine.wait_panel("reaches nothing after 120 s: no router answers: 198.51.100.1; DHCP on every card is used");
    machine.wait_for("grep -q 169.254.2.15 /proc/net/fib_trie && ! grep -q 198.51.100.9 /proc/net/fib_trie");
    machine.wait_for("provision status | grep '^Not used: '");
    assert!(machine.sh("provision status").contains("Network:     DHCP on every card\n"));
}

/// rtcd serves loopback, which helps nobody.
fn a_machine_without_network_is_not_well(machine: &mut Machine) {
    machine.sh("for card in /sys/class/net/en*; do networkctl down ${card##*/}; done");
    machine.sh("! systemctl restart rtcd-healthcheck");
    machine.wait_panel("nobody can reach this machine: no network card has an address");
}
