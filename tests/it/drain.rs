//! Hosts that are told to end while calls run on them.
use anyhow::Result;
use nix::sys::signal::Signal;
use rtcd_tests::daemon::{DaemonConfig, free_port, wait_for};
use rtcd_tests::peer::{Peer, PeerConfig};
use rtcd_tests::plugin::Fleet;
use rtcd_tests::world::{VOICE, World};
use std::net::Ipv4Addr;

/// More than any host that takes calls reports.
const HUGE: f64 = 1e6;

/// A call of two, in which one speaks.
struct Talk {
    ann: Peer,
    bob: Peer,
    _speaking: rtcd_tests::peer::Streaming,
}

impl Talk {
    async fn begin(world: &World, call: &str) -> Result<Self> {
        let peer = |who: &str| PeerConfig::new(call, &format!("{who}-of-{call}"));
        let (ann, bob) = (world.join_with(peer("ann")).await?, world.join_with(peer("bob")).await?);
        ann.add_voice();
        let talk = Self { _speaking: ann.stream("voice", VOICE), ann, bob };
        talk.goes_on().await?;
        Ok(talk)
    }

    /// Voice arrives now, and nobody was told of an end.
    async fn goes_on(&self) -> Result<()> {
        let sender = self.ann.config.join.session_id.clone();
        self.bob.wait_track("voice", &sender).await?;
        let heard = |peer: &Peer| peer.track("voice", &sender).map_or(0, |track| track.frames);
        let before = heard(&self.bob);
        let more = |state: &rtcd_tests::peer::State| {
            state.tracks.values().any(|track| track.sender == sender && track.frames > before + 5)
        };
        self.bob.wait("more voice", more).await?;
        for peer in [&self.ann, &self.bob] {
            let state = peer.state();
            assert_eq!((state.closed, state.error.as_deref()), (0, None));
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.ann.leave().await?;
        self.bob.leave().await
    }
}

async fn wait_for_huge_load(world: &World) -> Result<()> {
    while world.plugin.cpu_load().await? < HUGE {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_host_takes_new_calls_while_it_drains_and_ends_with_the_last() -> Result<()> {
    let mut world = World::start_with(DaemonConfig::new().arg("--drain-timeout").arg("4h")).await?;
    let talk = Talk::begin(&world, "call").await?;
    world.daemon.signal(Signal::SIGTERM);
    wait_for_huge_load(&world).await?;
    tokio::task::block_in_place(|| wait_for("the line", || world.daemon.log().contains("draining: told to end")));
    let log = world.daemon.log();
    let told = log.lines().find(|line| line.contains("draining: told to end")).expect("it says so");
    assert!(told.contains("at the latest at 20") && told.contains("send SIGTERM again"), "{told}");

    let fleet = Fleet(vec![world.plugin.clone()]);
    assert_eq!(fleet.for_new_call().await?.api, world.plugin.api, "there is no other");
    let another = Talk::begin(&world, "another call").await?;
    talk.goes_on().await?;
    assert_eq!(world.daemon.metric("rtcd_calls_while_draining_total"), 1.0);
    talk.end().await?;
    another.goes_on().await?;
    assert!(world.daemon.is_running());
    another.end().await?;
    assert_eq!(tokio::task::block_in_place(|| world.daemon.wait_exit()).code(), Some(0));
    world.daemon.assert_logs("the drain ends sessions=0 new_calls=1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_behind_one_name_are_restarted_one_after_the_other_and_no_call_is_cut() -> Result<()> {
    let (api_port, media_port) = (free_port(), free_port());
    let stores: Vec<_> = (0..3).map(|_| rtcd_tests::daemon::temp_dir("store")).collect();
    let start = |host: usize| {
        let ip = Ipv4Addr::new(127, 0, 0, 1 + host as u8);
        World::start_with(DaemonConfig { ip, api_port, media_port, ..DaemonConfig::new() }.store(&stores[host]))
    };
    let mut hosts = [start(0).await?, start(1).await?, start(2).await?];
    let fleet = Fleet(hosts.iter().map(|world| world.plugin.clone()).collect());
    let mut talks = Vec::new();
    for (host, world) in hosts.iter().enumerate() {
        talks.push((host, Talk::begin(world, &format!("call-{host}")).await?));
    }
    for ending in 0..3 {
        hosts[ending].daemon.signal(Signal::SIGTERM);
        wait_for_huge_load(&hosts[ending]).await?;
        for count in 0..2 {
            let chosen = fleet.for_new_call().await?.api;
            let host = hosts.iter().position(|world| world.plugin.api == chosen).expect("one of them");
            assert_ne!(host, ending, "new calls go to the others");
            talks.push((host, Talk::begin(&hosts[host], &format!("call-{ending}-{count}")).await?));
        }
        for (_, talk) in &talks {
            talk.goes_on().await?;
        }
        assert!(hosts[ending].daemon.is_running(), "it waits for its calls");
        let (last, rest): (Vec<_>, Vec<_>) = talks.into_iter().partition(|(host, _)| *host == ending);
        talks = rest;
        for (_, talk) in last {
            talk.end().await?;
        }
        assert_eq!(tokio::task::block_in_place(|| hosts[ending].daemon.wait_exit()).code(), Some(0));
        hosts[ending].daemon.assert_logs("new_calls=0");
        hosts[ending] = start(ending).await?;
        talks.push((ending, Talk::begin(&hosts[ending], &format!("call-again-{ending}")).await?));
    }
    for (_, talk) in talks {
        talk.goes_on().await?;
        talk.end().await?;
    }
    for store in stores {
        std::fs::remove_dir_all(store)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_in_the_moment_of_the_end_stays_or_hears_of_it() -> Result<()> {
    use rtcd_tests::plugin::{Join, Received};
    for round in 0..5 {
        let mut world = World::start_with(DaemonConfig::new()).await?;
        let mut node = world.plugin.connect().await?;
        // In no order: now the one is first and now the other.
        world.daemon.signal(Signal::SIGTERM);
        let joined = node.join(&Join::new("call", &format!("ann-{round}"))).await;
        let told = node.receive().await;
        match (joined, told) {
            (Ok(()), Ok(Received::Close { session_id })) => assert_eq!(session_id, format!("ann-{round}")),
            // It had ended before it could hear.
            (_, Err(_)) => {}
            other => panic!("{other:?}"),
        }
        wait_for("the end", || !world.daemon.is_running());
    }
    Ok(())
}
