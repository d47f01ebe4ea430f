//! What takes the daemon ten seconds and more by contract.
use anyhow::Result;
use rtcd_tests::peer::PeerConfig;
use rtcd_tests::plugin::{Join, Received};
use rtcd_tests::world::{VOICE, World};
use std::time::{Duration, Instant};

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
