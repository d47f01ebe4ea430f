//! What others know of us: names, STUN servers, files; late, silent, or gone.
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::peer::Peer;
use rtcd_tests::plugin::{Join, Received, rtc};
use rtcd_tests::world::World;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// A STUN server that is silent until it is told to speak.
struct Stun {
    socket: UdpSocket,
}

impl Stun {
    fn new() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").expect("a free port") }
    }

    fn url(&self) -> String {
        format!("stun:127.0.0.1:{}?transport=udp", self.socket.local_addr().expect("bound").port())
    }

    /// Answers until that has been noticed.
    fn answer(&self, seen: &str, noticed: impl Fn() -> bool) {
        self.socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout can be set");
        wait_for("the answer to be noticed", || {
            let mut buffer = [0; 200];
            while let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
                let request = rtcd_media::stun::Request::parse(&buffer[..len]).expect("STUN");
                let seen = seen.parse().expect("an address");
                let answer = rtcd_media::stun::Answer::success(&request.transaction, seen, None);
                // Who has asked in vain has gone.
                let _ = self.socket.send_to(answer.as_ref(), from);
            }
            noticed()
        });
    }
}

fn told(peer: &Peer, world: &World, ip: &str) -> bool {
    peer.state().last_exchange.1.contains(&format!(" {ip} {} typ host", world.daemon.media_port()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stun_server_holds_nobody_up_and_its_late_answer_is_told() -> anyhow::Result<()> {
    let stun = Stun::new();
    let started = Instant::now();
    let servers = serde_json::json!([stun.url()]).to_string();
    let mut world = World::start_with(DaemonConfig::new().env("RTCD_RTC_ICESERVERS", &servers)).await?;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let ann = world.join("ann").await?;
    assert!(told(&ann, &world, "127.0.0.1"));
    // Somebody who has an answer and has not found us yet.
    let late = Join::new("call", "late");
    let mut heard = world.node.listen("late");
    world.node.join(&late);
    let offer = serde_json::json!({"type": "offer", "sdp": ann.state().last_exchange.0.clone()});
    world.node.rtc(&late, rtc::SDP, Some(offer));
    tokio::task::block_in_place(|| {
        wait_for("the complaint", || world.daemon.log().contains("no STUN server answers"));
        stun.answer("192.0.2.77:1", || world.daemon.log().contains("newcomers are told other addresses"));
    });
    let log = world.daemon.log();
    assert_eq!(log.matches("no STUN server answers").count(), 1, "{log}");
    let trickled = async {
        while let Some(message) = heard.recv().await {
            let Received::Rtc(message) = message else { continue };
            if message.kind == rtc::ICE && message.json().to_string().contains(" 192.0.2.77 ") {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), trickled).await?, "it is told of the new address, too");

    // A reload that cannot be complete never downgrades.
    let file = world.daemon.dir().join("config/config.toml");
    fs::create_dir_all(file.parent().expect("a directory"))?;
    fs::write(&file, "rtc.ice_host_override = 'no-such-name.invalid'")?;
    world.daemon.signal(Signal::SIGHUP);
    tokio::task::block_in_place(|| {
        wait_for("the complaint", || world.daemon.log().contains("not reloaded in full yet"))
    });
    fs::remove_file(&file)?;
    world.daemon.signal(Signal::SIGHUP);
    tokio::task::block_in_place(|| wait_for("the complaint", || world.daemon.log().contains("file is missing")));
    assert!(!world.daemon.log().contains("configuration reloaded"));
    let bodies = world.join("bob").await?.state().last_exchange.1.clone();
    assert!(bodies.contains(" 192.0.2.77 "), "{bodies}");

    let ending = Instant::now();
    world.daemon.signal(Signal::SIGTERM);
    tokio::task::block_in_place(|| {
        wait_for("the drain", || world.daemon.log().contains("draining: told to end"));
        world.daemon.signal(Signal::SIGTERM);
        world.daemon.wait_exit();
    });
    assert!(ending.elapsed() < Duration::from_secs(5), "{:?}", ending.elapsed());
    Ok(())
}

#[test]
fn an_override_that_applies_to_nothing_is_told() {
    for (variables, line) in [
        (vec![("RTCD_RTC_ICEHOSTOVERRIDE", "2001:db8::1")], "applies to nothing"),
        (vec![("RTCD_RTC_ICEHOSTOVERRIDE", "192.0.2.1/10.9.9.9")], "192.0.2.1/10.9.9.9 matches nothing"),
        (vec![("RTCD_RTC_ICESERVERS", r#"["stuns:stun.example.com"]"#)], "cannot be asked"),
        (vec![("RTCD_RTC_ICEHOSTPORTOVERRIDE", "4443")], "rtc.ice_host_port_override has no effect"),
    ] {
        let config = variables.iter().fold(DaemonConfig::new(), |config, (name, value)| config.env(name, value));
        let daemon = Daemon::start(config);
        wait_for(line, || daemon.log().contains(line));
        assert_eq!(daemon.log().matches(line).count(), 1, "{}", daemon.log());
    }
}

#[test]
fn a_renewed_certificate_is_served_after_sighup_and_a_broken_one_is_not() {
    let dir = rtcd_tests::daemon::temp_dir("renew");
    let write = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
        made.cert.pem()
    };
    let first = write();
    let path = |name: &str| dir.join(name).display().to_string();
    let daemon = Daemon::start(
        DaemonConfig::new()
            .env("RTCD_API_HTTP_TLS_ENABLE", "true")
            .env("RTCD_API_HTTP_TLS_CERTFILE", &path("cert.pem"))
            .env("RTCD_API_HTTP_TLS_CERTKEY", &path("key.pem")),
    );
    let served = || {
        let to = format!("localhost:{}", daemon.api_addr().port());
        let shown = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &to])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        String::from_utf8_lossy(&shown.stdout).replace('\r', "")
    };
    let body = |pem: &str| pem.lines().nth(2).expect("a line of base64").trim().to_owned();
    assert!(served().contains(&body(&first)));
    let second = write();
    daemon.signal(Signal::SIGHUP);
    wait_for("the renewal", || daemon.log().contains("another certificate is served"));
    assert!(served().contains(&body(&second)));
    fs::write(dir.join("key.pem"), "rubbish").expect("written");
    daemon.signal(Signal::SIGHUP);
    wait_for("the complaint", || daemon.log().contains("the last one is served"));
    assert!(served().contains(&body(&second)));
    fs::remove_dir_all(dir).expect("removed");
}
