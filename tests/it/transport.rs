//! Joins over bad ways, and what strangers and other processes can take from them.
use anyhow::Result;
use rtcd_tests::daemon::{Daemon, DaemonConfig, wait_for};
use rtcd_tests::lossy::{Direction, LossyRoad};
use rtcd_tests::webrtc_peer::{WebrtcConfig, WebrtcPeer};
use rtcd_tests::world::World;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_last_flight_of_ours_that_gets_lost_is_repeated() -> Result<()> {
    let world = World::start().await?;
    let start = Instant::now();
    let _ben = WebrtcPeer::join(&world.node, WebrtcConfig::new("call", "ben")).await?;
    let undisturbed = start.elapsed();
    let mut lost = false;
    let loses = move |direction, datagram: &[u8]| {
        direction == Direction::Back && datagram[0] == 20 && !std::mem::replace(&mut lost, true)
    };
    let road = LossyRoad::losing(world.media(), loses).await?;
    let mut config = WebrtcConfig::new("call", "ann");
    config.via = Some(road.entry);
    let start = Instant::now();
    let _ann = WebrtcPeer::join(&world.node, config).await?;
    let took = start.elapsed();
    println!("joined after {took:?}, undisturbed {undisturbed:?}");
    assert_eq!(road.lost(), 1);
    // The crate repeats its own flight after a second.
    assert!(took < undisturbed + Duration::from_millis(900), "{took:?}, undisturbed {undisturbed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_on_an_idle_machine_have_no_check_refused() -> Result<()> {
    let world = World::start().await?;
    for at in 0..20 {
        world.join(&format!("p{at}")).await?;
    }
    assert!(world.daemon.metric("rtcd_plane_received_total") > 0.0);
    assert_eq!(world.daemon.metric("rtcd_plane_stun_refused_total"), 0.0);
    assert_eq!(world.daemon.metric("rtcd_plane_dtls_refused_total"), 0.0);
    Ok(())
}

/// A question for one's own address in a frame.
const QUESTION: &[u8] = &[
    0, 36, 0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0x80, 0x22, 0, 12, 32, 32, 32, 32,
    32, 32, 32, 32, 32, 32, 32, 32,
];

/// Seconds of CPU that the daemon has used; the API has no descriptor to say it.
fn cpu(daemon: &Daemon) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    // User and system time in ticks of 10 ms: fields 14 and 15 of proc_pid_stat(5).
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[test]
fn a_daemon_without_descriptors_does_not_spin_and_takes_newcomers() {
    let daemon = Daemon::start(DaemonConfig::new());
    // Answered when everything is up.
    daemon.metrics();
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
    // Room for a few strangers.
    let limit = format!("--nofile={}", open + 24);
    let status = Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &limit]).status();
    assert!(status.expect("prlimit runs").success());
    let media = (Ipv4Addr::LOCALHOST, daemon.media_port());
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(media).expect("connected")).collect();
    let mut newcomer = TcpStream::connect(media).expect("connected");
    newcomer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    newcomer.write_all(QUESTION).expect("sent");
    let mut answer = [0; 4];
    newcomer.read_exact(&mut answer).expect("answered");
    assert_eq!(answer[2..], [1, 1]);
    let (before, start) = (cpu(&daemon), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let share = (cpu(&daemon) - before) / start.elapsed().as_secs_f64();
    assert!(share < 0.2, "{share} of a core while nothing happens");
    drop((silent, newcomer));
    let evicted = || daemon.metric("rtcd_plane_tcp_evicted_total");
    wait_for("the API to have descriptors again", || evicted() > 0.0);
    assert!(evicted() > 20.0, "strangers made room for those who came later");
}

#[test]
fn a_second_daemon_on_the_media_port_ends_and_says_who_has_it() {
    let first = Daemon::start(DaemonConfig::new());
    first.metrics();
    let mut config = DaemonConfig::new().no_wait();
    config.media_port = first.media_port();
    let mut second = Daemon::start(config);
    assert!(!second.wait_exit().success());
    let log = second.log();
    let expected = format!("port {} is in use by rtcd (pid {})", first.media_port(), first.pid());
    assert!(log.contains(&expected), "{log}");
}
