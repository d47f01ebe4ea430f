//! What honest clients do and test peers forget: paused cameras, lost replies, ends in mid-word, descriptions of any size.
use crate::media::flows_on;
use anyhow::Result;
use rtcd_tests::daemon::wait_for;
use rtcd_tests::peer::{PeerConfig, State, sdp_message};
use rtcd_tests::plugin::{Received, rtc};
use rtcd_tests::world::{DELTA_FRAME, KEY_FRAME, VOICE, World};
use serde_json::json;
use std::time::{Duration, Instant};

/// Loud and silent in turn: the deviation of a voice.
const SPEECH: &[i8] = &[-10, -10, -10, -90, -90, -90];

/// Nothing of an honest call is a fault.
fn no_errors(world: &World) {
    let metrics = world.daemon.metrics();
    let errors: Vec<_> = metrics.lines().filter(|line| line.starts_with("rtcd_rtc_errors_total{")).collect();
    assert!(errors.iter().all(|line| line.ends_with(" 0")), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_was_paused_is_seen_again_without_a_word_of_sdp() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add_video(&[]);
    let flow = ann.stream("video", KEY_FRAME);
    bob.wait_track("video", "ann").await?;
    let answered = bob.state().offers_answered;
    drop(flow);
    for round in 0..3 {
        ann.rtc(rtc::VIDEO_OFF, None);
        // The same sender with another stream: its section keeps the old name.
        ann.rtc(rtc::VIDEO_ON, Some(json!({ "videoStreamID": format!("stream-{round}") })));
        let flow = ann.stream("video", DELTA_FRAME);
        flows_on(&bob, "video", "ann", 20).await?;
        drop(flow);
    }
    assert_eq!(bob.state().offers_answered, answered, "nothing had to be negotiated");
    let carol = world.join("carol").await?;
    let _flow = ann.stream("video", KEY_FRAME);
    carol.wait_track("video", "ann").await?;
    no_errors(&world);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_may_be_announced_after_the_offer_that_carries_it() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.join("ann").await?, world.join("bob").await?);
    ann.add("video", rtcd_tests::peer::MediaKind::Video, "camera", &[]);
    let _flow = ann.stream("video", KEY_FRAME);
    wait_for("packets of the camera", || world.daemon.metric("rtcd_plane_rtp_gated_total") > 5.0);
    assert_eq!(bob.track("video", "ann"), None, "nobody has said what it is");
    ann.rtc(rtc::VIDEO_ON, Some(json!({ "videoStreamID": "camera" })));
    bob.wait_track("video", "ann").await?;
    assert_eq!(world.daemon.metric("rtcd_plane_rtp_unknown_total"), 0.0);
    no_errors(&world);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_no_check_comes_of_ends_and_says_what_was_missing() -> Result<()> {
    let world = World::start().await?;
    let carol = world.join("carol").await?;
    let failed = world.daemon.metric("rtcd_rtc_conn_states_total{type=\"failed\"}");
    let join = rtcd_tests::plugin::Join::new("another-call", "ann");
    let mut heard = world.node.listen("ann");
    world.node.join(&join);
    let offer = carol.state().last_exchange.0.clone();
    world.node.rtc(&join, rtc::SDP, Some(json!({"type": "offer", "sdp": offer})));
    let begun = Instant::now();
    let closed = async {
        while let Some(message) = heard.recv().await {
            if matches!(message, Received::Close { .. }) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), closed).await?;
    assert!(begun.elapsed() > Duration::from_secs(28), "it has half a minute: {:?}", begun.elapsed());
    assert_eq!(world.daemon.metric("rtcd_rtc_conn_states_total{type=\"failed\"}"), failed + 1.0);
    assert_eq!(world.plugin.sessions("another-call").await?, None);
    world.daemon.assert_logs("no connectivity check of the participant has come");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_of_a_session_that_is_not_there_is_answered_with_its_end() -> Result<()> {
    let world = World::start().await?;
    let mut heard = world.node.listen("ghost");
    world.node.reconnect("ghost");
    let message = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await?;
    assert!(matches!(message, Some(Received::Close { session_id }) if session_id == "ghost"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_after_its_transport_has_closed_has_done_nothing_wrong_and_hears_of_it_once() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    ann.vanish_politely();
    ann.wait("close", |state| state.closed == 1).await?;
    world.node.leave("ann");
    world.node.rtc(&ann.config.join, rtc::MUTE, None);
    let bob = world.join("bob").await?;
    bob.leave().await?;
    assert_eq!((ann.state().closed, bob.state().closed), (1, 1));
    no_errors(&world);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_ends_in_mid_word_is_said_to_have_ended() -> Result<()> {
    let world = World::start().await?;
    let ann = world.join("ann").await?;
    ann.add_voice();
    let speaking = ann.stream_levels("voice", VOICE, SPEECH);
    ann.wait("VoiceOn", |state| state.vad == [true]).await?;
    // DTX, a sender without a track, a network that is gone: packets stop.
    let begun = Instant::now();
    drop(speaking);
    ann.wait("VoiceOff", |state| state.vad == [true, false]).await?;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let _speaking = ann.stream_levels("voice", VOICE, SPEECH);
    ann.wait("VoiceOn", |state| state.vad == [true, false, true]).await?;
    ann.stop("voice");
    ann.wait("VoiceOff", |state| state.vad == [true, false, true, false]).await?;
    no_errors(&world);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_changes_its_codec_within_a_section_is_seen_in_the_new_one() -> Result<()> {
    const AV1_KEY_FRAME: &[u8] = &[0x0a, 3, 0, 0, 0, 0x32, 5, 0x10, 1, 2, 3, 4];
    let world = World::start().await?;
    let av1 = |name: &str| {
        let mut config = PeerConfig::new("call", name);
        config.join.av1_support = true;
        config
    };
    let (ann, bob) = (world.join_with(av1("ann")).await?, world.join_with(av1("bob")).await?);
    ann.add_video(&[]);
    for (codec, frame) in [("AV1", AV1_KEY_FRAME), ("VP8", KEY_FRAME), ("AV1", AV1_KEY_FRAME)] {
        let _flow = ann.stream_codec("video", codec, frame);
        let seen = |state: &State| {
            let mut tracks = state.tracks.values().filter(|track| track.live && track.kind == "video");
            tracks.any(|track| track.codec.eq_ignore_ascii_case(codec) && track.last == frame)
        };
        bob.wait(&format!("pictures in {codec}"), seen).await?;
    }
    no_errors(&world);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_offer_is_refused_its_lock_is_free_at_once() -> Result<()> {
    let world = World::start().await?;
    let mut config = PeerConfig::new("call", "ann");
    config.manual_lock = true;
    let ann = world.join_with(config).await?;
    let offer = |sdp: &str| json!({"type": "offer", "sdp": sdp}).to_string();
    let first = ann.state().last_exchange.0.clone();
    let renamed = first.replace("a=mid:", "a=mid:x");
    let refused = [
        ("one beyond a MiB", sdp_message(&offer(&format!("{first}a=x:{}\r\n", "x".repeat(1024 * 1024))))),
        ("no SDP", sdp_message(&offer("rubbish"))),
        ("no JSON", sdp_message("rubbish")),
        ("one whose sections have other names", sdp_message(&offer(&renamed))),
    ];
    for (count, (what, message)) in refused.iter().enumerate() {
        ann.channel(&[7]);
        ann.wait(&format!("the lock for {what}"), |state| state.locks.len() == 2 * count + 1).await?;
        ann.channel(message);
        ann.channel(&[7]);
        ann.wait(&format!("the lock after {what}"), |state| state.locks.len() == 2 * count + 2).await?;
        assert_eq!(ann.state().locks[2 * count..], [true, true], "{what}");
        ann.channel(&[8]);
    }
    assert_eq!(world.errors("signaling") + world.errors("data_channel"), refused.len() as f64);
    world.daemon.assert_logs("inflates to more than");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_almost_a_mebibyte_is_answered() -> Result<()> {
    let world = World::start().await?;
    let mut config = PeerConfig::new("call", "ann");
    config.manual_lock = true;
    let ann = world.join_with(config).await?;
    let first = ann.state().last_exchange.0.clone();
    let long = format!("{first}{}", "a=x-of-a-large-call:0123456789\r\n".repeat(30_000));
    let message = json!({"type": "offer", "sdp": long}).to_string();
    assert!(message.len() > 900_000 && message.len() < 1024 * 1024, "{}", message.len());
    ann.channel(&sdp_message(&message));
    ann.wait("the answer", |state| state.error.as_deref().is_some_and(|error| error.contains("an answer"))).await?;
    no_errors(&world);
    Ok(())
}
