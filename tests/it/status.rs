//! `/status`, as an admin reads it.
use crate::browser::alone;
use anyhow::Result;
use rtcd_tests::browser::DemoPage;
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::daemon::{ADMIN_KEY, DaemonConfig, binary, temp_dir, wait_for};
use rtcd_tests::http;
use rtcd_tests::namespace::{ADDRESS, with_a_network_of_its_own};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use serde_json::Value;
use std::process::Command;

fn status(world: &World) -> Value {
    world.daemon.request("GET", "/status", None, None).json()
}

fn session<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["calls"][0]["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|session| session["session_id"] == name).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_described_with_its_participants_their_ways_and_their_tracks() -> Result<()> {
    let world = World::start().await?;
    let empty = status(&world);
    assert_eq!((&empty["calls"], &empty["state"]), (&serde_json::json!([]), &"serving".into()));
    let told = empty["advertised"].as_array().expect("a list");
    let own = world.media().to_string();
    let is_own = |protocol: &str| told.iter().any(|one| one["address"] == own.as_str() && one["protocol"] == protocol);
    assert!(is_own("udp") && is_own("tcp") && told.len() == 2, "{told:?}");
    assert_eq!(told[0]["origin"], "lo");

    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    ann.add_video(&[]);
    let flows = [ann.stream("voice", VOICE), ann.stream("video", KEY_FRAME)];
    bob.wait_track("video", "ann").await?;
    bob.wait_track("voice", "ann").await?;
    let float = |kind: u8, value: f64| [&[kind, 0xcb][..], &value.to_be_bytes()].concat();
    bob.channel(&float(6, 0.002));
    tokio::task::block_in_place(|| {
        wait_for("bit rates, a round trip and what bob says of his way", || {
            let status = status(&world);
            let (ann, bob) = (session(&status, "ann"), session(&status, "bob"));
            let sends = |kind: &str| {
                let all = ann["sends"].as_array().map(Vec::as_slice).unwrap_or_default();
                all.iter().any(|track| track["kind"] == kind && track["bitrate_bps"].as_u64() > Some(0))
            };
            let measured = bob["round_trip_ms"].is_f64() && bob["loss"] == 0.0;
            sends("voice") && sends("video") && measured && bob["jitter_ms"] == 2.0
        });
    });
    let status = status(&world);
    let call = &status["calls"][0];
    assert_eq!((&call["group_id"], &call["call_id"]), (&"mattermost".into(), &"call".into()));
    let bob = session(&status, "bob");
    for (field, value) in [("protocol", "udp"), ("family", "ipv4"), ("stage", "in_call")] {
        assert_eq!(bob[field], value, "{bob:#}");
    }
    assert!(bob["estimate_bps"].as_u64() > Some(0) && bob["conn_id"].as_str().is_some_and(|id| id.len() == 26));
    let received = bob["receives"].as_array().expect("a list");
    let from = |kind: &str, codec: &str| {
        received.iter().any(|track| track["kind"] == kind && track["codec"] == codec && track["from"] == "ann")
    };
    assert!(from("voice", "audio/opus") && from("video", "video/VP8") && received.len() == 2, "{received:#?}");
    assert_eq!(received.iter().find(|track| track["kind"] == "video").map(|track| &track["layer"]), Some(&0.into()));
    let client = &status["clients"][0];
    assert_eq!(
        (&client["client_id"], &client["connections"], &client["sessions"]),
        (&"mattermost".into(), &1.into(), &2.into())
    );
    let served: u64 =
        status["workers"].as_array().into_iter().flatten().filter_map(|one| one["sessions"].as_u64()).sum();
    assert_eq!(served, 2);
    // Neither addresses of participants nor keys are anybody's business.
    assert!(!status.to_string().contains(ADMIN_KEY));

    drop(flows);
    ann.leave().await?;
    wait_for("the end", || session(&self::status(&world), "ann").is_null());
    Ok(())
}

