//! How the demo is served and ends: to other machines, in front of a daemon elsewhere, and what it says when it is over.
use super::{ANN, BOB, alone, enter, perceives};
use futures_util::{SinkExt as _, StreamExt as _};
use rtcd_tests::browser::DemoPage as _;
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, temp_dir, wait_for};
use rtcd_tests::{http, namespace};
use serde_json::json;
use std::process::Command;
use tokio_tungstenite::tungstenite::Message;

/// Waits until the page shows this end.
fn ends_with(page: &Page, title: &str) {
    page.wait_for(title, |state| {
        state.text("/view") == "ended" && page.eval("document.getElementById('ended-title').textContent") == title
    });
    let reason = page.eval("document.getElementById('ended-reason').textContent");
    assert!(reason.as_str().is_some_and(|reason| reason.ends_with('.')), "{reason}");
}

#[test]
fn the_end_of_a_call_has_a_reason_and_a_way_back() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    let colours = (ann.state().colour(), bob.state().colour());
    bob.wait_for("ann", |state| perceives(state, ANN, colours.0));
    bob.eval("demo.leave()");
    ends_with(&bob, "You left the call");
    bob.eval("document.getElementById('again').click()");
    bob.wait_joined();
    bob.wait_for("ann again", |state| perceives(state, ANN, colours.0));
    ann.wait_for("bob again", |state| perceives(state, BOB, colours.1));
    drop(demo);
    for page in [&ann, &bob] {
        ends_with(page, "The demo was stopped");
        let retry = page.eval("document.getElementById('ended-retry').textContent");
        assert!(retry.as_str().is_some_and(|retry| retry.starts_with("Trying again in")), "{retry}");
    }
}

#[test]
fn a_call_that_is_lost_is_joined_again_by_itself() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    // What the page's own connections are, to cut one.
    let ann = browser.open_with(
        &super::address(&demo, ANN, ""),
        "window.sockets = []; window.WebSocket = class extends WebSocket { constructor(url) { super(url); sockets.push(this); } };",
    );
    ann.wait_joined();
    let session = ann.state().text("/sessionID").to_owned();
    ann.eval("sockets[0].close()");
    ends_with(&ann, "The connection is lost");
    ann.wait_for("a new session", |state| {
        state.text("/connection") == "connected" && state.text("/view") == "room" && state.text("/sessionID") != session
    });
}

#[test]
fn the_page_knows_which_daemon_it_talks_to_and_when_that_is_away_or_ends_the_call() {
    let _alone = alone();
    let config = DaemonConfig::new();
    let daemon = Daemon::start(config.clone());
    let key = daemon.dir().join("key");
    std::fs::write(&key, "k".repeat(40)).expect("the key file can be written");
    let key = key.display().to_string();
    let arguments = ["--connect", &daemon.url(), "--auth-key-file", &key];
    let demo = Demo::start_at(std::net::Ipv4Addr::LOCALHOST.into(), &arguments);
    let browser = Chromium::start();
    let ann = enter(&browser, &demo, ANN, "");
    let about = http::request(demo.addr(), "GET", "/about.json", None, None).expect("an answer").json();
    assert_eq!(about["daemon"], json!(daemon.api_addr().to_string()));
    assert_eq!(about["own"], json!(false));
    assert_eq!(about["addresses"], json!([]));
    drop(daemon);
    ann.wait_for("the message", |state| {
        state.0["notices"].as_array().into_iter().flatten().any(|notice| {
            notice.as_str().is_some_and(|notice| notice.starts_with("The demo does not reach the daemon"))
        })
    });
    // One that knows nothing of the call.
    let _anew = Daemon::start(config);
    ends_with(&ann, "The daemon ended the call");
    assert_eq!(ann.state().0["notices"], json!([]), "it is reached again");
    ann.eval("document.getElementById('again').click()");
    ann.wait_joined();
}

#[test]
fn who_finds_the_demo_full_is_told() {
    let _alone = alone();
    let demo = Demo::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = format!("ws://{}/signal", demo.addr());
    let crowd = runtime.block_on(async {
        let mut crowd = Vec::new();
        for at in 0..200 {
            let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.expect("a connection");
            let join = json!({"type": "join", "data": {"name": format!("guest {at}"), "call": format!("call {at}")}});
            socket.send(Message::Text(join.to_string().into())).await.expect("it is read");
            let answer = socket.next().await.expect("an answer").expect("an answer");
            assert!(answer.to_text().is_ok_and(|text| text.contains("joined")), "{answer}");
            crowd.push(socket);
        }
        crowd
    });
    let browser = Chromium::start();
    let ann = browser.open(&super::address(&demo, ANN, ""));
    ends_with(&ann, "The demo is full");
    drop(crowd);
    let again = || {
        ann.eval("document.getElementById('again').click()");
        ann.state().text("/connection") == "connected"
    };
    wait_for("a place", again);
}

