//! The check page: a link by which whoever cannot call finds out which hop is broken, in a real browser.
use crate::browser::alone;
use rtcd_tests::browser::DemoPage;
use rtcd_tests::browser::chromium::Chromium;
use rtcd_tests::browser::firefox::Firefox;
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig, binary, wait_for};
use rtcd_tests::http::basic;
use rtcd_tests::namespace::{ADDRESS, Namespace, with_a_network_of_its_own};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// A run waits for twelve seconds for a way that is blocked, and sends a voice for ten.
const PATIENCE: Duration = Duration::from_secs(60);

/// `rtcd check --link` on the daemon's machine: the lines of standard output.
fn links(daemon: &Daemon, more: &[&str]) -> Vec<String> {
    let output = Command::new(binary())
        .args(["check", "--link"])
        .args(more)
        .env_clear()
        .envs(daemon.variables())
        .output()
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("or when rtcd is restarted"), "{said}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

pub fn link(daemon: &Daemon) -> String {
    links(daemon, &[]).swap_remove(0)
}

/// Lets the page do its test: its one sentence, and the text for the ticket.
pub fn test(page: &impl DemoPage) -> (String, String) {
    wait(page, "document.readyState === 'complete' && document.getElementById('go') !== null");
    page.eval("document.getElementById('go').click()");
    wait(page, "!document.getElementById('outcome').hidden");
    let text = |expression: &str| page.eval(expression).as_str().unwrap_or_default().to_owned();
    (text("document.getElementById('sentence').textContent"), text("document.getElementById('ticket').value"))
}

fn wait(page: &impl DemoPage, expression: &str) {
    let deadline = Instant::now() + PATIENCE;
    while page.eval(expression) != Value::Bool(true) {
        assert!(Instant::now() < deadline, "waited in vain: {}", page.eval("document.body.innerText"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn rule(line: &str) {
    let done = Command::new("iptables").args(line.split(' ')).status().expect("iptables runs");
    assert!(done.success(), "iptables {line}");
}

/// No session of the page is left, and no token is in the log.
fn leaves_nothing(daemon: &Daemon, links: &[&str]) {
    wait_for("the sessions to be gone", || !daemon.metrics().contains(":check-page"));
    let log = daemon.log();
    for link in links {
        let token = link.rsplit('/').next().expect("a token");
        assert_eq!(token.len(), 32, "{link}");
        assert!(!log.contains(token), "the token is in the log");
    }
}

#[test]
fn where_nothing_is_broken_the_page_says_so_and_the_voice_comes_back() {
    let _alone = alone();
    let daemon = Daemon::start(DaemonConfig::new());
    let link = link(&daemon);
    assert!(link.starts_with(&format!("https://{}/check/", daemon.media_addr())), "{link}");
    let browser = Chromium::start();
    let page = browser.open_untrusted(&link);
    wait(&page, "document.getElementById('go') !== null");
    for scheme in ["light", "dark"] {
        page.set_dark(scheme == "dark");
        page.screenshot(&binary().with_file_name(format!("check-start-{scheme}.png")), 768);
    }
    let (sentence, ticket) = test(&page);
    assert_eq!(
        sentence, "All is well from here: calls go over UDP, and your voice came back. There is nothing to open.",
        "{ticket}"
    );
    for line in [
        "UDP: ok, connected in ",
        "TCP: ok, connected in ",
        "Voice: came back, over UDP",
        "Clock: this device's and the server's agree",
    ] {
        assert!(ticket.lines().any(|found| found.starts_with(line)), "{line} is missing in:\n{ticket}");
    }
    assert!(ticket.contains("The server sees this device as: 127.0.0.1:"), "{ticket}");
    wait_for("the result in the log", || daemon.log().contains("check page: result"));
    let log = daemon.log();
    let result = log.lines().find(|line| line.contains("check page: result")).expect("just seen");
    for field in ["link=1", "udp=ok", "tcp=ok", "relay=not tried", "echo=ok", "All is well from here"] {
        assert!(result.contains(field), "{field} is missing in {result}");
    }
    assert_eq!(page.eval("isSecureContext"), Value::Bool(true));
    for (scheme, width) in [("light", 360), ("light", 1280), ("dark", 360), ("dark", 768), ("light", 768)] {
        page.set_dark(scheme == "dark");
        page.screenshot(&binary().with_file_name(format!("check-{scheme}-{width}.png")), width);
        assert!(page.eval("document.documentElement.scrollWidth <= innerWidth") == Value::Bool(true), "{width}");
    }
    leaves_nothing(&daemon, &[&link]);
    assert_eq!(daemon.metric("rtcd_ws_connections_total"), 0.0);
    // Another test, with a tone, by the same page.
    page.eval("document.getElementById('tone').checked = true");
    let (sentence, _) = test(&page);
    assert!(sentence.ends_with("and the tone came back. There is nothing to open."), "{sentence}");
    leaves_nothing(&daemon, &[&link]);
}

/// Firefox sends nothing to a server on 127.0.0.1, and plays nothing without a sound card.
#[test]
fn in_firefox_the_page_says_the_same() {
    let _alone = alone();
    with_a_network_of_its_own(|| {
        let here = ADDRESS.to_string();
        let config = DaemonConfig::new().env("RTCD_RTC_ICEADDRESSUDP", &here).env("RTCD_RTC_ICEADDRESSTCP", &here);
        let daemon = Daemon::start(config);
        let link = link(&daemon);
        let (sentence, ticket) = test(&Firefox::open(&link));
        let expected = "All is well from here: calls go over UDP, and your voice came back. There is nothing to open.";
        assert_eq!(sentence, expected, "{ticket}");
        for line in ["UDP: ok, connected in ", "TCP: ok, connected in ", "Voice: came back, over UDP"] {
            assert!(ticket.lines().any(|found| found.starts_with(line)), "{line} is missing in:\n{ticket}");
        }
        leaves_nothing(&daemon, &[&link]);
    });
}

/// The page by the API, as by a proxy, since it is TCP on the media port that is closed; then UDP, too.
#[test]
fn by_the_api_the_page_comes_where_tcp_is_blocked_and_names_what_is() {
    let _alone = alone();
    with_a_network_of_its_own(|| {
        let daemon = Daemon::start(DaemonConfig::new());
        let (link, port) = (link(&daemon), daemon.media_port());
        let path = link.split_once("/check/").expect("a path").1;
        rule(&format!("-A INPUT -p tcp --dport {port} -j DROP"));
        let browser = Chromium::start();
        // On loopback plain HTTP is a secure context.
        let page = browser.open(&format!("{}/check/{path}", daemon.url()));
        let (sentence, ticket) = test(&page);
        assert!(sentence.starts_with("All is well from here: calls go over UDP"), "{ticket}");
        let note = format!("TCP {port} to 127.0.0.1 is blocked from here. That matters only where UDP is blocked, too");
        assert!(ticket.contains(&note), "{ticket}");
        assert!(!ticket.contains("sees this device as"), "{ticket}");
        rule(&format!("-A INPUT -p udp --dport {port} -j DROP"));
        let (sentence, ticket) = test(&page);
        let blocked = format!("UDP {port} to 127.0.0.1 and TCP {port} to 127.0.0.1");
        assert_eq!(
            sentence,
            format!(
                "No call can connect from here: {blocked} are blocked between this device and the server. Open {blocked} in \
                 the firewall and the cloud rules of the server, and in the firewall of this network."
            ),
            "{ticket}"
        );
        wait_for("the result in the log", || daemon.log().contains("udp=failed tcp=failed"));
        leaves_nothing(&daemon, &[&link]);
    });
}

#[test]
fn where_udp_is_blocked_the_sentence_names_it_and_what_to_open() {
    let _alone = alone();
    let (server, person) = (Namespace::new(), Namespace::new());
    server.connect(("inside", "203.0.113.7/24"), &person, ("outside", "203.0.113.20/24"));
    server.run(|| {
        let mut config = DaemonConfig::new();
        config.media_port = 8443;
        config = config.env("RTCD_RTC_ICEADDRESSUDP", "203.0.113.7").env("RTCD_RTC_ICEADDRESSTCP", "203.0.113.7");
        let daemon = Daemon::start(config);
        let link = link(&daemon);
        assert!(link.starts_with("https://203.0.113.7:8443/check/"), "{link}");
        rule("-A INPUT -p udp --dport 8443 -j DROP");
        let browser = person.run(Chromium::start);
        let page = browser.open_untrusted(&link);
        let (sentence, ticket) = test(&page);
        assert_eq!(
            sentence,
            "UDP 8443 to 203.0.113.7 is blocked from here: calls go over TCP, with more delay. Open UDP 8443 to 203.0.113.7 in \
             the firewall and the cloud rules of the server, and in the firewall of this network."
        );
        assert!(ticket.contains("UDP: failed after ") && ticket.contains("TCP: ok, connected in "), "{ticket}");
        assert!(ticket.contains("Voice: came back, over TCP"), "{ticket}");
        assert!(ticket.contains("The server sees this device as: 203.0.113.20:"), "{ticket}");
        page.set_dark(false);
        // As it is in the README.
        page.screenshot(&binary().with_file_name("check.png"), 768);
        wait_for("the result in the log", || daemon.log().contains("udp=failed"));
        assert!(!daemon.log().contains("203.0.113.20"), "whose it is");
        leaves_nothing(&daemon, &[&link]);
    });
}

/// The port answers, and the address that participants are told is another one.
#[test]
fn an_address_that_is_not_the_one_which_is_reached_is_named() {
    let _alone = alone();
    with_a_network_of_its_own(|| {
        let mut config = DaemonConfig::new().env("RTCD_RTC_ICEHOSTOVERRIDE", "10.77.0.9");
        let reached = ADDRESS.to_string();
        config = config.env("RTCD_RTC_ICEADDRESSUDP", &reached).env("RTCD_RTC_ICEADDRESSTCP", &reached);
        let daemon = Daemon::start(config);
        let told = link(&daemon);
        // Else it reaches the browser from its side, and is answered.
        rule(&format!("-A INPUT -p udp --dport {} -j DROP", daemon.media_port()));
        assert!(told.starts_with("https://10.77.0.9:"), "{told}");
        let browser = Chromium::start();
        let (sentence, ticket) = test(&browser.open_untrusted(&told.replace("10.77.0.9", &reached)));
        assert_eq!(
            sentence,
            "Participants are told 10.77.0.9, which is not reached from here, though the server itself is, by 10.77.0.1: set \
             rtc.ice_host_override on the server to the address that is reached.",
            "{ticket}"
        );
        leaves_nothing(&daemon, &[&told]);
    });
}

/// A line over a connection of TLS that trusts everybody.
fn get(url: &str) -> (u16, String) {
    let output =
        Command::new("curl").args(["-sk", "-m", "10", "-w", "\n%{http_code}", url]).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

#[test]
fn a_link_that_has_ended_says_so() {
    let _alone = alone();
    let daemon = Daemon::start(DaemonConfig::new());
    // A used up one.
    let used = link(&daemon);
    let browser = Chromium::start();
    let page = browser.open_untrusted(&used);
    wait(&page, "document.getElementById('go') !== null");
    let begin = "import('./run.js').then(({Run}) => Run.begin()).then((run) => { run.socket.close(); return 'begun'; }, \
                 (error) => error.message)";
    for _ in 0..20 {
        assert_eq!(page.eval(begin), Value::from("begun"));
    }
    wait_for("all uses", || daemon.log().contains("uses_left=0"));
    assert_eq!(page.eval(begin), Value::from("used up"));
    let (status, body) = get(&used);
    assert!(status == 410 && body.contains("This link has been used up."), "{status} {body}");
    // Who has the page open still is told by it.
    let (sentence, _) = test(&page);
    assert_eq!(sentence, "This link has been used up. Ask whoever sent it for a new one.");
    // One whose time is over.
    let short = links(&daemon, &["--valid-for", "1s"]).swap_remove(0);
    // The API, which does not count how often it is asked.
    let by_api = |link: &str| format!("{}/check/{}", daemon.url(), link.rsplit('/').next().expect("a token"));
    wait_for("its end", || get(&by_api(&short)).0 != 200);
    let last = get(&short);
    assert!(last.0 == 410 && last.1.contains("This link has expired."), "{last:?}");
    // And one that never was.
    let (status, body) = get(&format!("https://{}/check/nothing", daemon.media_addr()));
    assert!(status == 404 && body.contains("This link is not known here"), "{status} {body}");
    let restarted =
        used.replace("https", "http").replace(&daemon.media_addr().to_string(), &daemon.api_addr().to_string());
    let (status, body) = get(&restarted);
    assert!(status == 410 && body.contains("used up"), "by the API, too: {status} {body}");
    leaves_nothing(&daemon, &[&used, &short]);
}

/// The beginning of a ClientHello.
const HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03];

/// Whether the connection ends without a word.
fn is_closed(address: SocketAddr, sent: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    stream.write_all(sent).expect("sent");
    matches!(stream.read(&mut [0; 64]), Ok(0)) || {
        // With bytes that nobody took.
        let error = stream.read(&mut [0; 64]).expect_err("closed");
        error.kind() == std::io::ErrorKind::ConnectionReset
    }
}

#[test]
fn without_a_link_browsers_are_closed_on_the_media_port_as_strangers_are() {
    let mut daemon = Daemon::start(DaemonConfig::new());
    // The API comes before the media port.
    daemon.wait_log("ready");
    for sent in [HELLO, b"GET /check/x HTTP/1.1\r\nhost: a\r\n\r\n"] {
        assert!(is_closed(daemon.media_addr(), sent), "{sent:?}");
    }
    assert_eq!(daemon.metric("rtcd_plane_web_refused_total"), 2.0);
    assert_eq!(daemon.metric("rtcd_plane_tcp_refused_total"), 2.0);
    let path = format!("{}/check/nothing", daemon.url());
    assert_eq!(get(&path).0, 404);
    link(&daemon);
    let mut stream = TcpStream::connect(daemon.media_addr()).expect("connected");
    stream.write_all(b"GET /check/x HTTP/1.1\r\nhost: calls.example:8443\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    assert!(
        answer.starts_with("HTTP/1.1 307 ") && answer.contains("location: https://calls.example:8443/check/x\r\n"),
        "{answer}"
    );
    wait_for("the count", || daemon.metric("rtcd_plane_web_passed_total") == 1.0);
}

#[test]
fn only_the_admin_makes_links_and_only_a_page_from_here_runs_a_test() {
    let daemon = Daemon::start(DaemonConfig::new());
    let key = "a-key-of-the-tests-that-is-long-enough";
    assert_eq!(daemon.register("plugin", key).status, 201);
    let ask =
        |authorization: Option<&str>, body: &str| daemon.request("POST", "/check-links", authorization, Some(body));
    assert_eq!(ask(None, "{}").status, 401);
    assert_eq!(ask(Some(&basic("plugin", key)), "{}").status, 403);
    let admin = basic("", ADMIN_KEY);
    for wrong in ["", "{\"validSeconds\": \"0\"}", "{\"validSeconds\": \"3601\"}", "{\"validSeconds\": \"x\"}"] {
        assert_eq!(ask(Some(&admin), wrong).status, 400, "{wrong}");
    }
    let answer = ask(Some(&admin), "{}");
    assert_eq!(answer.status, 201);
    let link: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!((&link["validSeconds"], &link["uses"], &link["selfSigned"]), (&3600.into(), &20.into(), &true.into()));
    let path = link["path"].as_str().expect("a path");
    // From afar, with the key in a file.
    let file = daemon.dir().join("admin-key");
    std::fs::write(&file, ADMIN_KEY).expect("written");
    let output = Command::new(binary())
        .args(["check", "--link", &daemon.url(), "--admin-key-file", &file.display().to_string()])
        .env_clear()
        .output()
        .expect("it can be started");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("https://127.0.0.1:"), "{output:?}");
    let nobody = Command::new(binary()).args(["check", "--link"]).env_clear().output().expect("it can be started");
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");

    for origin in ["", "origin: https://evil.example\r\n", "origin: null\r\n"] {
        let mut stream = TcpStream::connect(daemon.api_addr()).expect("connected");
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        write!(stream, "GET {path}/run HTTP/1.1\r\nhost: {}\r\n{origin}{upgrade}\r\n", daemon.api_addr())
            .expect("sent");
        let mut answer = [0; 64];
        let len = stream.read(&mut answer).expect("read");
        assert!(answer[..len].starts_with(b"HTTP/1.1 403 "), "{origin}: {}", String::from_utf8_lossy(&answer[..len]));
    }
}

/// While browsers come in masses, silent and speaking, a participant over TCP goes on, and so does the page of others.
#[test]
fn a_flood_of_browsers_on_the_media_port_ends_nobodys_check() {
    let _alone = alone();
    let (far, here) = (Namespace::new(), Namespace::new());
    here.connect(("inside", "10.78.0.1/24"), &far, ("outside", "10.78.0.2/24"));
    here.run(|| {
        let mut config = DaemonConfig::new();
        config = config.env("RTCD_RTC_ICEADDRESSUDP", "10.78.0.1").env("RTCD_RTC_ICEADDRESSTCP", "10.78.0.1,127.0.0.1");
        let daemon = Daemon::start(config);
        let port = daemon.media_port();
        let link = links(&daemon, &[]).swap_remove(0);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (stop, far) = (&stop, &far);
            let flood = move || {
                let mut held = std::collections::VecDeque::new();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(("10.78.0.1", port)) else { continue };
                    let _ = stream.write_all(HELLO);
                    held.push_back(stream);
                    if held.len() > 300 {
                        held.pop_front();
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            };
            let flooding = scope.spawn(move || far.run(flood));
            rule(&format!("-A INPUT -p udp --dport {port} -j DROP"));
            let browser = Chromium::start();
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&browser.open_untrusted(&link))));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            flooding.join().expect("it ends");
            let (sentence, ticket) = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert!(sentence.contains("calls go over TCP, with more delay"), "{ticket}");
            assert!(ticket.contains("Voice: came back, over TCP"), "{ticket}");
        });
        assert!(daemon.metric("rtcd_plane_web_passed_total") > 100.0, "{}", daemon.metrics());
        leaves_nothing(&daemon, &[&link]);
    });
}
