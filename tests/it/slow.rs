//! What takes its time: sizes and long runs.
use anyhow::Result;
use rtcd_tests::daemon::{Daemon, DaemonConfig};
use rtcd_tests::hostile::{Attacker, Channel};
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::plugin::Plugin;
use std::net::Ipv4Addr;

const SESSIONS: usize = 200;
/// What one idle participant with an open data channel may cost, in bytes of resident memory.
const PER_SESSION: f64 = 64.0 * 1024.0;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_idle_sessions_take_at_most_64_kib_each() -> Result<()> {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO"));
    let node = Mattermost::connect(&Plugin::new(daemon.api_addr(), "mattermost")).await?;
    let media = (Ipv4Addr::LOCALHOST, daemon.media_port()).into();
    let resident = || daemon.metric("rtcd_process_resident_memory_bytes");
    // What any session needs once is not the sessions' own.
    let mut first = Channel::open(Attacker::join(&node, "first", media).await?)?;
    assert!(first.ping()?);
    let before = resident();
    let mut sessions = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        sessions.push(Channel::open(Attacker::join(&node, &format!("idle-{number}"), media).await?)?);
    }
    let each = (resident() - before) / SESSIONS as f64;
    println!("{:.1} KiB per idle session", each / 1024.0);
    assert_eq!(daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}"), SESSIONS as f64 + 1.0);
    assert!(before > 0.0 && each > 0.0, "there is something to measure");
    assert!(each <= PER_SESSION, "{:.1} KiB per session", each / 1024.0);
    // All are alive, not merely counted.
    for session in sessions.iter_mut().step_by(SESSIONS - 1) {
        session.attacker.check()?;
        assert!(session.ping()?);
    }
    Ok(())
}
