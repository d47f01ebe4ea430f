//! Pictures: repaired, asked for, seen.
use crate::encoder::{HIGH, LOW, Layer};
use crate::network::Conditions;
use crate::seeds::for_seeds;
use crate::world::World;
use std::time::Duration;

const CAMERA: Layer = Layer { rid: None, number: 0, bit_rate: 1_000_000, frames_per_second: 25 };

#[test]
fn a_camera_is_seen_without_a_hole() {
    let mut world = World::new(1, 1);
    let (ann, bob) = (world.join(), world.join());
    let camera = world.share(ann, &[CAMERA], &[bob]);
    assert!(world.wait(Duration::from_secs(5), |world| world.people[bob].seen.screens.contains_key(&camera)));
    let from = world.now;
    world.run(Duration::from_secs(20));
    let screen = &world.people[bob].seen.screens[&camera];
    let rate = screen.frame_rate(from, world.now);
    println!("{rate:.1} frames/s, longest freeze {:?}", screen.longest_freeze(from, world.now));
    assert!(rate > 24.0, "{rate}");
    assert!(world.closed.is_empty());
}

#[test]
fn what_gets_lost_on_either_way_is_repaired_by_rtx() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1);
        let (ann, bob) = (world.join(), world.join());
        let lossy = Conditions { loss: 0.05, delay: Duration::from_millis(25), ..Conditions::default() };
        for at in [ann, bob] {
            let address = world.people[at].address;
            world.network.set(world.now, address, world.server, lossy);
            world.network.set(world.now, world.server, address, lossy);
        }
        let camera = world.share(ann, &[CAMERA], &[bob]);
        let seen = world.wait(Duration::from_secs(20), |world| world.people[bob].seen.screens.contains_key(&camera));
        assert!(
            seen,
            "{:?} {:?} {:?}",
            world.people[ann].seen.connected_at,
            world.people[bob].seen.connected_at,
            world.counters(0)
        );
        let from = world.now;
        world.run(Duration::from_secs(20));
        let screen = &world.people[bob].seen.screens[&camera];
        let rate = screen.frame_rate(from, world.now);
        println!(
            "{rate:.1} frames/s, longest freeze {:?}, {:?}",
            screen.longest_freeze(from, world.now),
            world.counters(0)
        );
        assert!(rate > 22.0, "{rate}");
        assert!(world.counters(0).rtx_repaired > 20);
        assert!(world.counters(0).retransmitted > 20);
    });
}

#[test]
fn a_share_in_two_layers_starts_on_the_low_one() {
    let mut world = World::new(1, 2);
    let (ann, bob) = (world.join(), world.join());
    let share = world.share(ann, &[LOW, HIGH], &[bob]);
    assert!(world.wait(Duration::from_secs(5), |world| world.people[bob].seen.screens.contains_key(&share)));
    world.run(Duration::from_secs(2));
    let screen = &world.people[bob].seen.screens[&share];
    assert_eq!(screen.shown[0].layer, 0);
}
