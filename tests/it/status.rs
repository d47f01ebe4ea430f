//! `/status`, as an admin reads it.
use crate::browser::alone;
use anyhow::Result;
use rtcd_tests::browser::DemoPage;
use rtcd_tests::browser::chromium::Chromium;
use rtcd_tests::daemon::{ADMIN_KEY, DaemonConfig, binary, wait_for};
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
    for dark in [false, true] {
        page.set_dark(dark);
        for width in [360, 768, 1280] {
            let name = format!("status-{width}-{}.png", if dark { "dark" } else { "light" });
            page.screenshot(&binary().with_file_name(&name), width);
            let (needed, there) = (page.eval("document.documentElement.scrollWidth"), page.eval("innerWidth"));
            assert!(needed.as_u64() <= there.as_u64(), "{name}: {needed} of {there}");
        }
    }
    assert_eq!(page.eval("violations.join()"), "");
    page.eval("document.getElementById('pause').click()");
    assert!(text().contains("Paused at") && text().contains("Go on"));
    page.eval("document.getElementById('pause').click()");
    drop(world);
    wait_for("the page to say that nobody answers", || text().contains("No answer since"));
}
