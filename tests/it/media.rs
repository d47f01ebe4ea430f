//! Media between independent participants: pictures, codecs, repair, key frames, clocks, voice activity, renegotiation.
use anyhow::Result;
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig, State};
use rtcd_tests::plugin::{Plugin, Received, rtc};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};
use serde_json::json;
use std::time::Duration;

/// A temporal unit of AV1: a sequence header and a frame, each with its size.
const AV1_KEY_FRAME: &[u8] = &[0x0a, 3, 0, 0, 0, 0x32, 5, 0x10, 1, 2, 3, 4];
/// Loud and silent in turn: the deviation of a voice. Steady noise has none.
const SPEECH: &[i8] = &[-10, -10, -10, -90, -90, -90];

fn frames(peer: &Peer, kind: &str, sender: &str) -> u64 {
    peer.track(kind, sender).map_or(0, |track| track.frames)
}

/// Waits for `more` frames of a track from now on, none missing.
pub async fn flows_on(peer: &Peer, kind: &str, sender: &str, more: u64) -> Result<()> {
    let before = frames(peer, kind, sender);
    let on = |state: &rtcd_tests::peer::State| {
        let mut tracks = state.tracks.values();
        tracks.any(|t| t.live && t.kind == kind && t.sender == sender && t.frames >= before + more)
    };
    peer.wait(&format!("more {kind} of {sender}"), on).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_seen_until_it_is_off() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_video(&[]);
    let _flow = ann.stream("video", KEY_FRAME);
    bob.wait_track("video", "ann").await?;
    assert_eq!(bob.track("video", "ann").map(|track| track.last), Some(KEY_FRAME.to_vec()));
    ann.rtc(rtc::VIDEO_OFF, None);
    ann.stop("video");
    bob.wait_no_track("video", "ann").await?;
    assert_eq!(bob.state().unannounced, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_in_two_layers_is_seen_in_the_low_one_first_and_then_in_the_high_one() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_video(&["h", "l"]);
    let high = [KEY_FRAME, &[9; 900]].concat();
    let _flows = (ann.stream_layer("video", "l", KEY_FRAME), ann.stream_layer("video", "h", &high));
    bob.wait_track("video", "ann").await?;
    assert_eq!(bob.track("video", "ann").map(|track| track.last), Some(KEY_FRAME.to_vec()), "it starts on l");
    let sees_high = |state: &State| state.tracks.values().any(|track| track.live && track.last == high);
    bob.wait("the high layer, as its way carries both", sees_high).await?;
    flows_on(&bob, "video", "ann", 50).await?;
    let track = bob.track("video", "ann").expect("it is live");
    assert_eq!((track.gaps, track.last), (0, high.clone()), "changed without a seam, and not back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn av1_goes_to_those_who_can_and_vp8_to_the_others() -> Result<()> {
    let world = World::start().await?;
    let av1 = |name: &str| {
        let mut config = PeerConfig::new("call", name);
        config.join.av1_support = true;
        config
    };
    let ann = world.join_with(av1("ann")).await?;
    let (can, cannot) = (world.join_with(av1("can")).await?, world.join("cannot").await?);
    ann.share_screen_twice();
    let _flows = (ann.stream("screen-av1", AV1_KEY_FRAME), ann.stream("screen-vp8", KEY_FRAME));
    let late = world.join_with(av1("late")).await?;
    for (peer, codec) in [(&can, "Av1"), (&cannot, "Vp8"), (&late, "Av1")] {
        peer.wait_track("screen", "ann").await?;
        flows_on(peer, "screen", "ann", 10).await?;
        let state = peer.state();
        let live: Vec<_> = state.tracks.values().filter(|track| track.live && track.frames > 0).collect();
        assert_eq!(live.len(), 1, "one picture is enough: {live:?}");
        assert_eq!((live[0].codec.as_str(), live[0].gaps), (codec, 0), "{}", peer.config.join.session_id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharer_without_av1_support_is_seen_in_vp8_by_all() -> Result<()> {
    let world = World::start().await?;
    let mut config = PeerConfig::new("call", "can");
    config.join.av1_support = true;
    let (ann, can) = (world.join("ann").await?, world.join_with(config).await?);
    ann.share_screen(&[]);
    let _flow = ann.stream("screen", KEY_FRAME);
    can.wait_track("screen", "ann").await?;
    assert_eq!(can.track("screen", "ann").map(|track| track.codec), Some("Vp8".into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_loses_is_sent_again() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    let mut config = PeerConfig::new("call", "bob");
    config.drop_incoming = Some(7);
    let bob = world.join_with(config).await?;
    ann.add_video(&[]);
    let _flow = ann.stream("video", KEY_FRAME);
    bob.wait_track("video", "ann").await?;
    flows_on(&bob, "video", "ann", 100).await?;
    let track = bob.track("video", "ann").expect("it is live");
    assert_eq!(track.gaps, 0, "{track:?}");
    let (asked, unasked) = ("rtcd_plane_retransmitted_total", "rtcd_plane_repeated_total");
    let (asked, unasked) = (world.daemon.metric(asked), world.daemon.metric(unasked));
    // Once it has told what it loses, most of it comes twice and need not be asked for.
    assert!(asked >= 1.0 && asked + unasked >= 10.0, "sent again: {asked} asked for, {unasked} not");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn voice_activity_is_reported_and_muting_ends_it() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    ann.add_voice();
    let _speaking = ann.stream_levels("voice", VOICE, SPEECH);
    ann.wait("VoiceOn", |state| state.vad == [true]).await?;
    ann.rtc(rtc::MUTE, None);
    ann.wait("VoiceOff", |state| state.vad == [true, false]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_come_and_go_ten_times_and_the_voice_beside_them_never_stumbles() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    bob.add_voice();
    let _voices = (ann.stream("voice", VOICE), bob.stream("voice", VOICE));
    bob.wait_track("voice", "ann").await?;
    ann.wait_track("voice", "bob").await?;
    for _ in 0..10 {
        ann.add_video(&[]);
        bob.share_screen(&[]);
        let flows = (ann.stream("video", KEY_FRAME), bob.stream("screen", KEY_FRAME));
        bob.wait_track("video", "ann").await?;
        ann.wait_track("screen", "bob").await?;
        drop(flows);
        ann.stop("video");
        bob.unshare_screen();
        bob.wait_no_track("video", "ann").await?;
        ann.wait_no_track("screen", "bob").await?;
    }
    for (peer, sender) in [(&ann, "bob"), (&bob, "ann")] {
        flows_on(peer, "voice", sender, 10).await?;
        let track = peer.track("voice", sender).expect("it is live");
        assert_eq!(track.gaps, 0);
        let state = peer.state();
        assert_eq!((state.unannounced, &state.error), (0, &None));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_renews_credentials_and_media_goes_on() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    bob.add_voice();
    let _voices = (ann.stream("voice", VOICE), bob.stream("voice", VOICE));
    bob.wait_track("voice", "ann").await?;
    ann.wait_track("voice", "bob").await?;
    let ufrag = |peer: &Peer| {
        let answer = peer.state().last_exchange.1.clone();
        answer.lines().find(|line| line.starts_with("a=ice-ufrag:")).map(str::to_owned)
    };
    let before = ufrag(&ann);
    ann.restart_ice();
    ann.wait("the answer", |state| !state.last_exchange.1.contains(before.as_deref().unwrap_or("none"))).await?;
    assert_ne!(ufrag(&ann), None);
    flows_on(&bob, "voice", "ann", 50).await?;
    flows_on(&ann, "voice", "bob", 50).await?;
    world.daemon.assert_logs("ICE restart");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_may_use_the_same_session_id() -> Result<()> {
    let world = World::start().await?;
    let other = Mattermost::connect(&Plugin::new(world.daemon.api_addr(), "another-mattermost")).await?;
    let mut calls = Vec::new();
    for (node, payload) in [(&world.node, &b"of the one"[..]), (&other, &b"of the other"[..])] {
        let ann = Peer::join(node, PeerConfig::new("call", "ann"), world.media()).await?;
        let bob = Peer::join(node, PeerConfig::new("call", "bob"), world.media()).await?;
        ann.add_voice();
        calls.push((ann.stream("voice", payload), ann, bob, payload));
    }
    for (_, _, bob, payload) in &calls {
        bob.wait_track("voice", "ann").await?;
        flows_on(bob, "voice", "ann", 20).await?;
        assert_eq!(bob.track("voice", "ann").map(|track| track.last), Some(payload.to_vec()));
        assert_eq!(bob.state().tracks.len(), 1);
    }
    calls[0].1.leave().await?;
    flows_on(&calls[1].2, "voice", "ann", 20).await?;
    assert_eq!(world.plugin.sessions("call").await?.map(|sessions| sessions.len()), Some(1));
    assert_eq!(calls[1].1.state().closed, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_id_that_is_live_already_leaves_the_first_one_untouched() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_voice();
    let _voice = ann.stream("voice", VOICE);
    bob.wait_track("voice", "ann").await?;
    let errors = world.errors("join");
    world.node.join(&ann.config.join);
    let mut elsewhere = ann.config.join.clone();
    elsewhere.call_id = "another-call".into();
    world.node.join(&elsewhere);
    rtcd_tests::daemon::wait_for("both refusals", || world.errors("join") == errors + 2.0);
    flows_on(&bob, "voice", "ann", 20).await?;
    assert_eq!(world.plugin.sessions("another-call").await?, None);
    assert_eq!(world.plugin.sessions("call").await?.map(|sessions| sessions.len()), Some(2));
    assert_eq!((ann.state().closed, bob.track("voice", "ann").map(|track| track.gaps)), (0, Some(0)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_screen_at_a_time() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob, carol) = (world.join("ann").await?, world.join("bob").await?, world.join("carol").await?);
    ann.share_screen(&[]);
    let _first = ann.stream("screen", KEY_FRAME);
    carol.wait_track("screen", "ann").await?;
    let errors = world.errors("signaling");
    bob.share_screen(&[]);
    let second = bob.stream("screen", KEY_FRAME);
    rtcd_tests::daemon::wait_for("the refusal", || world.errors("signaling") > errors);
    flows_on(&carol, "screen", "ann", 50).await?;
    assert_eq!(carol.track("screen", "bob"), None, "the second sharer is seen by nobody");
    drop(second);
    bob.unshare_screen();
    bob.wait("its end to be agreed", |state| state.last_exchange.1.contains("a=inactive")).await?;
    ann.unshare_screen();
    carol.wait_no_track("screen", "ann").await?;
    bob.share_screen(&[]);
    let _second = bob.stream("screen", KEY_FRAME);
    let announced = |state: &State| state.tracks.values().any(|track| track.live && track.sender == "bob");
    carol.wait("the next sharer", announced).await?;
    // Pictures of another stream in a section that was used before are for browsers to tell: str0m does not always.
    world.join("dave").await?.wait_track("screen", "bob").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_taken_up_again_within_its_section_is_seen_again() -> Result<()> {
    let world = World::start().await?;
    let (bob, carol) = (world.join("bob").await?, world.join("carol").await?);
    bob.share_screen(&[]);
    let _flow = bob.stream("screen", KEY_FRAME);
    carol.wait_track("screen", "bob").await?;
    for _ in 0..3 {
        bob.rtc(rtc::SCREEN_OFF, None);
        carol.wait_no_track("screen", "bob").await?;
        bob.rtc(rtc::SCREEN_ON, Some(json!({ "screenStreamID": "screen-of-bob" })));
        carol.wait_track("screen", "bob").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_session_whose_websocket_died_take_another_one() -> Result<()> {
    let world = World::start().await?;
    let other = Mattermost::connect(&world.plugin).await?;
    let mut heard = other.listen("ann");
    let ann = world.join("ann").await?;
    ann.add_voice();
    world.node.flush().await?;
    world.node.die();
    rtcd_tests::daemon::wait_for("the end of one connection", || {
        world.daemon.metric("rtcd_ws_connections_total{clientID=\"mattermost\"}") == 1.0
    });
    let _speaking = ann.stream_levels("voice", VOICE, SPEECH);
    let message = tokio::time::timeout(Duration::from_secs(15), heard.recv()).await?;
    assert!(matches!(message, Some(Received::Vad(vad)) if vad.session_id == "ann" && vad.kind == rtc::VOICE_ON));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_for_the_lock_is_denied() -> Result<()> {
    let world = World::start().await?;
    let mut config = PeerConfig::new("call", "ann");
    config.manual_lock = true;
    let ann = world.join_with(config).await?;
    ann.channel(&[7]);
    ann.channel(&[7]);
    ann.wait("two answers", |state| state.locks == [true, false]).await?;
    ann.channel(&[8]);
    ann.channel(&[7]);
    ann.wait("the lock again", |state| state.locks == [true, false, true]).await
}
