//! Boot 8: a machine whose `/var` is past mending serves all the same; one whose admin wants it forgets; and a disk that is too
//! small is told so.
use crate::image::{ALONE, Image, partition, wipe};
use crate::machine::{Hardware, Machine, ports};
use crate::vm::serve::user_data;
use rtcd_tests::daemon::temp_dir;
use rtcd_tests::http;
use std::fs;

const ADMIN_KEY: &str = "an-admin-key-of-the-tests-that-is-long-enough";

#[test]
#[ignore = "boots a machine, which needs an image: tests/run"]
fn boot_8_serves_without_its_state_forgets_when_asked_and_names_a_small_disk() {
    let _alone = ALONE.blocking_lock();
    let dir = temp_dir("heal");
    let disk = dir.join("disk.raw");
    let image = Image::built();
    image.disk(&disk);
    let ports = ports();
    let admin = format!("admin_secret_key: {ADMIN_KEY}");
    let said = user_data(ports.1, "").replace("allow_self_registration: true", &format!("enable_admin: true, {admin}"));
    let start = |id| {
        // A machine with a screen alone has its panel there.
        let no_serial = id == "third";
        Machine::start(&disk, ports, &Hardware { seed: Some((said.clone(), id)), no_serial, ..Hardware::default() })
    };
    let mut machine = start("first");
    machine.wait_ready("boot 8");
    machine.sh("systemctl is-active rtcd && ! test -e /run/rtcd-var/var && echo kept >/var/lib/kept && sync");
    // By the key, whose word restarts the machine.
    machine.press("r");
    machine.wait_panel("Type the word erase and Enter within 30 s.");
    machine.press("erase\r");
    machine.wait_end();
    machine.done();

    let (_, len) = partition(&disk, "var");
    wipe(&disk, "var", len);
    let mut machine = start("second");
    machine.wait_ready("boot 8, with nothing on /var");
    machine.sh("systemctl is-active rtcd && test ! -e /var/lib/kept && echo kept >/var/lib/kept");
    machine.sh("grep 'made anew, and what it held is gone: its file system could not be mended' /run/rtcd-var/var");
    assert_eq!(machine.sh("systemctl --failed --no-legend"), "");
    let ask = |body| {
        let admin = http::basic("admin", ADMIN_KEY);
        http::request(machine.api(), "POST", "/factory-reset", Some(&admin), Some(body)).expect("an answer").status
    };
    assert_eq!(ask("{}"), 400);
    assert_eq!(ask("{\"confirm\": \"erase\"}"), 202);
    machine.wait_end();
    machine.done();

    let mut machine = start("third");
    machine.wait_ready("boot 8, after a factory reset");
    machine.sh("systemctl is-active rtcd && test ! -e /var/lib/kept");
    let kept = machine.sh("cat /boot/rtcd/var.txt");
    assert!(kept.contains("factory reset, as asked for on the console or by the API"), "{kept}");
    assert!(kept.contains("could not be mended"), "what was is remembered: {kept}");
    machine.wait_for("grep -aq 'State  *ready' /dev/vcs1 && grep -aq 'rtcd appliance' /dev/vcs1");
    machine.done();

    // Room for the slot that is there, and for nothing else.
    fs::copy(image.file("raw"), &disk).expect("copied");
    fs::OpenOptions::new().write(true).open(&disk).and_then(|disk| disk.set_len(800 << 20)).expect("made bigger");
    let machine = start("small");
    machine.wait_console("the disk is too small: it has 0.7 GiB and must have 3 GiB");
    machine.done();
    fs::remove_dir_all(dir).expect("removed");
}
