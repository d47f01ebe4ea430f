//! The network of a machine over its boots: said, said wrongly, not said any more.
use crate::machine::{Machine, SMALLEST};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

const SEED: &str = "var/lib/cloud/seed/nocloud/network-config";
const STATIC: &str = "version: 2\nethernets:\n  eth0: {addresses: [192.0.2.5/24], gateway4: 192.0.2.1}\n";
const FILE: &str = "run/systemd/network/75-provision-eth0.network";

fn reboot(machine: &Machine) {
    fs::remove_dir_all(machine.path("run")).expect("a reboot");
}

fn seeded(network: &str) -> Machine {
    let machine = Machine::seeded(SMALLEST);
    machine.write("sys/class/dmi/id/product_uuid", "a-machine\n");
    machine.write(SEED, network);
    machine
}

#[test]
fn what_is_said_is_written_for_networkd_and_kept_for_a_boot_without_its_source() {
    let machine = seeded(STATIC);
    machine.run("run").expect(0);
    let text = machine.read(FILE);
    assert!(text.contains("Address=192.0.2.5/24\n"), "{text}");
    assert!(machine.read("run/systemd/network/79-provision-rest.network").contains("DHCP=no\n"));
    let status = machine.run("status").expect(0).out;
    assert!(status.contains("Network:     /var/lib/cloud/seed/nocloud/network-config\n"), "{status}");

    reboot(&machine);
    fs::remove_dir_all(machine.path("var/lib/cloud")).expect("the seed is unplugged");
    machine.run("run").expect(0);
    assert_eq!(machine.read(FILE), text);
    // The disk in another machine.
    reboot(&machine);
    machine.write("sys/class/dmi/id/product_uuid", "another\n");
    machine.run("run").expect(3);
    assert!(!machine.path(FILE).exists());
}

#[test]
fn a_network_that_is_not_said_any_more_is_dhcp_again() {
    let machine = seeded(STATIC);
    machine.run("run").expect(0);
    fs::remove_file(machine.path(SEED)).expect("removed");
    machine.write("run/systemd/network/70-enp0s2.network", "the kernel command line's");
    machine.run("run").expect(0);
    // Beside one that is said it is named.
    machine.write(SEED, STATIC);
    assert!(
        machine
            .run("run")
            .expect(0)
            .err
            .contains("70-enp0s2.network in /run/systemd/network, of the kernel command line")
    );
    fs::remove_file(machine.path(SEED)).expect("removed");
    machine.run("run").expect(0);
    assert!(!machine.path(FILE).exists() && machine.path("run/systemd/network/70-enp0s2.network").exists());
    assert!(machine.run("status").expect(0).out.contains("Network:     DHCP on every card\n"));
}

#[test]
fn mistakes_on_a_first_boot_are_in_one_report_with_those_of_the_user_data() {
    let machine = seeded("version: 2\nethernets:\n  eth0: {adresses: [192.0.2.5/24]}\n");
    machine.seed("i-1", "#cloud-config\nruncmd: [reboot]\n");
    machine.run("run").expect(1);
    let panel = machine.panel();
    for said in [
        "network-config (/var/lib/cloud/seed/nocloud/network-config) has 1 mistake: line 3, column 10: ethernets.eth0.adresses: unknown key; did you mean addresses?",
        "user-data has 1 mistake: line 2, column 1: runcmd: ",
        "State unconfigured Next correct the user data where you gave them; rtcd is not started",
    ] {
        assert!(panel.contains(said), "no {said:?} in {panel}");
    }
    assert!(!machine.path("run/rtcd").exists() && !machine.path(FILE).exists());
}

#[test]
fn mistakes_on_a_later_boot_leave_the_network_of_before() {
    let machine = seeded(STATIC);
    machine.run("run").expect(0);
    let before = machine.read(FILE);
    reboot(&machine);
    machine.write(SEED, "version: 2\nethernets:\n  eth0: {adresses: [192.0.2.6/24]}\n");
    machine.seed("i-2", "#cloud-config\nrtcd: {rtc: {ice_port_udp: 443}}\n");
    machine.run("run").expect(0);
    assert_eq!(machine.read(FILE), before);
    // The user data are right, and count.
    assert!(machine.read("run/rtcd/rtcd.toml").contains("ice_port_udp = 443"));
    let panel = machine.panel();
    assert!(panel.contains("did you mean addresses? the network of before is used"), "{panel}");
    assert!(machine.run("status").expect(0).out.contains("Not used:    network-config"));
}

