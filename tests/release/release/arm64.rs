//! The files for the other architecture, by an emulator.
use crate::files::{file, said, version};
use crate::release::programs::carries_a_call;
use std::process::Command;

const EMULATOR: &str = "/usr/bin/qemu-aarch64";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs all release files and qemu-user: tests/run release::"]
async fn the_other_architecture_carries_a_call() -> anyhow::Result<()> {
    carries_a_call(vec![EMULATOR.into(), file("rtcd-linux-arm64")]).await
}

#[test]
#[ignore = "needs all release files and qemu-user: tests/run release::"]
fn the_other_architectures_provision_checks_user_data() {
    let provision = file("provision-linux-arm64");
    let run = |arguments: &[&str]| said(Command::new(EMULATOR).arg(&provision).args(arguments));
    assert!(run(&["--version"]).starts_with(&format!("provision {} (commit ", version())));
    let dir = rtcd_tests::daemon::temp_dir("arm64");
    let good = dir.join("user-data");
    std::fs::write(&good, "#cloud-config\nrtcd:\n  rtc: {ice_port_udp: 8444}\n").expect("written");
    run(&["check", &good.display().to_string()]);
    std::fs::remove_dir_all(dir).expect("removed");
}
