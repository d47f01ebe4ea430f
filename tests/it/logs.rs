//! The log when something is wrong with where it goes.
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::http;
use rtcd_tests::world::{VOICE, World};
use serde_json::Value;
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

/// What is said in the span of one session is often about another: who comes makes those who are there be offered something.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_about_a_session_has_the_ids_of_that_session() -> anyhow::Result<()> {
    let config = DaemonConfig::new().env("RTCD_LOGGER_CONSOLEJSON", "true");
    let world = World::start_with(config).await?;
    let (ann, bob, cleo) = (world.join("ann").await?, world.join("bob").await?, world.join("cleo").await?);
    ann.add_voice();
    let flow = ann.stream("voice", VOICE);
    bob.wait_track("voice", "ann").await?;
    cleo.wait_track("voice", "ann").await?;
    drop(flow);
    ann.leave().await?;
    let lines: Vec<Value> =
        world.daemon.log().lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
    let of = |msg: &str, name: &str, value: &str| -> Vec<String> {
        let wanted = |line: &&Value| line["msg"] == msg && line[name] == value;
        lines.iter().filter(wanted).map(|line| line["session_id"].as_str().unwrap_or("nobody").to_owned()).collect()
    };
    let mut offered = of("description sent", "kind", "offer");
    offered.sort();
    offered.dedup();
    assert_eq!(offered, ["bob", "cleo"], "ann is offered nothing");
    for line in lines.iter().filter(|line| line["caller"].as_str().is_some_and(|at| at.contains("signalling/"))) {
        let known = ["session_id", "conn_id"].iter().any(|id| line[id].is_string());
        assert!(known && line["group_id"] == "mattermost", "{line}");
    }
    Ok(())
}

/// Ids are what warnings are worth: they are there at whatever level the log has.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_warnings_alone_has_the_ids_too() -> anyhow::Result<()> {
    let config = DaemonConfig::new().env("RTCD_LOGGER_CONSOLEJSON", "true").env("RTCD_LOGGER_CONSOLELEVEL", "WARN");
    let world = World::start_with(config).await?;
    let ann = world.join("ann").await?;
    // An unlock of a lock that it does not hold.
    ann.channel(&[8]);
    tokio::task::block_in_place(|| wait_for("the complaint", || world.daemon.log().contains("message refused")));
    let log = world.daemon.log();
    let line = log.lines().find(|line| line.contains("message refused")).expect("just seen");
    let line: Value = serde_json::from_str(line)?;
    assert_eq!(
        (&line["session_id"], &line["call_id"], &line["group_id"]),
        (&"ann".into(), &"call".into(), &"mattermost".into())
    );
    Ok(())
}

#[test]
fn who_is_refused_is_said_with_the_reason_a_few_times() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = "k".repeat(40);
    assert_eq!(daemon.register("known", &key).status, 201);
    let ask = |authorization: Option<&str>| daemon.request("GET", "/calls/call/sessions", authorization, None).status;
    assert_eq!(ask(None), 401);
    assert_eq!(ask(Some(&http::basic("nobody", &key))), 401);
    assert_eq!(ask(Some(&http::basic("known", "another-key-of-the-tests"))), 401);
    assert_eq!(ask(Some("Bearer none")), 401);
    wait_for("the last of the lines", || daemon.log().contains("unknown_token"));
    let log = daemon.log();
    for line in [
        "authentication refused: no credentials reason=\"no_credentials\" from=127.0.0.1",
        "authentication refused: no client of that id client_id=\"nobody\" reason=\"unknown_client\"",
        "authentication refused: another key than the client's client_id=\"known\" reason=\"wrong_key\"",
        "authentication refused: no bearer token that is in force reason=\"unknown_token\"",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("another-key") && !log.contains(&key));
    let evil = http::basic("evil\n\u{1b}[31m", &key);
    for _ in 0..100 {
        ask(Some("Bearer none"));
        assert_eq!(ask(Some(&evil)), 401);
    }
    let said = daemon.log().matches("authentication refused").count();
    assert!((5..=15).contains(&said), "{said}");
    assert!(!daemon.log().contains('\u{1b}'));
    let refused = |reason: &str| daemon.metric(&format!("rtcd_auth_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((refused("wrong_key"), refused("no_credentials"), refused("unknown_token")), (1.0, 1.0, 101.0));
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
