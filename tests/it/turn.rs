//! Calls by way of a real TURN server (coturn): the daemon in one network, browsers in another, and nothing between them that
//! would pass a packet on but the server.
use crate::browser::{ANN, BOB, alone, perceives};
use rtcd_tests::browser::chromium::{Chromium, Page};
use rtcd_tests::browser::demo::Demo;
use rtcd_tests::browser::{DemoPage as _, State};
use rtcd_tests::daemon::{Daemon, DaemonConfig, binary, temp_dir, wait_for};
use rtcd_tests::namespace::Namespace;
use rtcd_tests::server::Server;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const DAEMON: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
/// The machine between, seen from the daemon and from the browsers.
const INNER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const OUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
const API: u16 = 8045;
const STATIC: &str = "user=rtcd:a-password\nlt-cred-mech\n";
const LIMITED: &str = "use-auth-secret\nstatic-auth-secret=a-secret\n";
const SECRET: (&str, &str) = ("RTCD_RTC_TURNCONFIG_STATICAUTHSECRET", "a-secret");
const SERVERS: &str = r#"[{"urls": ["turn:10.77.1.1"], "username": "rtcd", "credential": "a-password"}]"#;

/// Two networks and the machine between them.
struct Wall {
    inside: Namespace,
    between: Namespace,
    outside: Namespace,
    dir: PathBuf,
}

impl Wall {
    fn new() -> Self {
        let wall = Self {
            inside: Namespace::new(),
            between: Namespace::new(),
            outside: Namespace::new(),
            dir: temp_dir("wall"),
        };
        wall.inside.connect(("eth0", "10.77.1.2/24"), &wall.between, ("inner", "10.77.1.1/24"));
        wall.outside.connect(("eth0", "10.77.2.2/24"), &wall.between, ("outer", "10.77.2.1/24"));
        wall.inside.ip("route add default via 10.77.1.1");
        wall.outside.ip("route add default via 10.77.2.1");
        // The API alone is passed on.
        wall.between.run(|| pass_on(TcpListener::bind((OUTER, API)).expect("a free port")));
        wall
    }

    /// coturn between them; relayed addresses are on the outer side.
    fn turn_server(&self, more: &str) -> Server {
        let conf = self.dir.join("turnserver.conf");
        let text = format!(
            "listening-ip={INNER}\nlistening-ip={OUTER}\nrelay-ip={OUTER}\nrealm=example.com\nfingerprint\nno-cli\n\
             no-dtls\nlog-file=stdout\nverbose\npidfile={}\n{more}",
            self.dir.join("pid").display()
        );
        fs::write(&conf, text).expect("written");
        self.between.run(|| {
            let mut command = Command::new("turnserver");
            command.arg("-c").arg(&conf).current_dir(&self.dir);
            let server = Server::start(&mut command, &self.dir.join("coturn.log"));
            wait_for("coturn", || TcpStream::connect((INNER, 3478)).is_ok());
            server
        })
    }

    fn daemon(&self, environment: &[(&str, &str)]) -> Daemon {
        let mut config = DaemonConfig::new();
        (config.ip, config.api_port) = (DAEMON, API);
        config.env.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.inside.run(|| Daemon::start(config))
    }

    /// Lets packets from within out, from another address as NATs do, and nobody in who was not spoken to.
    fn translate(&self) {
        self.between.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a sysctl of the namespace"));
        rule(&self.between, "-t nat -A POSTROUTING -o outer -j MASQUERADE");
        rule(&self.between, "-A FORWARD -i outer -m conntrack --ctstate NEW,INVALID -j DROP");
    }

    fn demo(&self) -> Demo {
        let key = self.dir.join("key");
        fs::write(&key, "a key of this test that is long enough for all").expect("written");
        let url = format!("http://{OUTER}:{API}");
        let key = key.display().to_string();
        self.outside.run(|| {
            Demo::start_at(
                Ipv4Addr::LOCALHOST.into(),
                &["--connect", &url, "--client-id", "demo", "--auth-key-file", &key],
            )
        })
    }

    fn allocated(&self, daemon: &Daemon, server: &str) -> f64 {
        let series = format!("rtcd_turn_allocated{{family=\"ipv4\",server=\"{server}\"}}");
        self.inside.run(|| daemon.metric(&series))
    }

