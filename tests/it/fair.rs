//! A few participants cannot silence everybody: what they say costs them, and a newcomer is let in beside the worst of it.
use anyhow::Result;
use rmpv::Value;
use rtcd_tests::daemon::wait_for;
use rtcd_tests::mattermost::Mattermost;
use rtcd_tests::peer::{Peer, PeerConfig, sdp_message};
use rtcd_tests::plugin::Plugin;
use rtcd_tests::world::World;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Joins of newcomers that are measured.
const NEWCOMERS: usize = 10;
/// A newcomer waited 10 s before messages were read in turn; now it takes some 50 ms, alone or beside them.
const JOINED_BESIDE: Duration = Duration::from_secs(1);
/// What the daemon may hold meanwhile: it was 1.2 GB.
const MEMORY: f64 = 200.0 * 1024.0 * 1024.0;

fn offer_of(len: usize, first: &str) -> String {
    let media = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=fmtp:97 apt=96\r\na=x-google-flag:conference\r\n";
    let sdp = format!("{first}{}", media.repeat((len.saturating_sub(first.len())) / (media.len() + 8)));
    json!({"type": "offer", "sdp": sdp}).to_string()
}

/// Joins newcomers one after the other; the slowest of the better nine.
async fn newcomers(world: &World, node: &Mattermost) -> Result<Duration> {
    let mut took = Vec::new();
    for number in 0..NEWCOMERS {
        let begun = Instant::now();
        let peer =
            Peer::join(node, PeerConfig::new("another-call", &format!("newcomer-{number}")), world.media()).await?;
        took.push(begun.elapsed());
        node.leave(&peer.config.join.session_id);
    }
    took.sort();
    println!("joined after {took:?}");
    let memory = world.daemon.metric("rtcd_process_resident_memory_bytes ");
    assert!(memory < MEMORY, "{} MB", memory / 1e6);
    Ok(took[NEWCOMERS - 2])
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_eight_data_channels_that_flood_offers_a_newcomer_is_let_in() -> Result<()> {
    let world = World::start().await?;
    let mut flooders = Vec::new();
    for number in 0..8 {
        let mut config = PeerConfig::new("call", &format!("flooder-{number}"));
        config.manual_lock = true;
        flooders.push(world.join_with(config).await?);
    }
    let message = sdp_message(&offer_of(240_000, &flooders[0].state().last_exchange.0.clone()));
    let flood = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(16));
        loop {
            ticks.tick().await;
            flooders.iter().for_each(|flooder| flooder.channel(&message));
        }
    });
    tokio::task::block_in_place(|| {
        // A fast machine reads all of them, two milliseconds each; a slower one refuses some.
        let refused = || world.daemon.metric("rtcd_signal_refused_total{reason=\"session\"}");
        wait_for("the flood", || refused() > 0.0 || world.errors("signaling") > 300.0);
    });
    let slowest = newcomers(&world, &world.node).await?;
    assert!(slowest < JOINED_BESIDE, "{slowest:?}");
    flood.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_four_websockets_that_flood_long_offers_a_newcomer_is_let_in() -> Result<()> {
    let world = World::start().await?;
    let offer = offer_of(1_000_000, "v=0\r\n");
    let mut floods = Vec::new();
    for number in 0..4 {
        let plugin = Plugin::new(world.daemon.api_addr(), &format!("flooder-{number}"));
        let mut connection = plugin.connect().await?;
        let mut frames = Vec::new();
        for session in 0..8 {
            let name = format!("session-{session}");
            connection.join(&rtcd_tests::plugin::Join::new("call", &name)).await?;
            let fields =
                [("session_id", name.as_str().into()), ("type", 2.into()), ("data", Value::from(offer.as_bytes()))];
            let fields = fields.map(|(key, value)| (Value::from(key), value));
            let mut frame = Vec::new();
            for value in ["rtc".into(), Value::Map(fields.to_vec())] {
                rmpv::encode::write_value(&mut frame, &value)?;
            }
            frames.push(Message::Binary(frame.into()));
        }
        floods.push(tokio::spawn(async move {
            for frame in frames.iter().cycle() {
                if connection.send_raw(frame.clone()).await.is_err() {
                    return;
                }
            }
        }));
    }
    tokio::task::block_in_place(|| {
        wait_for("long offers to be read", || world.daemon.metric("rtcd_signal_queue_time_count") > 40.0);
    });
    let slowest = newcomers(&world, &world.node).await?;
    assert!(slowest < JOINED_BESIDE, "{slowest:?}");
    floods.iter().for_each(|flood| flood.abort());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lock_requests_leaves_nothing_behind() -> Result<()> {
    let world = World::start().await?;
    let mut config = PeerConfig::new("call", "ann");
    config.manual_lock = true;
    let ann = world.join_with(config).await?;
    let flood = async |rounds: usize| -> Result<f64> {
        for _ in 0..rounds {
            let asked = ann.state().locks.len();
            (0..50).for_each(|_| ann.channel(&[7]));
            ann.wait("answers", |state| state.locks.len() >= asked + 50).await?;
        }
        Ok(world.daemon.metric("rtcd_process_resident_memory_bytes "))
    };
    // What a channel needs once is not the flood's.
    let before = flood(40).await?;
    let grown = flood(120).await? - before;
    assert!(grown < 2.0 * 1024.0 * 1024.0, "{grown} bytes more");
    Ok(())
}
