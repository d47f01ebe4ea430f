//! Boot 7: `image/install-bare` on a plain Debian server.
use crate::image::{ALONE, grow};
use crate::machine::{Hardware, Machine, ports};
use crate::vm::serve::{nobody_is_refused_during, reachable, rtcd_may_do_nothing_special};
use rtcd_tests::daemon::temp_dir;
use rtcd_tests::in_repository;
use rtcd_tests::plugin::Plugin;
use std::fs;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a machine, which needs an image: tests/run"]
async fn boot_7_has_the_same_units_on_a_plain_debian_machine() {
    let _alone = ALONE.lock().await;
    let dir = temp_dir("stock");
    let built = Command::new(in_repository("tests/boot/stock/build")).arg(&dir).output().expect("it can be started");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let disk = dir.join("stock.raw");
    grow(&disk, 3);
    let mut machine = Machine::start(&disk, ports(), &Hardware::default());
    machine.wait_ready("boot 7, stock Debian");
    let said = machine.sh("/root/rtcd/image/install-bare");
    assert!(said.contains("choose in /opt/rtcd/config.toml who may register"), "{said}");
    reachable(&machine);

    machine.sh("sed -i 's/^allow_self_registration = .*/allow_self_registration = true/' /opt/rtcd/config.toml");
    // As with a newer program.
    nobody_is_refused_during(&mut machine, "/root/rtcd/image/install-bare");
    let plugin = Plugin::new(machine.api(), "mattermost");
    assert_eq!(plugin.register().await.expect("an answer").status, 201, "what the admin wrote is kept and read");
    assert_eq!(machine.sh("sysctl -n net.core.rmem_max").trim(), "16777216");
    rtcd_may_do_nothing_special(&mut machine);
    machine.sh("systemd-analyze security --no-pager --threshold=11 rtcd");
    let modes = machine.sh("stat -c '%U %a' /opt/rtcd/config.toml /var/lib/rtcd /opt/rtcd/bin/rtcd");
    assert_eq!(modes, "mattermost 600\nmattermost 700\nroot 755\n");

    machine.sh("echo '[rtc' >>/opt/rtcd/config.toml; ! systemctl restart rtcd");
    assert_eq!(machine.sh("systemctl show -P NRestarts -P ExecMainStatus rtcd"), "0\n78\n");
    machine.wait_console("rtcd.service failed. Its last lines:");
    machine.sh("sed -i '$d' /opt/rtcd/config.toml; systemctl restart rtcd");
    assert_eq!(machine.sh("systemctl --failed --no-legend"), "");

    machine.sh("/root/rtcd/image/install-bare --remove");
    machine.sh("! systemctl is-active rtcd.service rtcd.socket; test -e /opt/rtcd/config.toml");
    assert_ne!(machine.run("ls /etc/systemd/system/rtcd* /opt/rtcd/bin").0, 0);
    machine.done();
    fs::remove_dir_all(dir).expect("removed");
}
