//! Boot 4: a machine on EC2, which only its firmware tells.
use crate::image::{ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use anyhow::Result;
use rtcd_tests::daemon::{binary, temp_dir};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::Plugin;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a machine, which needs an image: tests/run"]
async fn boot_4_advertises_the_public_address_that_ec2_tells() -> Result<()> {
    let _alone = ALONE.lock().await;
    let dir = temp_dir("boot");
    let disk = dir.join("disk.raw");
    Image::built().disk(&disk);
    let metadata = Some(binary().with_file_name("imds"));
    let hardware = Hardware { vendor: Some("Amazon EC2"), metadata, ..Hardware::default() };
    let mut machine = Machine::start(&disk, ports(), &hardware);
    machine.wait_ready("boot 4");
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
    machine.done();
    fs::remove_dir_all(dir)?;
    Ok(())
}
