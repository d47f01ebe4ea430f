//! Boot 1: the smallest machine serves real calls. Boot 2: its disk again, bigger, with other user data and an address that no
//! DHCP server gives.
use crate::image::{ALONE, Image, grow, wipe};
use crate::machine::{Hardware, Machine, ports};
use anyhow::Result;
use rtcd_tests::browser::DemoPage;
use rtcd_tests::browser::chromium::Chromium;
use rtcd_tests::calls::they_meet_during;
use rtcd_tests::daemon::{binary, temp_dir, wait_for};
use rtcd_tests::http;
use rtcd_tests::plugin::Plugin;
use rtcd_tests::{artifact, in_repository};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Participants are told where the ports of the machine are reached from here. `more` goes on below `rtcd.rtc`.
pub fn user_data(media: u16, more: &str) -> String {
    format!(
        "#cloud-config
hostname: rtcd-1
rtcd:
  api:
    security: {{allow_self_registration: true}}
  rtc:
    ice_host_override: 127.0.0.1
    ice_host_port_override: {media}
{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "boots a machine, which needs an image: tests/run"]
async fn boot_1_serves_calls_and_boot_2_knows_its_clients() -> Result<()> {
    let _alone = ALONE.lock().await;
    let image = Image::built();
    let dir = temp_dir("boot");
    let disk = dir.join("disk.raw");
    image.disk(&disk);
    let ports = ports();
    let seed = Some((user_data(ports.1, ""), "first"));
    let credentials = vec![("rtcd.factory-reset", "once")];
    let mut machine = Machine::start(&disk, ports, &Hardware { seed, credentials, ..Hardware::default() });
    machine.wait_ready("boot 1");
    machine.sh("grep 'made anew, and what it held is gone: factory reset, by the credential' /run/rtcd-var/var");
    is_sound(&mut machine, &image);
    super::logs::nothing_is_sent_unasked(&mut machine);
    let machine_id = machine.sh("cat /etc/machine-id");

    reachable(&machine);
    the_link_on_the_console_is_good(&mut machine);
    let plugin = Plugin::new(machine.api(), "mattermost");
    for (call, tcp) in [("over-udp", false), ("over-tcp", true)] {
        let media = machine.media();
        let machine = RefCell::new(&mut machine);
        let (mut restart, mut kill) =
            (|| restart_under_a_call(&mut machine.borrow_mut()), || kill_under_a_call(&mut machine.borrow_mut()));
        they_meet_during(&plugin, media, call, tcp, &dir, &mut [&mut restart, &mut kill]).await?;
    }
    machine.sh("coredumpctl --no-pager 2>&1 | grep -q 'No coredumps found' || ! command -v coredumpctl");
    recipes_of_the_documentation_find(&mut machine, "over-udp", "ann");
    tokio::task::block_in_place(|| picture_of_the_console(&machine, &dir));
    nobody_is_refused_during(&mut machine, "systemctl restart rtcd; systemctl restart rtcd");
    plugin.dial().await.expect("the client is known after a restart");
    machine.tell("systemctl poweroff");
    machine.wait_end();
    machine.done();

    // A power cut in the wrong moment: the superblock is gone, and others are used in its place.
    wipe(&disk, "var", 4096);
    grow(&disk, 4);
    // Ports that get through most firewalls; rtcd has no capability for them.
    let more = "    nack_buffer_size: 128
    ice_port_udp: 443
    ice_port_tcp: 443
timezone: Europe/Berlin
ntp: {servers: [10.0.2.2]}
";
    let mut servers = super::logs::Servers::start(&dir);
    let more = format!("{more}{}", servers.user_data());
    let hardware = Hardware {
        seed: Some((user_data(ports.1, &more), "second")),
        network_config: Some(NETWORK_CONFIG.to_owned()),
        // systemd's own way, for a card that is not there.
        credentials: vec![
            ("network.network.50-other", "[Match]\nName=other0\n[Network]\nDHCP=no\n"),
            ("rtcd.factory-reset", "once"),
        ],
        address: Some("10.0.2.77"),
        ..Hardware::default()
    };
    let mut machine = Machine::start(&disk, ports, &hardware);
    machine.wait_ready("boot 2");
    let said = machine.sh("cat /run/rtcd-var/var");
    assert!(said.contains("/var was damaged and has been mended") && !said.contains("made anew"), "{said}");
    the_boot_partition_is_left_alone(&mut machine);
    machine.wait_for("systemctl is-active rtcd-healthcheck");
    the_network_is_as_said(&mut machine);
    assert!(machine.sh("cat /run/rtcd/rtcd.toml").contains("nack_buffer_size = 128"));
    assert!(machine.sh("provision status").contains("second"));
    assert!(machine.sh("date +%Z").starts_with("CE"), "{}", machine.sh("date"));
    assert_eq!(machine.sh("timedatectl show-timesync -P SystemNTPServers").trim(), "10.0.2.2");
    // rtcd's own test of both protocols, by the health check.
    let checked = machine.sh("journalctl -b -u rtcd-healthcheck -o cat --no-pager");
    assert!(checked.contains("ok   media over UDP: 127.0.0.1:443"), "{checked}");
    assert!(checked.contains("ok   media over TCP: 127.0.0.1:443"), "{checked}");
    rtcd_may_do_nothing_special(&mut machine);
    tokio::task::block_in_place(|| super::logs::arrive_even_after_an_outage(&mut machine, &mut servers));
    plugin.dial().await.expect("a client that registered before is still known");
    assert_eq!(machine.sh("cat /etc/machine-id"), machine_id);
    let kilobytes: u64 = machine.sh("df -k /var | tail -1 | tr -s ' ' | cut -d ' ' -f 2").trim().parse()?;
    assert!(kilobytes > 2_500_000, "/var has grown with the disk: {kilobytes} KiB");
    let boots = machine.sh("journalctl --list-boots --no-pager");
    assert_eq!(boots.lines().filter(|line| line.contains(" UTC ") || line.contains(" CE")).count(), 2, "{boots}");
    assert_eq!(machine.sh("systemctl --failed --no-legend"), "");
    machine.done();
    fs::remove_dir_all(dir)?;
    Ok(())
}

/// It is mounted when somebody looks, and has kept what became of `/var`.
fn the_boot_partition_is_left_alone(machine: &mut Machine) {
    let kept = machine.sh("cat /boot/rtcd/var.txt");
    assert!(kept.contains("by the credential rtcd.factory-reset") && kept.contains("has been mended"), "{kept}");
    let mounts = machine.sh("cat /proc/mounts");
    assert!(mounts.lines().any(|line| line.contains(" /boot vfat ro,")), "{mounts}");
    assert_ne!(machine.run("echo >/boot/x").0, 0, "/boot cannot be written");
    machine.sh("fsck.vfat -n $(readlink -f /dev/disk/by-partlabel/esp)");
}

/// QEMU's own DHCP server would give 10.0.2.15. The bond and the VLAN are there for their modules.
const NETWORK_CONFIG: &str = "version: 2
ethernets:
  first:
    match: {macaddress: \"52:54:00:12:34:56\"}
    set-name: lan0
    addresses: [10.0.2.77/24]
    routes: [{to: default, via: 10.0.2.2}]
    nameservers: {addresses: [10.0.2.3], search: [example.com]}
  spare: {match: {name: \"spare*\"}, optional: true}
bonds:
  bond0: {interfaces: [spare], parameters: {mode: active-backup}, optional: true}
vlans:
  vlan7: {id: 7, link: first, addresses: [192.0.2.7/24]}
";

fn the_network_is_as_said(machine: &mut Machine) {
    let addresses = machine.sh("cat /proc/net/fib_trie");
    for address in ["10.0.2.77", "192.0.2.7"] {
        assert!(addresses.contains(&format!("-- {address}\n")), "{address} in {addresses}");
    }
    assert!(!addresses.contains("10.0.2.15"), "{addresses}");
    machine.sh("test -e /sys/class/net/lan0 && test -e /sys/class/net/bond0/bonding/mode");
    assert!(machine.sh("resolvectl dns lan0").contains("10.0.2.3"));
    // For ip= and credentials.
    machine.sh("systemctl is-active systemd-network-generator");
    machine.sh("grep -q other0 /run/systemd/network/50-other.network");
    let status = machine.sh("provision status");
    assert!(status.contains("Network:     network-config on the volume cidata, /dev/vd"), "{status}");
    assert!(!status.contains("Not used:") && status.contains("50-other.network in /run/systemd/network"), "{status}");
    // What holds is kept for a boot without its source.
    machine.sh("grep -q 10.0.2.77/24 /var/lib/provision/network.json");
    for zone in ["Asia/Calcutta", "US/Eastern"] {
        assert!(provision::cloud_config::time_zones().any(|known| known == zone), "{zone}");
    }
    let missing = provision::cloud_config::time_zones()
        .collect::<Vec<_>>()
        .chunks(100)
        .map(|zones| {
            machine.sh(&format!("cd /usr/share/zoneinfo; for z in {}; do test -e $z || echo $z; done", zones.join(" ")))
        })
        .collect::<String>();
    assert_eq!(missing, "", "time zones that the agent takes and the image lacks");
}

/// The daemon is another process then, and the calls of the one before are its own.
fn restart_under_a_call(machine: &mut Machine) {
    let before = machine.sh("systemctl show -P MainPID rtcd");
    machine.sh("systemctl restart rtcd");
    assert_ne!(machine.sh("systemctl show -P MainPID rtcd"), before);
    let said = machine.sh("journalctl -b -u rtcd -o cat --no-pager | grep -c 'the calls of the process before go on'");
    assert!(said.trim().parse::<u32>().is_ok_and(|times| times > 0), "{said}");
}

/// systemd has what it had written down, its sockets and connections.
fn kill_under_a_call(machine: &mut Machine) {
    let before = machine.sh("systemctl show -P MainPID rtcd");
    machine.sh("systemctl kill -s KILL --kill-whom=main rtcd");
    machine.wait_for(&format!(
        "test $(systemctl show -P MainPID rtcd) -ne 0 -a $(systemctl show -P MainPID rtcd) -ne {}",
        before.trim()
    ));
    machine.wait_for("systemctl is-active rtcd");
    let own = "journalctl -b _PID=$(systemctl show -P MainPID rtcd) -o cat --no-pager";
    machine.sh(&format!("{own} | grep 'the calls of the process before go on'"));
}

fn is_sound(machine: &mut Machine, image: &Image) {
    machine.wait_for("systemctl is-active rtcd-healthcheck");
    machine.wait_panel("Participants are told udp 127.0.0.1:");
    machine.wait_panel("State ready");
    // The text of the first screen, which is there without a display, too.
    machine.wait_for("grep -aq 'State  *ready' /dev/vcs1 && grep -aq 'rtcd appliance' /dev/vcs1");
    assert_eq!(machine.sh("systemctl --failed --no-legend"), "");
    assert!(machine.sh("cat /usr/lib/os-release").contains(&format!("IMAGE_VERSION=\"{}\"", image.version())));
    let mounts = machine.sh("cat /proc/mounts");
    assert!(mounts.lines().any(|line| line.starts_with("/dev/mapper/root / erofs ro,")), "{mounts}");
    assert!(machine.sh("cat /sys/block/dm-0/dm/uuid").starts_with("CRYPT-VERITY-"), "the root is checked");
    for path in ["/usr/bin/x", "/etc/x", "/x"] {
        assert_ne!(machine.run(&format!("echo >{path}")).0, 0, "{path} cannot be written");
    }
    machine.sh("test \"$(echo /usr/lib/systemd/import-pubring.*)\" = '/usr/lib/systemd/import-pubring.*'");
    rtcd_may_do_nothing_special(machine);
    sysctls_are_in_force(machine);
    // What getsockopt(2) says of the smallest buffer of all media sockets.
    let ready = machine.sh("journalctl -b -u rtcd -o json --output-fields=RTCD_RECEIVE_BUFFER --no-pager");
    assert!(ready.contains("\"RTCD_RECEIVE_BUFFER\":\"16777216\""), "{ready}");
    // -uuid without its dashes.
    assert_eq!(machine.sh("cat /etc/machine-id").trim(), "11111111222243338444555555555555");
    machine.sh("test -e /var/log/journal/$(cat /etc/machine-id)/system.journal");
    assert_eq!(machine.sh("uname -n").trim(), "rtcd-1");
    assert_eq!(machine.sh("stat -c '%U %a' /var/lib/rtcd /run/rtcd/rtcd.toml"), "mattermost 700\nmattermost 600\n");
    for unit in machine.sh("systemctl list-units --type=service --state=running --plain --no-legend").lines() {
        let name = unit.split_whitespace().next().expect("a name");
        if name != "rtcd-test.service" {
            machine.sh(&format!(
                "systemd-analyze security --no-pager --threshold=40 {name} >/run/exposure || {{ cat /run/exposure; false; }}"
            ));
        }
    }
}

/// What the kernel says of the process.
pub fn rtcd_may_do_nothing_special(machine: &mut Machine) {
    let status = machine.sh("cat /proc/$(systemctl show -P MainPID rtcd)/status");
    let user = machine.sh("id -u mattermost").trim().to_owned();
    for line in [
        &format!("Uid:\t{user}\t{user}\t{user}\t{user}"),
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.lines().any(|found| found == line), "{line}\n{status}");
    }
}

fn sysctls_are_in_force(machine: &mut Machine) {
    for file in ["60-rtcd.conf", "70-appliance.conf"] {
        let text = fs::read_to_string(in_repository("sysctl.d").join(file)).expect("the file is there");
        for (name, value) in
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "))
        {
            let found = machine.sh(&format!("cat /proc/sys/{}", name.replace('.', "/")));
            // The kernel has tabs between numbers.
            let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(found, value, "{name} of {file}");
        }
    }
}

/// From the outside: the operator's own test.
pub fn reachable(machine: &Machine) {
    let api = format!("http://{}", machine.api());
    let media = format!("--media={}", machine.media());
    let output = Command::new(binary()).args(["check", &api, &media]).env_clear().output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let version = http::request(machine.api(), "GET", "/version", None, None).expect("an answer");
    assert!(version.json()["buildHash"].as_str().is_some_and(|hash| hash.len() == 40), "{}", version.text());
}

/// Whoever cannot connect is sent what the console shows when it is asked for; the journal has no word of it.
fn the_link_on_the_console_is_good(machine: &mut Machine) {
    machine.press("l");
    machine.wait_panel("Whoever cannot connect opens this");
    let link = machine.wait_console("/check/");
    let token = link.trim().rsplit('/').next().expect("a token").to_owned();
    assert!(link.trim().starts_with("https://127.0.0.1:") && token.len() == 32, "{link}");
    let page = http::request(machine.api(), "GET", &format!("/check/{token}"), None, None).expect("an answer");
    assert_eq!(page.status, 200, "{}", page.text());
    let media = format!("https://{}/check/{token}", machine.media());
    let opened = Command::new("curl").args(["-skf", "-o", "/dev/null", &media]).status().expect("curl runs");
    assert!(opened.success(), "{media}");
    assert_ne!(machine.run(&format!("journalctl -b --no-pager | grep -q {token}")).0, 0, "it is in the journal");
}

/// What an admin sees of a boot on the serial console.
fn picture_of_the_console(machine: &Machine, dir: &Path) {
    let lines = machine.lines();
    let lines = &lines[lines.len().saturating_sub(36)..];
    let style =
        "background: #111; color: #ddd; font: 13px/1.3 monospace; margin: 0; padding: 1px 1em; width: max-content";
    let text = lines.join("\n").replace('&', "&amp;").replace('<', "&lt;");
    let file = dir.join("console.html");
    fs::write(&file, format!("<!doctype html><meta charset=utf-8><body style=\"{style}\"><pre>{text}</pre>"))
        .expect("written");
    let browser = Chromium::start();
    let page = browser.open(&format!("file://{}", file.display()));
    wait_for("the page", || {
        page.eval("document.readyState === 'complete' && document.querySelector('pre') !== null") == true
    });
    page.screenshot(&artifact("console-of-a-boot.png"), 960);
}

fn recipes_of_the_documentation_find(machine: &mut Machine, call: &str, session: &str) {
    let page = fs::read_to_string(in_repository("rtcd/TROUBLESHOOTING.md")).expect("the page is there");
    let recipes: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("    journalctl ")).collect();
    assert_eq!(recipes.len(), 5, "{recipes:?}");
    // Something for the recipe of errors.
    machine.sh("echo 'an error of the test' | logger -p user.err");
    for recipe in recipes {
        let recipe = recipe.replace("=CALL", &format!("={call}")).replace("=SESSION", &format!("={session}"));
        let found = machine.wait_for(&format!(
            "journalctl --no-pager {recipe} >/run/found; cat /run/found; ! grep -q 'No entries' /run/found"
        ));
        assert!(!found.trim().is_empty(), "journalctl {recipe}");
    }
}

/// systemd holds the port: whoever connects while rtcd restarts waits, and is served by the next one.
pub fn nobody_is_refused_during(machine: &mut Machine, restart: &str) {
    let api = machine.api();
    let over = Arc::new(AtomicBool::new(false));
    let requests = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                answers.push(http::request(api, "GET", "/version", None, None).map(|answer| answer.status));
            }
            answers
        }
    });
    let before = machine.sh("systemctl show -P MainPID rtcd");
    machine.sh(restart);
    assert_ne!(machine.sh("systemctl show -P MainPID rtcd"), before);
    over.store(true, Ordering::Relaxed);
    let answers = requests.join().expect("no panic");
    assert!(answers.len() > 1 && answers.iter().all(|answer| matches!(answer, Ok(200))), "{answers:?}");
}
