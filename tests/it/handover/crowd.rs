//! Many calls at once outlive the daemon.
use super::pauses::Pauses;
use super::*;
use rtcd_tests::peer::Track;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const CALLS: usize = 10;
const IN_CALL: usize = 10;

fn heard(peer: &Peer) -> u64 {
    peer.state().tracks.values().map(|track: &Track| track.frames).sum()
}

/// Looks how long each of them hears nothing at the worst, until `over`.
fn watch(listeners: &[&Peer], over: &AtomicBool) -> Vec<Duration> {
    let mut known: Vec<(u64, Instant, Duration)> =
        listeners.iter().map(|peer| (heard(peer), Instant::now(), Duration::ZERO)).collect();
    while !over.load(Ordering::Relaxed) {
        for (peer, (frames, at, longest)) in listeners.iter().zip(&mut known) {
            let (now, heard) = (Instant::now(), heard(peer));
            *longest = (*longest).max(now - *at);
            if heard > *frames {
                (*frames, *at) = (heard, now);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    known.into_iter().map(|(_, _, longest)| longest).collect()
}

#[test]
fn a_hundred_sessions_in_ten_calls_go_on() -> Result<()> {
    let _alone = alone();
    tokio::runtime::Runtime::new()?.block_on(ten_calls_go_on())
}

/// One speaks in each call, half of them over TCP.
async fn ten_calls_go_on() -> Result<()> {
    let keeper = Keeper::new();
    let mut relay =
        tokio::task::block_in_place(|| Relay::start_by(DaemonConfig::new(), |config| keeper.start_ready(config)));
    let plugin = Plugin::new(relay.daemon.api_addr(), "mattermost");
    let node = Mattermost::connect(&plugin).await?;
    let (mut speakers, mut listeners, mut flows) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CALLS {
        for place in 0..IN_CALL {
            let (call, name) = (format!("call-{number}"), format!("session-{number}-{place}"));
            let tcp = place % 2 == 1;
            let config = PeerConfig { udp: !tcp, tcp, ..PeerConfig::new(&call, &name) };
            let peer = Peer::join(&node, config, relay.daemon.media_addr()).await?;
            if place == 0 {
                peer.add_voice();
                flows.push(peer.stream("voice", VOICE));
                speakers.push(peer);
            } else {
                listeners.push((format!("session-{number}-0"), peer));
            }
        }
    }
    for (speaker, listener) in &listeners {
        listener.wait_track("voice", speaker).await?;
    }
    let mut pauses = Pauses::default();
    for _ in 0..restarts() {
        let over = AtomicBool::new(false);
        let watched: Vec<&Peer> = listeners.iter().map(|(_, peer)| peer).collect();
        let longest = tokio::task::block_in_place(|| {
            thread::scope(|scope| {
                let watching = scope.spawn(|| watch(&watched, &over));
                relay.hand_over_with(&keeper);
                let before: Vec<u64> = watched.iter().map(|peer| heard(peer)).collect();
                rtcd_tests::daemon::wait_for("voice at all", || {
                    watched.iter().zip(&before).all(|(peer, before)| heard(peer) > before + 10)
                });
                over.store(true, Ordering::Relaxed);
                watching.join().expect("no panic")
            })
        });
        longest.into_iter().for_each(|longest| pauses.note("voice", longest));
        assert_eq!(relay.sessions(), (CALLS * IN_CALL) as f64, "{}", relay.daemon.log());
    }
    println!("{pauses}");
    for peer in listeners.iter().map(|(_, peer)| peer).chain(&speakers) {
        let state = peer.state();
        assert_eq!((state.closed, &state.error), (0, &None), "{}", peer.config.join.session_id);
    }
    Ok(())
}