#[test]
fn from_elsewhere_it_needs_the_admins_key() {
    with_a_network_of_its_own(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let ip = ADDRESS;
        let config = || DaemonConfig { ip, ..DaemonConfig::new() };
        let world = runtime.block_on(World::start_with(config())).expect("a world");
        let ask = |authorization: Option<&str>| world.daemon.request("GET", "/status", authorization, None);
        let refused = ask(None);
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")));
        assert_eq!(ask(Some(&http::basic("anybody", ADMIN_KEY))).json()["state"], "serving");
        assert_eq!(ask(Some(&http::basic("anybody", "not the admin's key"))).status, 401);
        let client = http::basic(&world.plugin.client_id, &world.plugin.auth_key);
        assert_eq!(ask(Some(&client)).status, 403, "a client is no admin");
        world.daemon.assert_logs("authentication refused");
        let lines = |authorization: Option<&str>| world.daemon.request("GET", "/status/log", authorization, None);
        assert_eq!([lines(None).status, lines(Some(&client)).status], [401, 403]);
        let lines = lines(Some(&http::basic("anybody", ADMIN_KEY))).text();
        assert!(lines.contains("authentication refused") && !lines.contains(ADMIN_KEY), "{lines}");
        assert!(!lines.contains(&world.plugin.auth_key), "{lines}");
        drop(world);
        let closed = runtime.block_on(World::start_with(config().env("RTCD_API_SECURITY_ENABLEADMIN", "false")));
        let closed = closed.expect("a world").daemon.request("GET", "/status", None, None);
        assert!(closed.status == 403 && closed.text().contains("api.security.enable_admin"), "{}", closed.text());
    });
}

