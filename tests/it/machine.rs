//! What rtcd asks of the appliance that it runs on.
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig};
use rtcd_tests::http::basic;
use std::fs;
use std::path::Path;

#[test]
fn the_admin_alone_may_reset_the_machine_and_says_so_twice() {
    let requests = Path::new("/run/rtcd-requests");
    let daemon = Daemon::start(DaemonConfig::new());
    let key = "a-key-of-the-tests-that-is-long-enough";
    assert_eq!(daemon.register("plugin", key).status, 201);
    let ask = |authorization: Option<&str>, body: &str| {
        daemon.request("POST", "/factory-reset", authorization, Some(body)).status
    };
    let (admin, erase) = (basic("", ADMIN_KEY), "{\"confirm\": \"erase\"}");
    assert_eq!(ask(None, erase), 401);
    assert_eq!(ask(Some(&basic("plugin", key)), erase), 403);
    for unsure in ["", "{}", "{\"confirm\": \"yes\"}"] {
        assert_eq!(ask(Some(&admin), unsure), 400, "{unsure}");
    }
    assert_eq!(ask(Some(&admin), erase), 501, "not the appliance");
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped in part: only root can make {}", requests.display());
        return;
    }
    fs::create_dir(requests).expect("made");
    let (refused, taken) = (ask(Some(&admin), "{}"), requests.join("factory-reset").exists());
    let accepted = ask(Some(&admin), erase);
    let written = requests.join("factory-reset").exists();
    fs::remove_dir_all(requests).expect("removed");
    assert_eq!((refused, taken, accepted, written), (400, false, 202, true));
    daemon.assert_logs("factory reset, as the admin asks");
}
