//! Boot 7: a plain Debian server as an admin has it who followed Mattermost's setup guide, with our files in place of the
//! original's: first the guide's own steps, then `image/install-bare` over it.
use crate::image::{ALONE, grow};
use crate::machine::{Hardware, Machine, ports};
use crate::vm::serve::{nobody_is_refused_during, reachable, rtcd_may_do_nothing_special};
use rtcd_tests::daemon::{temp_dir, wait_for};
use rtcd_tests::plugin::Plugin;
use rtcd_tests::{http, in_repository};
use std::fs;
use std::process::Command;

/// The guide's installation, from the downloaded file on.
const GUIDE: &[&str] = &[
    "mkdir -p /opt/rtcd && cp /root/rtcd/target/release/rtcd rtcd-linux-amd64 && chmod +x rtcd-linux-amd64",
    "mv rtcd-linux-amd64 /opt/rtcd/rtcd",
    "cp /root/rtcd/rtcd/rtcd.toml /opt/rtcd/rtcd.toml",
    "sed -i 's|^data_source = .*|data_source = \"/opt/rtcd/data/db\"|' /opt/rtcd/rtcd.toml",
    "sed -i 's|^allow_self_registration = .*|allow_self_registration = true|' /opt/rtcd/rtcd.toml",
    "useradd --system --no-create-home --shell /bin/false mattermost",
    "mkdir -p /opt/rtcd/data/db && chown -R mattermost:mattermost /opt/rtcd",
    "printf '%s\\n' '[Unit]' 'Description=Mattermost RTCD Server' After=network.target '[Service]' Type=simple \
        User=mattermost Group=mattermost 'ExecStart=/opt/rtcd/rtcd --config /opt/rtcd/rtcd.toml' Restart=always \
        RestartSec=10 LimitNOFILE=65536 '[Install]' WantedBy=multi-user.target >/etc/systemd/system/rtcd.service",
    "systemctl daemon-reload && systemctl enable rtcd && systemctl start rtcd && systemctl status rtcd",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a machine, which needs an image: tests/run"]
async fn boot_7_is_a_plain_machine_by_the_setup_guide_and_then_by_the_installer() {
    let _alone = ALONE.lock().await;
    let dir = temp_dir("stock");
    let built = Command::new(in_repository("tests/boot/stock/build")).arg(&dir).output().expect("it can be started");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let disk = dir.join("stock.raw");
    grow(&disk, 3);
    let mut machine = Machine::start(&disk, ports(), &Hardware::default());
    machine.wait_ready("boot 7, stock Debian");
    for step in GUIDE {
        machine.sh(step);
    }
    answers(&machine);
    reachable(&machine);
    let plugin = Plugin::new(machine.api(), "mattermost");
    assert_eq!(plugin.register().await.expect("an answer").status, 201);
    a_stop_is_a_stop(&mut machine);

    let said = machine.sh("/root/rtcd/image/install-bare");
    assert!(said.contains("found /etc/systemd/system/rtcd.service: /opt/rtcd/rtcd with /opt/rtcd/rtcd.toml"), "{said}");
    reachable(&machine);
    plugin.dial().await.expect("the client of before is known");
    // As with a newer program.
    nobody_is_refused_during(&mut machine, "/root/rtcd/image/install-bare");
    plugin.dial().await.expect("the client of before is known");
    assert_eq!(machine.sh("sysctl -n net.core.rmem_max").trim(), "16777216");
    rtcd_may_do_nothing_special(&mut machine);
    machine.sh("systemd-analyze security --no-pager --threshold=14 rtcd");
    a_stop_is_a_stop(&mut machine);

    machine.sh("echo '[rtc' >>/opt/rtcd/rtcd.toml; ! systemctl restart rtcd");
    assert_eq!(machine.sh("systemctl show -P NRestarts -P ExecMainStatus rtcd"), "0\n78\n");
    let said = machine.sh("journalctl -b -u rtcd -o cat --no-pager");
    assert!(said.contains("/opt/rtcd/rtcd.toml"), "{said}");
    machine.sh("sed -i '$d' /opt/rtcd/rtcd.toml; systemctl restart rtcd");
    assert_eq!(machine.sh("systemctl --failed --no-legend"), "");

    machine.sh("/root/rtcd/image/install-bare --remove");
    machine.sh("! systemctl is-active rtcd.service; test -e /opt/rtcd/rtcd.toml");
    assert_ne!(machine.run("ls /etc/systemd/system/rtcd* /opt/rtcd/rtcd").0, 0);
    machine.done();
    fs::remove_dir_all(dir).expect("removed");
}

/// As in the guide's test of the ports: it ends soon where no calls run, and nothing starts it again.
fn a_stop_is_a_stop(machine: &mut Machine) {
    machine.sh("timeout 20 systemctl stop rtcd");
    for _ in 0..3 {
        assert!(http::request(machine.api(), "GET", "/version", None, None).is_err(), "nobody answers");
    }
    assert_eq!(machine.sh("systemctl show -P ActiveState rtcd"), "inactive\n");
    // The port is free for the guide's listener.
    machine.sh("! ss -Hlun sport = 8443 | grep . && ! ss -Hltn sport = 8045 | grep .");
    machine.sh("systemctl start rtcd");
    answers(machine);
}

/// The guide's unit is `Type=simple`: a start does not wait until rtcd is ready.
fn answers(machine: &Machine) {
    wait_for("the API", || {
        http::request(machine.api(), "GET", "/version", None, None).is_ok_and(|answer| answer.status == 200)
    });
}