    fn check(&self, daemon: &Daemon) -> String {
        let mut command = Command::new(binary());
        command.arg("check").env_clear().envs(daemon.variables());
        let output = self.inside.run(|| command.output().expect("it runs"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join("coturn.log")).unwrap_or_default();
            eprintln!("--- log of coturn ---\n{log}--- end of log ---");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A rule of a machine's packet filter.
fn rule(namespace: &Namespace, line: &str) {
    let done = namespace.run(|| Command::new("iptables").args(line.split(' ')).status().expect("iptables runs"));
    assert!(done.success(), "iptables {line}");
}

/// Connects whoever comes to the daemon's API, for as long as the process lives.
fn pass_on(listener: TcpListener) {
    let both_ways = |one: TcpStream, other: TcpStream| {
        let carry = |mut from: TcpStream, mut to: TcpStream| {
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        };
        carry(one.try_clone().expect("a handle"), other.try_clone().expect("a handle"));
        carry(other, one);
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(daemon) = TcpStream::connect((DAEMON, API)) {
                both_ways(stream, daemon);
            }
        }
    });
}

fn enter(browser: &Chromium, demo: &Demo, who: (&str, f64), more: &str) -> Page {
    let page = browser.open(&crate::browser::address(demo, who, more));
    page.wait_joined();
    page
}

fn are_in_a_call(ann: &Page, bob: &Page) {
    let (anns, bobs) = (ann.state().colour(), bob.state().colour());
    bob.wait_for("ann", |state| perceives(state, ANN, anns));
    ann.wait_for("bob", |state| perceives(state, BOB, bobs));
}

/// By which kinds of candidates a page reaches the daemon, its own and the daemon's.
fn candidates(page: &Page) -> String {
    let state = page.wait_for("statistics", |state| !state.0["transport"].is_null());
    let kind = |at: usize| state.0["transport"]["candidates"][at].as_str().unwrap_or_default().to_owned();
    format!("{} {}", kind(0), kind(1))
}

fn is_relayed(state: &State) -> bool {
    state.text("/transport/address").starts_with(&OUTER.to_string())
}

#[test]
fn a_browser_without_any_other_way_is_in_a_call_by_the_relay_and_stays_when_the_server_is_restarted() {
    let _alone = alone();
    let wall = Wall::new();
    // The daemon comes first: what is not there yet is asked for again.
    let daemon = wall.daemon(&[("RTCD_RTC_ICESERVERS", SERVERS)]);
    let server = wall.turn_server(STATIC);
    wait_for("the relay", || wall.allocated(&daemon, "turn:10.77.1.1:3478") == 1.0);
    let demo = wall.demo();
    let browser = wall.outside.run(Chromium::start);
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    are_in_a_call(&ann, &bob);
    for page in [&ann, &bob] {
        let state = page.wait_for("statistics", |state| !state.0["transport"].is_null());
        assert!(is_relayed(&state), "{:#}", state.0["transport"]);
        assert_eq!(state.text("/transport/protocol"), "udp");
    }
    let channels = |log: &str| log.matches("CHANNEL_BIND processed, success").count();
    let log = wall.dir.join("coturn.log");
    assert!(channels(&fs::read_to_string(&log).expect("a log")) >= 2, "media travels in channels");

    drop(server);
    let restarted = Instant::now();
    let _server = wall.turn_server(STATIC);
    bob.wait_for("the end of the silence", |state| !state.hears(ANN.0, "voice", ANN.1));
    are_in_a_call(&ann, &bob);
    println!("media was back {:.1?} after the TURN server was killed", restarted.elapsed());
    assert!(restarted.elapsed() < Duration::from_secs(10), "{:?}", restarted.elapsed());
    let log = daemon.log();
    assert!(log.contains("it was restarted"), "said in words");
    assert!(!log.contains("a-password"), "the password shows in the log");
    assert!(wall.inside.run(|| daemon.metric("rtcd_plane_relay_sent_total")) > 0.0);
}

#[test]
fn over_tcp_and_tls_with_credentials_that_end_a_server_that_is_down_delays_nobody() {
    let _alone = alone();
    let wall = Wall::new();
    let made = rcgen::generate_simple_self_signed([INNER.to_string()]).expect("a certificate can be made");
    let (cert, key) = (wall.dir.join("cert.pem"), wall.dir.join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let files = format!("cert={}\npkey={}\n", cert.display(), key.display());
    let _server = wall.turn_server(&(LIMITED.to_owned() + &files));
    let trusted = cert.display().to_string();
    for (url, shown) in [
        ("turn:10.77.1.1?transport=tcp", "turn:10.77.1.1:3478?transport=tcp"),
        ("turns:10.77.1.1:5349", "turns:10.77.1.1:5349"),
    ] {
        let servers = format!(r#"["turn:10.77.1.99", "{url}", "turn:no-such-name.invalid"]"#);
        let environment = [("RTCD_RTC_ICESERVERS", &*servers), SECRET, ("SSL_CERT_FILE", &trusted)];
        let daemon = wall.daemon(&environment);
        wait_for("the relay", || wall.allocated(&daemon, shown) == 1.0);
        let demo = wall.demo();
        let browser = wall.outside.run(Chromium::start);
        let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
        are_in_a_call(&ann, &bob);
        let state = bob.wait_for("statistics", |state| !state.0["transport"].is_null());
        assert!(is_relayed(&state), "{url}: {:#}", state.0["transport"]);
        assert_eq!(wall.allocated(&daemon, "turn:10.77.1.99:3478"), 0.0);
        let check = wall.check(&daemon);
        for (server, said) in [(shown, "credentials accepted"), ("no-such-name", "no-such-name.invalid: ")] {
            assert!(check.lines().any(|line| line.contains(server) && line.contains(said)), "{said}: {check}");
        }
    }
}

/// By the API, which is all that is passed on; and so without TLS, and without a microphone.
#[test]
fn the_check_page_says_that_a_turn_server_is_the_only_way() {
    let _alone = alone();
    let wall = Wall::new();
    let _server = wall.turn_server(LIMITED);
    let daemon = wall.daemon(&[("RTCD_RTC_ICESERVERS", r#"["turn:10.77.1.1"]"#), SECRET]);
    wait_for("the relay", || wall.allocated(&daemon, "turn:10.77.1.1:3478") == 1.0);
    let link = wall.inside.run(|| crate::check_page::link(&daemon));
    let path = link.split_once("/check/").expect("a path").1;
    let browser = wall.outside.run(Chromium::start);
    let page = browser.open(&format!("http://{OUTER}:{API}/check/{path}"));
    let (sentence, ticket) = crate::check_page::test(&page);
    let port = daemon.media_port();
    let blocked = format!("UDP {port} to {DAEMON} and TCP {port} to {DAEMON}");
    let expected = format!(
        "{blocked} are blocked from here: calls go by way of a TURN server alone, with more delay. Open {blocked} in the \
         firewall"
    );
    assert!(sentence.starts_with(&expected), "{ticket}");
    for line in
        ["UDP: failed", "TCP: failed", "TURN server, from this device: ok", "TURN server, of the call server: ok"]
    {
        assert!(ticket.contains(line), "{line} is missing in:\n{ticket}");
    }
    assert!(ticket.contains("A test tone was sent, as the page did not come over HTTPS"), "{ticket}");
    assert!(ticket.contains("Voice: came back"), "{ticket}");
    wait_for("the result in the log", || daemon.log().contains("relay=ok server_relay=ok echo=ok"));
    assert!(!daemon.log().contains("a-secret"), "the secret shows in the log");
}

#[test]
fn a_call_goes_on_with_both_sides_relayed() {
    let _alone = alone();
    let wall = Wall::new();
    let _server = wall.turn_server(STATIC);
    // Else the browsers' relays would reach the daemon itself.
    rule(&wall.inside, &format!("-A INPUT -p udp -s {OUTER} -j DROP"));
    let daemon = wall.daemon(&[("RTCD_RTC_ICESERVERS", SERVERS)]);
    wait_for("the relay", || wall.allocated(&daemon, "turn:10.77.1.1:3478") == 1.0);
    let demo = wall.demo();
    let browser = wall.outside.run(Chromium::start);
    let theirs = r#"[{"urls":"turn:10.77.2.1","username":"rtcd","credential":"a-password"}]"#;
    let encoded: String = theirs.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let more = format!("&relay=1&ice={encoded}");
    let (ann, bob) = (enter(&browser, &demo, ANN, &more), enter(&browser, &demo, BOB, &more));
    are_in_a_call(&ann, &bob);
    for page in [&ann, &bob] {
        assert_eq!(candidates(page), "relay relay");
    }
    let begun = Instant::now();
    while begun.elapsed() < relayed_for() {
        std::thread::sleep(Duration::from_secs(5));
        are_in_a_call(&ann, &bob);
    }
    let log = fs::read_to_string(wall.dir.join("coturn.log")).expect("a log");
    println!("a call of {:.0?} by relays on both sides", begun.elapsed());
    println!(
        "{} permissions, {} channels",
        log.matches("CREATE_PERMISSION processed, success").count(),
        log.matches("CHANNEL_BIND processed, success").count()
    );
}

/// A permission lasts for five minutes; `RTCD_TURN_SECONDS` sets how long a call is watched.
fn relayed_for() -> Duration {
    let seconds = std::env::var("RTCD_TURN_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

#[test]
fn a_browser_that_has_ipv6_alone_is_in_a_call_by_a_relayed_ipv6_address() {
    let _alone = alone();
    let wall = Wall::new();
    for (namespace, interface, address) in [
        (&wall.inside, "eth0", "fd00:77:1::2"),
        (&wall.between, "inner", "fd00:77:1::1"),
        (&wall.between, "outer", "fd00:77:2::1"),
        (&wall.outside, "eth0", "fd00:77:2::2"),
    ] {
        namespace.ip(&format!("addr add {address}/64 dev {interface} nodad"));
    }
    let more = "listening-ip=fd00:77:1::1\nrelay-ip=fd00:77:2::1\n";
    let _server = wall.turn_server(&(STATIC.to_owned() + more));
    // Of IPv4 the API is left.
    rule(&wall.between, "-A INPUT -i outer -p udp -j DROP");
    let servers = SERVERS.replace("10.77.1.1", "[fd00:77:1::1]");
    let daemon = wall.daemon(&[("RTCD_RTC_ICESERVERS", &servers), ("RTCD_RTC_ENABLEIPV6", "true")]);
    let allocated = r#"rtcd_turn_allocated{family="ipv6",server="turn:[fd00:77:1::1]:3478"}"#;
    wait_for("the relay", || wall.inside.run(|| daemon.metric(allocated)) == 1.0);
    let demo = wall.demo();
    let browser = wall.outside.run(Chromium::start);
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    are_in_a_call(&ann, &bob);
    let state = bob.wait_for("statistics", |state| !state.0["transport"].is_null());
    assert!(state.text("/transport/address").starts_with("fd00:77:2::1:"), "{:#}", state.0["transport"]);
}

#[test]
fn a_wrong_secret_is_told_in_words_and_calls_that_need_no_relay_go_on() {
    let wall = Wall::new();
    let _server = wall.turn_server(LIMITED);
    let secret = (SECRET.0, "another-secret");
    let daemon = wall.daemon(&[("RTCD_RTC_ICESERVERS", r#"["turn:10.77.1.1"]"#), secret]);
    wait_for("the refusal", || daemon.log().contains("the server refuses the credentials (401)"));
    let check = wall.check(&daemon);
    let line = check.lines().find(|line| line.contains("TURN")).unwrap_or_else(|| panic!("nothing of TURN: {check}"));
    assert!(line.contains("refuses the credentials (401)"), "{line}");
    assert!(check.contains("rtc.turn.static_auth_secret"), "{check}");
    let log = daemon.log();
    assert_eq!(log.matches("refuses the credentials").count(), 1, "said once: {log}");
    assert!(!log.contains("another-secret") && !check.contains("another-secret"));
    let refused = r#"rtcd_turn_failures_total{family="ipv4",reason="unauthorized",server="turn:10.77.1.1:3478"}"#;
    assert!(wall.inside.run(|| daemon.metric(refused)) >= 1.0);
}

#[test]
fn a_quota_that_is_used_up_is_told_in_words_and_what_there_is_stays() {
    let wall = Wall::new();
    let _server = wall.turn_server(&(STATIC.to_owned() + "user-quota=1\n"));
    let servers = r#"[{"urls": ["turn:10.77.1.1", "turn:10.77.1.1?transport=tcp"], "username": "rtcd", "credential": "a-password"}]"#;
    let daemon = wall.daemon(&[("RTCD_RTC_ICESERVERS", servers)]);
    wait_for("the refusal", || daemon.log().contains("the server's quota is used up (486)"));
    wait_for("the other one", || daemon.log().contains("relay address allocated"));
    let states =
        ["turn:10.77.1.1:3478", "turn:10.77.1.1:3478?transport=tcp"].map(|server| wall.allocated(&daemon, server));
    assert!(states == [0.0, 1.0] || states == [1.0, 0.0], "{states:?}");
}

#[test]
fn a_daemon_behind_a_nat_that_forwards_nothing_opens_the_way_itself() {
    let _alone = alone();
    let wall = Wall::new();
    wall.translate();
    let daemon = wall.daemon(&[]);
    let demo = wall.demo();
    let browser = wall.outside.run(Chromium::start);
    let (ann, bob) = (enter(&browser, &demo, ANN, ""), enter(&browser, &demo, BOB, ""));
    are_in_a_call(&ann, &bob);
    for page in [&ann, &bob] {
        assert_eq!(candidates(page), "host prflx", "from the address of the NAT");
    }
    let counted = |name: &str| wall.inside.run(|| daemon.metric(name));
    assert!((1.0..100.0).contains(&counted("rtcd_plane_opening_checks_total")));
    assert_eq!(counted("rtcd_plane_stun_refused_total"), 0.0, "answers to our checks are no faults");
}