/// A page that other machines reach is secure to browsers: they give it a microphone.
#[test]
fn another_machine_gets_the_page_over_https_and_plain_requests_are_led_there() {
    let _alone = alone();
    namespace::with_a_network_of_its_own(|| {
        let demo = Demo::start_at(namespace::ADDRESS.into(), &["--allow-remote"]);
        let plain = http::request(demo.addr(), "GET", "/?call=demo", None, None).expect("an answer");
        assert_eq!(plain.status, 307, "{plain:?}");
        assert_eq!(plain.header("location"), Some(format!("https://{}/?call=demo", demo.addr()).as_str()));
        assert!(demo.log().contains("each browser warns once"), "{}", demo.log());
        let browser = Chromium::start();
        let start = browser.open(&demo.url("call=demo"));
        let code = "document.querySelector('.code')?.naturalWidth > 0 && document.querySelector('.code').alt";
        start.wait_for("the code", |_| {
            start.eval(code) == json!(format!("QR code of https://{}/?call=demo", demo.addr()))
        });
        assert_eq!(start.eval("isSecureContext && 'getUserMedia' in navigator.mediaDevices"), json!(true));
        let ann = browser.open(&demo.url("name=ann&auto"));
        let bob = browser.open(&demo.url("name=bob&tone=900&picture&auto"));
        bob.wait_joined();
        ann.wait_joined();
        let colour = bob.state().colour();
        ann.wait_for("bob", |state| perceives(state, BOB, colour));
        // The microphone of the browser, not a tone of the page.
        bob.wait_for("ann's microphone", |state| state.has(ANN.0, "voice"));
        assert_eq!(ann.state().0["notices"], json!([]));
    });
}

#[test]
fn a_page_for_this_machine_alone_says_so_and_how_to_let_others_in() {
    let _alone = alone();
    let demo = Demo::start();
    let browser = Chromium::start();
    let page = browser.open(&demo.url("call=my+call"));
    let text = |id: &str| page.eval(&format!("document.getElementById('{id}').textContent"));
    page.wait_for("what it says", |_| {
        text("about").as_str().is_some_and(|text| text.contains("the daemon at 127.0.0.1:"))
    });
    let phone = text("phone");
    let phone = phone.as_str().unwrap_or_default();
    assert!(phone.contains("this machine alone") && phone.contains("rtcd demo --allow-remote"), "{phone}");
    assert_eq!(page.eval("document.querySelector('.code')"), json!(null));
    let second = page.eval("document.getElementById('second').href");
    let second = second.as_str().unwrap_or_default();
    assert!(second.contains("?call=my%20call&name=Guest"), "{second}");
}

#[test]
fn a_daemon_behind_tls_needs_an_authority_that_is_known() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    let dir = temp_dir("demo-tls");
    let file = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("a file can be written");
        dir.join(name).display().to_string()
    };
    let ca = file("cert.pem", &made.cert.pem());
    let config = DaemonConfig::new()
        .env("RTCD_API_HTTP_TLS_ENABLE", "true")
        .env("RTCD_API_HTTP_TLS_CERTFILE", &ca)
        .env("RTCD_API_HTTP_TLS_CERTKEY", &file("key.pem", &made.signing_key.serialize_pem()));
    let daemon = Daemon::start(DaemonConfig { tls: true, ..config });
    let key = file("auth-key", &"k".repeat(40));
    let port = daemon.api_addr().port();
    let (https, http) = (format!("https://localhost:{port}"), format!("http://localhost:{port}"));
    let refused = |url: &str, more: &[&str]| {
        let arguments = ["demo", "--listen", "127.0.0.1:0", "--auth-key-file", &key, "--connect", url];
        let output = Command::new(binary()).args(arguments).args(more).output().expect("the demo runs");
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&https, &[]);
    assert!(said.contains(&format!("localhost:{port}")) && said.contains("--ca"), "{said}");
    let said = refused(&https, &["--ca", "/nowhere/ca.pem"]);
    assert!(said.contains("--ca /nowhere/ca.pem"), "{said}");
    let said = refused(&http, &["--ca", &ca]);
    assert!(said.contains("--ca is for a daemon at https://"), "{said}");
    let said = refused("localhost:1", &[]);
    assert!(said.contains("--connect") && said.contains("http://host:port"), "{said}");
    let arguments = ["--connect", &https, "--ca", &ca, "--client-id", "secure", "--auth-key-file", &key];
    let _demo = Demo::start_at(std::net::Ipv4Addr::LOCALHOST.into(), &arguments);
    wait_for("its connection", || daemon.log().contains("websocket opened"));
    let _ = std::fs::remove_dir_all(dir);
}
