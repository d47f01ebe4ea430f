//! The log when something is wrong with where it goes.
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::http;
use std::fs;
use std::process::Stdio;

fn to_file(location: &str) -> DaemonConfig {
    DaemonConfig::new().env("RTCD_LOGGER_ENABLEFILE", "true").env("RTCD_LOGGER_FILELOCATION", location)
}

fn say_something(daemon: &Daemon) {
    let _ = http::request(daemon.api_addr(), "POST", "//", None, None);
    daemon.register(&format!("client-{}", rand::random::<u32>()), &"k".repeat(40));
}

#[test]
fn a_log_file_that_cannot_be_written_is_a_complaint_and_no_end() {
    for location in ["/proc/none/rtcd.log", "/dev/full"] {
        let mut daemon = Daemon::start(to_file(location));
        wait_for("the complaint", || daemon.log().contains("cannot be written"));
        say_something(&daemon);
        assert!(daemon.is_running());
        assert_eq!(daemon.log().matches("cannot be written").count(), 1, "{}", daemon.log());
    }
}

#[test]
fn a_file_that_was_renamed_or_deleted_is_opened_again() {
    let daemon = Daemon::start(to_file("logs/rtcd.log"));
    let (path, old) = (daemon.dir().join("logs/rtcd.log"), daemon.dir().join("logs/old"));
    let lines = || fs::read_to_string(&path).unwrap_or_default();
    wait_for("the first lines", || lines().contains("\"ready\""));
    fs::rename(&path, &old).expect("renamed");
    daemon.signal(Signal::SIGHUP);
    wait_for("the new file", || lines().contains("configuration reloaded"));
    assert!(!lines().contains("\"ready\"") && fs::read_to_string(&old).expect("kept").contains("\"ready\""));
    fs::remove_dir_all(daemon.dir().join("logs")).expect("removed");
    wait_for("another new file", || {
        say_something(&daemon);
        lines().contains("client registered")
    });
}

#[test]
fn a_large_file_is_rotated_and_compressed() {
    let dir = rtcd_tests::daemon::temp_dir("rotate");
    let path = dir.join("rtcd.log");
    fs::File::create(&path).and_then(|file| file.set_len(rtcd::logging::MAX_BYTES)).expect("a large file");
    let _daemon = Daemon::start(to_file(&path.display().to_string()));
    let compressed = || {
        let names = fs::read_dir(&dir).expect("readable").flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".log.gz")).count()
    };
    wait_for("the old file", || compressed() == 1);
    wait_for("the new file", || fs::metadata(&path).is_ok_and(|about| about.len() < 1024 * 1024));
    fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn json_lines_go_to_standard_output_in_the_references_form() {
    let mut output = None;
    let daemon = Daemon::start_with(DaemonConfig::new().env("RTCD_LOGGER_CONSOLEJSON", "true"), |command| {
        let dir = command.get_current_dir().expect("it has one").join("stdout");
        command.stdout(fs::File::create(&dir).expect("made"));
        output = Some(dir);
    });
    let text = || fs::read_to_string(output.as_ref().expect("set")).unwrap_or_default();
    wait_for("the lines", || text().contains("\"ready\""));
    for line in text().lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "msg", "caller"] {
            assert!(json[key].is_string(), "{key} in {line}");
        }
        assert_eq!(json["level"].as_str().map(str::to_lowercase).as_deref(), json["level"].as_str());
    }
    assert_eq!(daemon.log(), "", "standard error");
}

#[test]
fn a_reader_that_is_stuck_blocks_nobody() {
    // Nobody ever reads from the pipe.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut daemon = Daemon::start_with(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "TRACE"), |command| {
        command.stdout(Stdio::from(writer.try_clone().expect("another handle"))).stderr(Stdio::from(writer));
    });
    // 1 MiB waits, 64 KiB are in the pipe; the longest line that a stranger can have written is that of its client id.
    let body = serde_json::json!({"clientID": "nobody", "authKey": "x"}).to_string();
    for _ in 0..300 {
        assert_eq!(daemon.request("POST", "/login", None, Some("{")).status, 400);
    }
    assert!(daemon.is_running());
    assert_eq!(daemon.request("POST", "/login", None, Some(&body)).status, 400);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_exit();
    drop(reader);
}

#[test]
fn the_only_log_is_on_the_console_while_its_file_cannot_be_written() {
    let daemon = Daemon::start(to_file("/proc/none/rtcd.log").env("RTCD_LOGGER_ENABLECONSOLE", "false"));
    wait_for("the lines", || daemon.log().contains("\"msg\":\"ready\""));
    assert!(daemon.log().contains("/proc/none/rtcd.log cannot be written"), "{}", daemon.log());
}
