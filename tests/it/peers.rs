//! Participants of a second independent implementation, the `webrtc` crate, in calls with those of str0m.
use anyhow::Result;
use rtcd_tests::lossy::LossyRoad;
use rtcd_tests::webrtc_peer::{SrtpProtectionProfile, WebrtcConfig, WebrtcPeer};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};

const OTHER_VOICE: &[u8] = b"a voice out of the other crate";

/// The two hear and see each other.
async fn talk(config: WebrtcConfig, profile: Option<&str>) -> Result<()> {
    let world = World::start().await?;
    let name = config.join.session_id.clone();
    let other = WebrtcPeer::join(&world.node, config).await?;
    other.wait("trickled candidates", |state| state.candidates > 0).await?;
    if let Some(profile) = profile {
        let log = world.daemon.log();
        let connected = log.lines().find(|line| line.contains("session connected") && line.contains(&name));
        let connected = connected.expect("the daemon says that it is connected");
        assert!(connected.contains(&format!("profile={profile}")), "{connected}");
    }
    let ann = world.join("ann").await?;
    other.add_voice(OTHER_VOICE);
    ann.add_voice();
    ann.add_video(&[]);
    let _flows = (ann.stream("voice", VOICE), ann.stream("video", KEY_FRAME));
    ann.wait_track("voice", &name).await?;
    assert_eq!(ann.track("voice", &name).map(|track| track.last), Some(OTHER_VOICE.to_vec()));
    other.wait_heard("voice", "ann", VOICE).await?;
    other.wait_heard("video", "ann", KEY_FRAME).await?;
    other.add_video(KEY_FRAME);
    ann.wait_track("video", &name).await?;
    assert_eq!(ann.track("video", &name).map(|track| track.last), Some(KEY_FRAME.to_vec()));
    assert_eq!(world.errors("ice"), 0.0, "its candidates are understood");
    assert_eq!(ann.state().unannounced, 0);
    other.leave().await?;
    ann.wait_no_track("video", &name).await?;
    let state = other.state();
    assert_eq!(state.error, None);
    assert!(state.offers_answered > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_as_dtls_client_with_aes_cm_trickles_behind_the_answer() -> Result<()> {
    let mut config = WebrtcConfig::new("call", "client");
    config.profiles = vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
    talk(config, Some("AesCm128HmacSha1_80")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_as_dtls_server_with_aes_gcm_trickles_ahead_of_its_offer() -> Result<()> {
    let mut config = WebrtcConfig::new("call", "server");
    config.profiles = vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm];
    (config.dtls_server, config.candidates_first) = (true, true);
    talk(config, Some("AeadAes128Gcm")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_as_it_is_signals_over_its_data_channel() -> Result<()> {
    let mut config = WebrtcConfig::new("call", "plain");
    config.join.dc_signaling = true;
    talk(config, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_lost_on_the_way_to_the_daemon_is_asked_for_and_passed_on() -> Result<()> {
    let world = World::start().await?;
    let road = LossyRoad::to(world.media(), 7).await?;
    let mut config = WebrtcConfig::new("call", "ann");
    config.via = Some(road.entry);
    let ann = WebrtcPeer::join(&world.node, config).await?;
    let bob = world.join("bob").await?;
    ann.add_video(KEY_FRAME);
    bob.wait_track("video", "ann").await?;
    let seen = |state: &rtcd_tests::peer::State| state.tracks.values().any(|track| track.frames > 150);
    bob.wait("150 frames", seen).await?;
    let track = bob.track("video", "ann").expect("it is live");
    assert!(road.lost() > 15, "{} packets were lost", road.lost());
    assert_eq!(track.gaps, 0, "{track:?}");
    Ok(())
}
