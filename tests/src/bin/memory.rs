//! What a session costs: participants that join and say nothing, then a call with a screen and a voice, then everybody
//! leaves, and the same again. Prints the daemon's resident bytes a session beside what it says itself.
//!
//!     cargo memory [IDLE [IN_CALL [ROUNDS]]]
use anyhow::{Context as _, Result};
use rtcd_tests::daemon::{ADMIN_KEY, Daemon, DaemonConfig, build_daemon};
use rtcd_tests::http;
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig, Streaming};
use rtcd_tests::plugin::Plugin;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// A screen of 1.6 Mbit/s: a picture of 6.7 KB, thirty times a second. Voice: 80 bytes every 20 ms.
const PICTURE: usize = 6_700;
const PICTURES_PER_SECOND: u64 = 30;
const VOICE: usize = 80;
/// Estimates, histories and caches have found their size by then.
const SETTLING: Duration = Duration::from_secs(15);
/// Handshakes are forgotten by then.
const RESTING: Duration = Duration::from_secs(5);
/// Participants that join at the same time.
const AT_ONCE: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args =
        std::env::args().skip(1).map(|arg| arg.parse::<usize>().context("IDLE, IN_CALL, ROUNDS are numbers"));
    let idle = args.next().transpose()?.unwrap_or(500);
    let in_call = args.next().transpose()?.unwrap_or(100);
    let rounds = args.next().transpose()?.unwrap_or(2);

    build_daemon()?;
    println!("{idle} sessions that say nothing");
    idle_sessions(idle, rounds).await?;
    println!("{in_call} in a call with a screen and a voice");
    sessions_in_call(in_call, rounds).await
}

/// Each in a daemon of its own: what one scenario has given back would be the next one's for nothing.
async fn start() -> Result<(Daemon, Mattermost)> {
    let daemon = Daemon::start(DaemonConfig::new().env("RTCD_LOGGER_CONSOLELEVEL", "INFO"));
    let node = Mattermost::connect(&Plugin::new(daemon.api_addr(), "memory")).await?;
    // Threads, pools and tables are there when the first ones have been here.
    leave(join(&daemon, &node, "warm", AT_ONCE).await?).await?;
    tokio::time::sleep(RESTING).await;
    Ok((daemon, node))
}

async fn idle_sessions(count: usize, rounds: usize) -> Result<()> {
    let (daemon, node) = start().await?;
    let empty = report(&daemon, "empty", None)?;
    for round in 1..=rounds {
        let sessions = join(&daemon, &node, &format!("idle-{round}"), count).await?;
        tokio::time::sleep(RESTING).await;
        report(&daemon, "all are there", Some((&empty, count)))?;
        if round == 1 {
            dump(&daemon);
        }
        leave(sessions).await?;
        tokio::time::sleep(RESTING).await;
        report(&daemon, "all have left", None)?;
    }
    Ok(())
}

async fn sessions_in_call(count: usize, rounds: usize) -> Result<()> {
    let (daemon, node) = start().await?;
    for round in 1..=rounds {
        let sessions = join(&daemon, &node, &format!("call-{round}"), count).await?;
        tokio::time::sleep(RESTING).await;
        let idle = report(&daemon, "all are there", None)?;
        let streaming = send(&sessions);
        let (screen, voice) = (&sessions[0].config.join.session_id, &sessions[1].config.join.session_id);
        for peer in sessions.iter().skip(2) {
            peer.wait_track("screen", screen).await?;
            peer.wait_track("voice", voice).await?;
        }
        tokio::time::sleep(SETTLING).await;
        report(&daemon, "screen and voice", Some((&idle, count)))?;
        if round == 1 {
            dump(&daemon);
        }
        drop(streaming);
        leave(sessions).await?;
        tokio::time::sleep(RESTING).await;
        report(&daemon, "all have left", None)?;
    }
    Ok(())
}

/// Prints how much the daemon takes, and how much more for each of so many sessions.
fn report(daemon: &Daemon, when: &str, before: Option<(&Measure, usize)>) -> Result<Measure> {
    let now = Measure::of(daemon)?;
    println!("  {when:22}{now}");
    if let Some((before, sessions)) = before {
        println!("    {:20}{}", "each", now.minus(before).over(sessions));
    }
    Ok(now)
}

async fn join(daemon: &Daemon, node: &Mattermost, call: &str, count: usize) -> Result<Vec<Peer>> {
    let media = daemon.media_addr();
    let mut sessions = Vec::new();
    for first in (0..count).step_by(AT_ONCE) {
        let some = (first..count.min(first + AT_ONCE))
            .map(|at| Peer::join(node, PeerConfig::new(call, &format!("{call}-{at}")), media));
        for session in futures_util::future::join_all(some).await {
            sessions.push(session?);
        }
    }
    Ok(sessions)
}

async fn leave(sessions: Vec<Peer>) -> Result<()> {
    for session in &sessions {
        session.leave().await?;
    }
    Ok(())
}

/// The first shares a screen, the second speaks; until what is returned is dropped.
fn send(sessions: &[Peer]) -> [Streaming; 2] {
    sessions[0].share_screen(&[]);
    sessions[1].add_voice();
    let picture: Vec<u8> = [0x10].into_iter().chain((1..PICTURE).map(|at| at as u8)).collect();
    let every = Duration::from_micros(1_000_000 / PICTURES_PER_SECOND);
    [sessions[0].stream_every("screen", &picture, every), sessions[1].stream("voice", &[7; VOICE])]
}

/// What the daemon says itself.
fn dump(daemon: &Daemon) {
    println!("\n{}", daemon.request("GET", "/debug/memory", Some(&http::basic("", ADMIN_KEY)), None).text());
}

/// KiB of the daemon, or of one session.
struct Measure {
    resident: f64,
    heap: f64,
    kept: f64,
}

impl Measure {
    fn of(daemon: &Daemon) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        // Of each there are two handles.
        let mut kept = std::collections::BTreeMap::new();
        for file in std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))? {
            let path = file?.path();
            let target = std::fs::read_link(&path).unwrap_or_default();
            if target.to_string_lossy().starts_with("/memfd:") {
                let about = std::fs::metadata(&path)?;
                kept.insert(about.ino(), about.blocks() / 2);
            }
        }
        Ok(Self { resident: field("VmRSS:")?, heap: field("RssAnon:")?, kept: kept.into_values().sum::<u64>() as f64 })
    }

    fn minus(&self, other: &Self) -> Self {
        let Self { resident, heap, kept } = self;
        Self { resident: resident - other.resident, heap: heap - other.heap, kept: kept - other.kept }
    }

    fn over(&self, sessions: usize) -> Self {
        let over = |all: f64| all / sessions as f64;
        Self { resident: over(self.resident), heap: over(self.heap), kept: over(self.kept) }
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resident, heap, kept } = self;
        write!(f, "{resident:9.1} KiB resident, {heap:9.1} of it anonymous; {kept:7.1} in memfds")
    }
}
