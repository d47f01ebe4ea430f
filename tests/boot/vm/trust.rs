//! Boot 9: an image that its builder has signed starts under Secure Boot and gives its host no shell; another one does not start.
use crate::image::{ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use crate::vm::serve::{reachable, user_data};
use rtcd_tests::daemon::temp_dir;
use rtcd_tests::{http, in_repository};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// An emulated boot, with firmware that checks what it starts.
const BOOT: Duration = Duration::from_secs(300);

#[test]
#[ignore = "boots a machine, which needs an image: tests/run"]
fn boot_9_starts_what_is_signed_and_nothing_else_and_takes_no_units_from_its_host() {
    let _alone = ALONE.blocking_lock();
    let dir = temp_dir("trust");
    let (key, cert) = (dir.join("secure-boot.key"), dir.join("secure-boot.crt"));
    // As the README says.
    let openssl = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=our appliance"])
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), cert.as_os_str()])
        .output()
        .expect("openssl is installed");
    assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
    let output = dir.join("image");
    let built = Command::new(in_repository("image/build"))
        .args(["--quick", "--no-unit-credentials", "--version", "1.0.0", "--output"])
        .arg(&output)
        .arg("--secure-boot")
        .args([&key, &cert])
        .output()
        .expect("image/build can be started");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let disk = dir.join("disk.raw");
    let ports = ports();
    let firmware = dir.join("firmware");
    let start = || {
        let seed = Some((user_data(ports.1, ""), "signed"));
        Machine::start(&disk, ports, &Hardware { seed, secure_boot: Some(firmware.clone()), ..Hardware::default() })
    };
    Image::newest_in(&output).disk(&disk);
    // The firmware is new: the boot loader gives it the certificate, and starts it again.
    let mut machine = start();
    machine.wait_end();
    machine.done();
    let mut machine = start();
    let deadline = Instant::now() + BOOT;
    while !http::request(machine.api(), "GET", "/version", None, None).is_ok_and(|answer| answer.status == 200) {
        assert!(Instant::now() < deadline, "rtcd does not answer");
        std::thread::sleep(Duration::from_millis(200));
    }
    reachable(&machine);
    assert!(!machine.has_shell(), "a unit of the host runs");
    machine.done();

    fs::remove_file(&disk).expect("removed");
    Image::built().disk(&disk);
    let machine = start();
    machine.wait_console("Access Denied");
    machine.done();
    fs::remove_dir_all(dir).expect("removed");
}
