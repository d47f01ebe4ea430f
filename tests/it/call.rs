//! Calls of independent participants (str0m) through the real daemon.
use anyhow::Result;
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::rtc;
use rtcd_tests::world::{KEY_FRAME, VOICE, World};

#[tokio::test(flavor = "multi_thread")]
async fn participants_hear_each_other_and_leave() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    let bob = world.join("bob").await?;
    ann.add_voice();
    bob.add_voice();
    let speaking = (ann.stream("voice", VOICE), bob.stream("voice", b"another voice"));
    ann.wait_track("voice", "bob").await?;
    bob.wait_track("voice", "ann").await?;
    assert_eq!(bob.track("voice", "ann").map(|track| track.last), Some(VOICE.to_vec()));
    assert_eq!(ann.track("voice", "bob").map(|track| track.last), Some(b"another voice".to_vec()));
    ann.wait("candidates", |state| state.candidates > 0).await?;

    let sessions = world.plugin.sessions("call").await?.expect("the call runs");
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    assert_eq!(world.daemon.metric("rtcd_rtc_sessions_total{groupID=\"mattermost\"}"), 2.0);

    drop(speaking);
    ann.leave().await?;
    assert_eq!(world.plugin.sessions("call").await?.expect("bob is still there").len(), 1);
    bob.leave().await?;
    assert_eq!(world.plugin.sessions("call").await?, None, "the last one out ends the call");
    for peer in [&ann, &bob] {
        let state = peer.state();
        assert_eq!((state.unannounced, state.closed), (0, 1));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn muting_closes_the_gate_and_reports_voice_off() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    let bob = world.join("bob").await?;
    ann.add_voice();
    let _speaking = ann.stream("voice", VOICE);
    bob.wait_track("voice", "ann").await?;
    ann.rtc(rtc::MUTE, None);
    let heard = |peer: &Peer| peer.track("voice", "ann").map_or(0, |track| track.frames);
    let mut before = heard(&bob);
    // Muted is when nothing more arrives for ten frames' time.
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = heard(&bob);
        if now == before {
            break;
        }
        before = now;
    }
    ann.rtc(rtc::UNMUTE, None);
    bob.wait("voice again", |state| state.tracks.values().any(|track| track.frames > before + 5)).await?;
    let track = bob.track("voice", "ann").expect("the track is still there");
    assert_eq!(track.gaps, 0, "what the gate swallows leaves no hole");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_with_sound_starts_and_stops_twice_and_latecomers_see_it() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    let bob = world.join("bob").await?;
    for _ in 0..2 {
        ann.share_screen(&["h", "l"]);
        let flows = (
            ann.stream_layer("screen", "l", KEY_FRAME),
            ann.stream_layer("screen", "h", &[KEY_FRAME, &[9; 900]].concat()),
            ann.stream("screen-audio", VOICE),
        );
        bob.wait_track("screen", "ann").await?;
        bob.wait_track("screen-audio", "ann").await?;
        assert_eq!(bob.track("screen", "ann").map(|track| track.last), Some(KEY_FRAME.to_vec()), "it starts on l");
        let late = world.join("carol").await?;
        late.wait_track("screen", "ann").await?;
        late.leave().await?;
        drop(flows);
        ann.unshare_screen();
        bob.wait_no_track("screen", "ann").await?;
    }
    assert_eq!(bob.state().unannounced, 0);
    assert_eq!(ann.track("screen", "ann"), None, "nobody receives its own tracks");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_works() -> Result<()> {
    let world = World::start().await?;
    let mut ways = Vec::new();
    for (name, tcp, dtls_server, dc_signaling, role_conflict) in [
        ("plain", false, false, true, false),
        ("tcp", true, false, true, false),
        ("dtls-server", false, true, true, false),
        ("websocket", false, false, false, false),
        ("conflict", false, false, true, true),
    ] {
        let mut config = PeerConfig::new("call", name);
        (config.udp, config.tcp) = (!tcp, tcp);
        (config.dtls_server, config.role_conflict) = (dtls_server, role_conflict);
        config.join.dc_signaling = dc_signaling;
        let peer = world.join_with(config).await?;
        peer.add_voice();
        ways.push((name, peer));
    }
    let _flows: Vec<_> = ways.iter().map(|(name, peer)| peer.stream("voice", name.as_bytes())).collect();
    for (receiver, peer) in &ways {
        for (sender, _) in ways.iter().filter(|(sender, _)| sender != receiver) {
            peer.wait_track("voice", sender).await?;
            let heard = peer.track("voice", sender).map(|track| track.last);
            assert_eq!(heard, Some(sender.as_bytes().to_vec()), "{receiver} hears {sender}");
        }
    }
    Ok(())
}
