//! From the reference to us: the daemon on a store that the reference has left (tests/it/bitcask/make.go).
use rtcd_tests::daemon::{Daemon, DaemonConfig, temp_dir, wait_for};
use rtcd_tests::in_repository;
use rtcd_tests::plugin::{Plugin, Refused};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of a store of the reference.
fn store(name: &str) -> PathBuf {
    let dir = temp_dir("reference");
    for entry in fs::read_dir(in_repository("tests/it/bitcask").join(name)).expect("the fixture is there").flatten() {
        fs::copy(entry.path(), dir.join(entry.file_name())).expect("copied");
    }
    dir
}

/// The reference's files, byte for byte.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("readable").flatten().filter(|entry| entry.path().is_file());
    entries
        .map(|entry| (entry.file_name().into_string().expect("text"), fs::read(entry.path()).expect("readable")))
        .collect()
}

/// An installation whose client and key the reference has registered.
fn plugin(daemon: &Daemon, client: &str) -> Plugin {
    let auth_key = format!("the key of {client}, long enough for Go");
    Plugin { auth_key, ..Plugin::new(daemon.api_addr(), client) }
}

/// As the reference starts by default: nobody may register.
fn closed(store: &Path) -> DaemonConfig {
    let config = DaemonConfig::new().env("RTCD_API_SECURITY_ALLOWSELFREGISTRATION", "false");
    config.env("RTCD_API_SECURITY_ENABLEADMIN", "false").store(store)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_registered_with_the_reference_logs_in_with_the_same_key() {
    for name in ["several", "files", "merged", "killed"] {
        let store = store(name);
        let before = files(&store);
        let daemon = Daemon::start(closed(&store));
        for client in ["ann", "bob", "cid"] {
            plugin(&daemon, client).dial().await.unwrap_or_else(|error| panic!("{client} of {name}: {error}"));
        }
        assert!(matches!(plugin(&daemon, "dan").dial().await, Err(Refused::Status(401))), "{name}");
        let log = daemon.log();
        assert!(
            log.lines().any(
                |line| line.contains("the clients of Mattermost's rtcd are ours now") && line.contains("clients=3")
            )
        );
        assert_eq!(log.contains("was never finished"), name == "killed", "{log}");
        drop(daemon);
        let again = Daemon::start(closed(&store));
        plugin(&again, "ann").dial().await.expect("known still");
        assert!(!again.log().contains("Mattermost's rtcd"), "there is nothing new: {}", again.log());
        assert_eq!(files(&store), before, "{name}");
        drop(again);
        fs::remove_dir_all(store).expect("removed");
    }
}

#[test]
fn what_cannot_be_read_ends_the_start_for_good_and_says_what_to_do() {
    let store = store("several");
    let file = store.join("000000000.data");
    let mut bytes = fs::read(&file).expect("there");
    bytes[40] ^= 1;
    fs::write(&file, bytes).expect("written");
    let mut daemon = Daemon::start(closed(&store).no_wait());
    assert_eq!(daemon.wait_exit().code(), Some(78), "systemd does not start it again");
    daemon.assert_logs("000000000.data");
    daemon.assert_logs("rtcd client add");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_reference_that_still_runs_keeps_us_out() {
    let store = store("several");
    let mut holder = Command::new("flock")
        .arg(store.join("lock"))
        .args(["sh", "-c", "echo held; cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock runs");
    let mut held = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut held).expect("it says so");
    let mut daemon = Daemon::start(closed(&store).no_wait());
    assert_eq!(daemon.wait_exit().code(), Some(1), "it may be tried again");
    daemon.assert_logs("Mattermost's rtcd, or another rtcd, still runs on it");
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    Daemon::start(closed(&store));
    fs::remove_dir_all(store).expect("removed");
}

/// Whoever is neither root nor the owner.
const STRANGER: u32 = 1234;

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_a_directory_that_cannot_be_written_are_served_and_what_cannot_be_read_is_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let store = store("several");
    let start = |config: DaemonConfig| {
        let work = temp_dir("stranger");
        chown(&work, Some(STRANGER), Some(STRANGER)).expect("given away");
        let daemon = Daemon::start_with(config, |command| {
            command.uid(STRANGER).gid(STRANGER).current_dir(&work);
        });
        (daemon, work)
    };
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
    mode(&store, 0o555);
    for name in files(&store).keys() {
        mode(&store.join(name), 0o444);
    }
    let (daemon, work) = start(closed(&store));
    plugin(&daemon, "ann").dial().await.expect("known");
    wait_for("the complaint", || daemon.log().contains("registrations are refused until it works"));
    drop(daemon);
    fs::remove_dir_all(work).expect("removed");

    mode(&store.join("000000000.data"), 0o400);
    let (mut daemon, work) = start(closed(&store).no_wait());
    assert_eq!(daemon.wait_exit().code(), Some(78));
    daemon.assert_logs("000000000.data");
    daemon.assert_logs("chown -R");
    fs::remove_dir_all(work).expect("removed");
    fs::remove_dir_all(store).expect("removed");
}