#[test]
fn a_card_that_is_not_here_is_named_with_those_that_are() {
    let machine = seeded(STATIC);
    machine.write("sys/class/net/ens3/address", "52:54:00:12:34:56\n");
    machine.write("sys/class/net/ens3/device/vendor", "");
    machine.write("sys/class/net/lo/address", "00:00:00:00:00:00\n");
    let told = machine.run("run").expect(0);
    assert!(
        told.err.contains("ethernets.eth0: no card is called eth0; there is ens3 (52:54:00:12:34:56)"),
        "{}",
        told.err
    );
}

#[test]
fn a_credential_and_vmwares_metadata_say_so_too() {
    let machine = Machine::new();
    machine.write("run/credentials/@system/rtcd.user-data", SMALLEST);
    machine.write("run/credentials/@system/rtcd.network-config", STATIC);
    machine.run("run").expect(0);
    assert!(machine.read(FILE).contains("Address=192.0.2.5/24"));
    assert!(machine.run("status").expect(0).out.contains("Network:     the credential rtcd.network-config\n"));

    let machine = Machine::new();
    machine.write("sys/class/dmi/id/sys_vendor", "VMware, Inc.\n");
    machine.write("guestinfo/userdata", SMALLEST);
    machine.write("guestinfo/vendordata", "#cloud-config\n");
    let indented: String = STATIC.lines().map(|line| format!("  {line}\n")).collect();
    machine.write("guestinfo/metadata", format!("instance-id: i-1\nnetwork:\n{indented}"));
    let told = machine.run("run").expect(0);
    assert!(machine.read(FILE).contains("Address=192.0.2.5/24"));
    assert!(told.err.contains("VMware: guestinfo.vendordata is not read"), "{}", told.err);
}

#[test]
fn a_network_config_on_the_laptop_is_checked_and_shown() {
    let machine = Machine::new();
    machine.write("network-config", STATIC);
    let check = |file: &str| {
        let path = machine.path(file);
        let output = crate::machine::agent().args(["check", "--network"]).arg(path).output();
        crate::machine::Told::by(output.expect("the agent can be started"))
    };
    let told = check("network-config").expect(0);
    assert!(told.out.contains("==> 75-provision-eth0.network") && told.out.ends_with("no mistakes\n"), "{}", told.out);
    machine.write("seed/meta-data", "");
    machine.write("seed/user-data", SMALLEST);
    machine.write("seed/network-config", "version: 2\nethernet: {}\n");
    let seed = machine.path("seed");
    let output = crate::machine::agent().args(["render", "--seed"]).arg(seed).output();
    let told = crate::machine::Told::by(output.expect("the agent can be started")).expect(1);
    assert!(told.err.contains("network-config has 1 mistake:\n  line 2, column 1: ethernet: "), "{}", told.err);
    machine.write("network-config", "version: 2\nethernet: {}\n");
    assert!(
        check("network-config")
            .expect(1)
            .err
            .contains("line 2, column 1: ethernet: unknown key; did you mean ethernets?")
    );
}

#[test]
fn the_network_is_there_before_anybody_is_asked_over_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let machine = Machine::new();
    machine.write("run/credentials/@system/rtcd.network-config", STATIC);
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    machine.write("proc/cmdline", format!("quiet ds=nocloud;s={url}"));
    let file = machine.path(FILE);
    let server = std::thread::spawn(move || {
        let mut was_there = Vec::new();
        // meta-data, user-data, network-config
        for mut connection in listener.incoming().flatten().take(3) {
            was_there.push(file.exists());
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        was_there
    });
    machine.run("run").expect(0);
    assert_eq!(server.join().expect("no panic"), [true; 3]);
    assert!(machine.path(FILE).exists());
}