#[test]
fn what_a_proxy_asks_is_not_asked_from_here() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::start()).expect("a world");
    let url = format!("{}/status", world.daemon.url());
    let status = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(&url)
            .output();
        String::from_utf8(output.expect("curl runs").stdout).expect("text")
    };
    assert_eq!(status(&[]), "200");
    assert_eq!(status(&["-I"]), "200");
    for proxied in [&["-H", "X-Forwarded-For: 192.0.2.1"][..], &["--http1.0"], &["-H", "Host: calls.example.com"]] {
        assert_eq!(status(proxied), "401", "{proxied:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_are_those_of_the_log_as_text_and_as_json() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    ann.leave().await?;
    let ask = |query: &str| world.daemon.request("GET", &format!("/status/log{query}"), None, None);
    wait_for("the end of the session", || ask("").text().contains("session closed"));
    let text = ask("").text();
    assert!(
        text.lines().any(|line| line.contains(" info  session closed ") && line.contains("session_id=ann")),
        "{text}"
    );
    assert!(!ask("?level=warn").text().contains(" info "));
    assert_eq!(ask("?of=../etc").status, 400);
    let url = format!("{}/status/log", world.daemon.url());
    let json = Command::new("curl").args(["-s", "-H", "Accept: application/json", &url]).output()?;
    let json: Value = serde_json::from_slice(&json.stdout)?;
    let line = json["lines"].as_array().into_iter().flatten().find(|line| line["text"] == "session closed");
    assert_eq!(line.map(|line| (&line["level"], &line["fields"]["session_id"])), Some((&"info".into(), &"ann".into())));
    assert_eq!(json["of"], "rtcd");
    Ok(())
}

/// A journal with what journalctl is asked for in it.
fn with_a_journal(dir: &std::path::Path) -> DaemonConfig {
    let script = r#"#!/bin/sh
line() { printf '{"__REALTIME_TIMESTAMP":"1767225600%06d","PRIORITY":"%s","_SYSTEMD_UNIT":"%s","MESSAGE":"%s","PROVISION_KEY":"rtcd.rtc.ice_prot_udp"}\n' "$@"; }
line 1 6 provision.service "source found"
line 2 4 provision.service "asked with $*"
line 3 3 provision.service "line 5, column 7: rtcd.rtc.ice_prot_udp: unknown key; did you mean rtcd.rtc.ice_port_udp? <script>alert(1)</script>"
"#;
    std::fs::write(dir.join("journalctl"), script).expect("written");
    std::fs::set_permissions(dir.join("journalctl"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("executable");
    DaemonConfig::new().env("PATH", &format!("{}:/usr/bin:/bin", dir.display()))
}

#[test]
fn lines_of_the_machine_are_asked_of_its_journal() {
    let dir = temp_dir("journal");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::start_with(with_a_journal(&dir))).expect("a world");
    let ask = |query: &str| world.daemon.request("GET", &format!("/status/log{query}"), None, None).text();
    let text = ask("?of=provision");
    assert!(text.starts_with("2026-01-01 00:00:00.000 Z info  provision: source found key="), "{text}");
    let asked = "asked with --quiet --no-pager --output=json --lines=300 --unit=provision*.service";
    assert!(text.contains(&format!("{asked} key=")), "{text}");
    let text = ask("?of=errors&level=warn");
    assert!(text.contains("--priority=err key=") && !text.contains("source found"), "{text}");
    assert!(ask("?of=kernel&level=warn").contains("--dmesg --boot=all --priority=warning key="));
    drop(world);
    let _ = std::fs::remove_dir_all(dir);
}

/// Every width in both themes, each with a picture beside the binary.
fn pictures(page: &Page, what: &str) {
    for dark in [false, true] {
        page.set_dark(dark);
        for width in [360, 768, 1280] {
            let name = format!("{what}-{width}-{}.png", if dark { "dark" } else { "light" });
            page.screenshot(&binary().with_file_name(&name), width);
            let (needed, there) = (page.eval("document.documentElement.scrollWidth"), page.eval("innerWidth"));
            assert!(needed.as_u64() <= there.as_u64(), "{name}: {needed} of {there}");
        }
    }
}

#[test]
fn the_last_lines_are_readable_at_every_width_in_both_themes_and_go_on() {
    let _alone = alone();
    let dir = temp_dir("journal-page");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::start_with(with_a_journal(&dir))).expect("a world");
    let browser = Chromium::start();
    let page = browser.open(&format!("{}/status", world.daemon.url()));
    let text = || page.eval("document.body ? document.body.innerText : ''").as_str().unwrap_or_default().to_owned();
    wait_for("the page", || text().contains("Last lines of the log"));
    let link = page.eval("document.querySelector('a[href=\"/status/log\"]').href");
    let page = browser.open(link.as_str().expect("an address"));
    let text = || page.eval("document.body ? document.body.innerText : ''").as_str().unwrap_or_default().to_owned();
    wait_for("the lines", || text().contains("warnings and errors"));
    page.eval("window.violations = []; document.addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective)); 0");
    let refused = world.daemon.request("GET", "/clients", Some(&http::basic("nobody", "wrong")), None);
    assert_eq!(refused.status, 401);
    let ann = runtime.block_on(world.join("ann")).expect("ann joins");
    runtime.block_on(ann.leave()).expect("ann leaves");
    wait_for("new lines, without anybody asking for them", || text().contains("session closed"));
    pictures(&page, "log");
    assert_eq!(page.eval("violations.join()"), "");
    let page = browser.open(&format!("{}/status/log?of=provision", world.daemon.url()));
    wait_for("the lines of the machine", || {
        page.eval("document.body ? document.body.innerText : ''")
            .as_str()
            .is_some_and(|text| text.contains("unknown key"))
    });
    pictures(&page, "log-of-provision");
    assert_eq!(page.eval("document.scripts.length"), 0);
    drop(world);
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn the_page_is_readable_at_every_width_in_both_themes_and_follows_a_call() {
    let _alone = alone();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world =
        runtime.block_on(World::start_with(DaemonConfig::new().env("RTCD_RTC_ENABLEIPV7", "true"))).expect("a world");
    let browser = Chromium::start();
    let page = browser.open(&format!("{}/status", world.daemon.url()));
    let text = || page.eval("document.body ? document.body.innerText : ''").as_str().unwrap_or_default().to_owned();
    wait_for("the page", || text().contains("No call at the moment."));
    page.eval("window.violations = []; document.addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective)); 0");
    let (_flows, _people) = runtime
        .block_on(async {
            let (ann, bob, cleo) = (world.join("ann").await?, world.join("bob").await?, world.join("cleo").await?);
            ann.add_voice();
            bob.add_voice();
            ann.add_video(&[]);
            let flows = [ann.stream("voice", VOICE), bob.stream("voice", VOICE), ann.stream("video", KEY_FRAME)];
            bob.wait_track("video", "ann").await?;
            cleo.wait_track("voice", "bob").await?;
            anyhow::Ok((flows, [ann, bob, cleo]))
        })
        .expect("a call");
    wait_for("the call, without anybody asking for it", || {
        let text = text();
        text.contains("3 participants") && text.contains("UDP over IPv4") && text.contains("bit/s")
    });
    pictures(&page, "status");
    assert_eq!(page.eval("violations.join()"), "");
    page.eval("document.getElementById('pause').click()");
    assert!(text().contains("Paused at") && text().contains("Go on"));
    page.eval("document.getElementById('pause').click()");
    drop(world);
    wait_for("the page to say that nobody answers", || text().contains("No answer since"));
}
