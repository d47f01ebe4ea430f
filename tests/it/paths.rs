//! A participant with two ways to the daemon moves between them in mid-call.
use crate::media::flows_on;
use anyhow::Result;
use rtcd_tests::peer::{Peer, PeerConfig, State};
use rtcd_tests::world::{KEY_FRAME, VOICE, World};

/// What comes by one of the ways, as its receiver counts it.
type Count = fn(&State) -> u64;
const OVER_UDP: Count = |state| state.media_over_udp;
const OVER_TCP: Count = |state| state.media_over_tcp;

/// Ann's media goes on to come this way, and voice and picture go on for both.
async fn goes_on(ann: &Peer, bob: &Peer, way: Count) -> Result<()> {
    let before = way(&ann.state());
    ann.wait("media by this way", |state| way(state) >= before + 50).await?;
    for (peer, sender) in [(ann, "bob"), (bob, "ann")] {
        for kind in ["voice", "video"] {
            flows_on(peer, kind, sender, 25).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_moves_to_tcp_when_udp_goes_dark_and_back_when_it_returns() -> Result<()> {
    let world = World::start().await?;
    let mut config = PeerConfig::new("call", "ann");
    config.tcp = true;
    let (ann, bob) = (world.join_with(config).await?, world.join("bob").await?);
    let flow = |peer: &Peer| {
        peer.add_voice();
        peer.add_video(&[]);
        (peer.stream("voice", VOICE), peer.stream("video", KEY_FRAME))
    };
    let _flows = (flow(&ann), flow(&bob));
    for (peer, sender) in [(&ann, "bob"), (&bob, "ann")] {
        peer.wait_track("voice", sender).await?;
        peer.wait_track("video", sender).await?;
    }
    goes_on(&ann, &bob, OVER_UDP).await?;
    ann.darken_udp();
    goes_on(&ann, &bob, OVER_TCP).await?;
    ann.mend_udp();
    goes_on(&ann, &bob, OVER_UDP).await?;
    // str0m goes on to nominate TCP at each of its checks. Without it nothing is left but UDP.
    ann.darken_tcp();
    goes_on(&ann, &bob, OVER_UDP).await?;
    assert_eq!((ann.state().closed, bob.state().closed), (0, 0));
    assert_eq!(world.plugin.sessions("call").await?.map(|sessions| sessions.len()), Some(2));
    assert!(!world.daemon.log().contains("session closed"), "{}", world.daemon.log());
    assert_eq!(world.errors("ice"), 0.0, "its candidates of both kinds are understood");
    Ok(())
}
