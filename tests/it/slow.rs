//! What takes its time: sizes, and what the daemon does after ten seconds and more by contract.
use anyhow::Result;
use futures_util::future::try_join_all;
use rtcd_tests::daemon::{Daemon, DaemonConfig};
use rtcd_tests::hostile::{Attacker, Channel};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::PeerConfig;
use rtcd_tests::plugin::{Join, Plugin, Received};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const SESSIONS: usize = 200;
/// Those that are there before.
const FIRST: usize = 100;
/// What one idle participant with an open data channel may cost, in bytes of resident memory.
const PER_SESSION: f64 = 64.0 * 1024.0;
const RECEIVERS: usize = 100;
/// So many of them join at the same time.
const TOGETHER: usize = 10;
/// What one of them may cost, in bytes of resident memory.
const PER_RECEIVER: f64 = 128.0 * 1024.0;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_idle_sessions_take_at_most_64_kib_each() -> Result<()> {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO"));
    let node = Mattermost::connect(&Plugin::new(daemon.api_addr(), "mattermost")).await?;
    let media = (Ipv4Addr::LOCALHOST, daemon.media_port()).into();
    let resident = || daemon.metric("rtcd_process_resident_memory_bytes");
    // What any session needs once is not the sessions' own, nor what is used in turns until it begins anew.
    let mut first = Vec::with_capacity(FIRST);
    for number in 0..FIRST {
        first.push(Channel::open(Attacker::join(&node, &format!("first-{number}"), media).await?)?);
    }
    assert!(first[0].ping()?);
    let before = resident();
    let mut sessions = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        sessions.push(Channel::open(Attacker::join(&node, &format!("idle-{number}"), media).await?)?);
    }
    let each = (resident() - before) / SESSIONS as f64;
    println!("{:.1} KiB per idle session", each / 1024.0);
    assert_eq!(daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}"), (FIRST + SESSIONS) as f64);
    assert!(before > 0.0 && each > 0.0, "there is something to measure");
    assert!(each <= PER_SESSION, "{:.1} KiB per session", each / 1024.0);
    // All are alive, not merely counted.
    for session in sessions.iter_mut().step_by(SESSIONS - 1) {
        session.attacker.check()?;
        assert!(session.ping()?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_receivers_of_a_picture_take_at_most_128_kib_each() -> Result<()> {
    let world = World::start_with(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO")).await?;
    let world = &world;
    let resident = || world.daemon.metric("rtcd_process_resident_memory_bytes");
    let ann = world.join("ann").await?;
    ann.add_video(&[]);
    let _flow = ann.stream("video", &[KEY_FRAME, &[9; 900]].concat());
    // What any receiver needs once is not the receivers' own.
    let first = world.join("first").await?;
    first.wait_track("video", "ann").await?;
    let before = resident();
    let mut receivers = Vec::with_capacity(RECEIVERS);
    while receivers.len() < RECEIVERS {
        let joins = (0..TOGETHER).map(|at| format!("r{}", receivers.len() + at));
        let joins = joins.map(|name| async move { world.join(&name).await });
        receivers.extend(try_join_all(joins).await?);
    }
    for receiver in &receivers {
        // Seconds of it, so that whatever remembers packets has some.
        receiver.wait("pictures", |state| state.tracks.values().any(|track| track.frames >= 250)).await?;
    }
    let each = (resident() - before) / RECEIVERS as f64;
    println!("{:.1} KiB per receiver of a picture", each / 1024.0);
    assert!(before > 0.0 && each > 0.0, "there is something to measure");
    assert!(each <= PER_RECEIVER, "{:.1} KiB per receiver", each / 1024.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_makes_no_offer_is_closed_after_ten_seconds() -> Result<()> {
    let world = World::start().await?;
    let begun = Instant::now();
    let mut said = world.node.listen("mute");
    world.node.join(&Join::new("call", "mute"));
    let message = tokio::time::timeout(Duration::from_secs(20), said.recv()).await?;
    assert_eq!(message, Some(Received::Close { session_id: "mute".into() }));
    assert!(begun.elapsed() >= Duration::from_secs(10), "closed after {:?}", begun.elapsed());
    assert_eq!(world.plugin.sessions("call").await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_whose_plug_is_pulled_is_closed_when_ice_fails() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    let _voice = ann.stream("voice", VOICE);
    bob.wait_track("voice", "ann").await?;
    ann.pull_plug();
    let begun = Instant::now();
    while ann.state().closed == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(10), "closed after {:?}", begun.elapsed());
    assert_eq!(world.plugin.sessions("call").await?.map(|sessions| sessions.len()), Some(1));
    assert_eq!(world.daemon.metric("rtcd_rtc_conn_states_total{type=\"failed\"}"), 1.0);
    assert_eq!(bob.state().closed, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_keeps_the_lock_loses_it_after_ten_seconds() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    let mut config = PeerConfig::new("call", "bob");
    config.manual_lock = true;
    let bob = world.join_with(config).await?;
    bob.channel(&[7]);
    bob.wait("the lock", |state| state.locks == [true]).await?;
    let begun = Instant::now();
    ann.add_voice();
    let _voice = ann.stream("voice", VOICE);
    bob.wait_track("voice", "ann").await?;
    assert!(begun.elapsed() > Duration::from_secs(8), "offered after {:?}", begun.elapsed());
    assert_eq!(world.errors("signaling_lock_timeout"), 1.0);
    Ok(())
}
