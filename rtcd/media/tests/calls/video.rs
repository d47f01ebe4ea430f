//! Pictures: repaired, asked for, seen.
use crate::encoder::{HIGH, LOW, Layer};
use crate::network::Conditions;
use crate::participant::Manner;
use crate::seeds::for_seeds;
use crate::world::World;
use crate::{MS, SECOND};
use rtcd_media::sfu::command::TrackId;

pub const CAMERA: Layer = Layer { rid: None, number: 0, bit_rate: 1_000_000, frames_per_second: 25 };

/// Ann's camera, which Bob has begun to see; each of them is on a way like this.
pub fn camera_of_ann(seed: u64, workers: u8, [anns, bobs]: [Conditions; 2]) -> (World, usize, usize, TrackId) {
    let mut world = World::new(seed, workers);
    let (ann, bob) = (world.join(), world.join());
    world.set_way(ann, anns);
    world.set_way(bob, bobs);
    let camera = world.share(ann, &[CAMERA], &[bob]);
    world.wait_picture(bob, camera);
    (world, ann, bob, camera)
}

/// Pictures per second that somebody sees in the next 20 s.
fn rate_of(world: &mut World, at: usize, track: TrackId) -> f64 {
    let from = world.now;
    world.run(20 * SECOND);
    world.screen(at, track).frame_rate(from, world.now)
}

#[test]
fn a_camera_is_seen_without_a_hole() {
    let (mut world, _, bob, camera) = camera_of_ann(1, 1, Default::default());
    let from = world.now;
    world.run(20 * SECOND);
    let rate = world.screen(bob, camera).frame_rate(from, world.now);
    let freeze = world.screen(bob, camera).longest_freeze(from, world.now);
    println!("{rate:.1} frames/s, longest freeze {freeze:?}");
    assert!(rate > 24.0 && freeze < 200 * MS, "{rate} {freeze:?} {:?}", world.counters(0));
    assert!(world.closed.is_empty());
}

#[test]
fn what_a_receiver_loses_is_sent_again() {
    for_seeds(5, |seed| {
        let ways = [Conditions::default(), Conditions::lossy(0.05, 25 * MS)];
        let (mut world, _, bob, camera) = camera_of_ann(seed, 1, ways);
        let rate = rate_of(&mut world, bob, camera);
        println!("seed {seed}: {rate:.1} frames/s, {:?}", world.counters(0));
        let counters = world.counters(0);
        // Once the switch knows of the loss it sends most of it twice, and hardly anything need be asked for.
        assert!(rate > 22.0 && counters.retransmitted > 0, "{rate} {counters:?}");
    });
}

#[test]
fn what_the_switch_loses_it_asks_for_again() {
    for_seeds(5, |seed| {
        let ways = [Conditions::lossy(0.05, 25 * MS), Conditions::default()];
        let (mut world, _, bob, camera) = camera_of_ann(seed, 1, ways);
        let rate = rate_of(&mut world, bob, camera);
        println!("seed {seed}: {rate:.1} frames/s, {:?}", world.counters(0));
        assert!(rate > 22.0 && world.counters(0).rtx_repaired > 20, "{rate} {:?}", world.counters(0));
    });
}

#[test]
fn a_receiver_without_rtx_and_feedback_gets_the_same_packet_again() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1);
        let (ann, bob) = (world.join(), world.join_as(Manner { is_simple: true, ..Manner::default() }));
        world.set_way(bob, Conditions::lossy(0.05, 10 * MS));
        let camera = world.share(ann, &[CAMERA], &[bob]);
        world.wait_picture(bob, camera);
        let rate = rate_of(&mut world, bob, camera);
        println!("seed {seed}: {rate:.1} frames/s, {:?}", world.counters(0));
        assert!(rate > 22.0 && world.counters(0).retransmitted > 20, "{rate} {:?}", world.counters(0));
    });
}

#[test]
fn a_track_that_is_taken_up_again_begins_with_a_key_frame() {
    let (mut world, _, bob, camera) = camera_of_ann(1, 2, Default::default());
    for _ in 0..3 {
        world.run(3 * SECOND);
        world.stop(bob, camera);
        world.run(100 * MS);
        let forwarded = |world: &World| (0..2).map(|worker| world.counters(worker).forwarded).sum::<u64>();
        let before = forwarded(&world);
        world.run(3 * SECOND);
        assert_eq!(forwarded(&world), before, "nobody receives it");
        let from = world.now;
        world.receive(bob, camera);
        world.wait_picture(bob, camera);
        let first = world.screen(bob, camera).shown[0];
        println!("seen again after {:?}", first.at - from);
        assert!(first.is_keyframe && first.at - from < 1100 * MS, "one a second is asked for: {first:?}");
    }
}

#[test]
fn a_newcomer_gets_a_key_frame_at_once() {
    let (mut world, _, _, camera) = camera_of_ann(1, 2, Default::default());
    world.run(5 * SECOND);
    for _ in 0..3 {
        let carol = world.join();
        assert!(world.wait(5 * SECOND, |world| world.people[carol].seen.channel_at.is_some()));
        let from = world.now;
        world.receive(carol, camera);
        world.wait_picture(carol, camera);
        let screen = world.screen(carol, camera);
        assert!(screen.shown[0].is_keyframe);
        assert!(screen.shown[0].at - from < 1100 * MS, "one a second is asked for");
        world.run(2 * SECOND);
    }
}

#[test]
fn key_frame_requests_reach_the_sender_at_most_once_a_second_and_none_is_lost() {
    for_seeds(5, |seed| {
        let mut world = World::new(seed, 2);
        let ann = world.join();
        let receivers: Vec<usize> = (0..4).map(|_| world.join()).collect();
        let camera = world.share(ann, &[CAMERA], &receivers);
        receivers.iter().for_each(|at| world.wait_picture(*at, camera));
        for at in 0..60 {
            let whose = receivers[at % receivers.len()];
            world.people[whose].ask_keyframe(camera);
            world.run(130 * MS);
        }
        world.run(2 * SECOND);
        let requests = &world.people[ann].seen.keyframe_requests;
        let apart = requests.windows(2).map(|pair| pair[1] - pair[0]).min();
        println!("seed {seed}: {} requests, at least {apart:?} apart", requests.len());
        assert!(apart.is_some_and(|apart| apart >= 990 * MS), "{apart:?}");
        assert!(requests.len() >= 7, "one a second of those that were asked for in 7.8 s: {}", requests.len());
    });
}

#[test]
fn a_stopped_layer_is_left_at_once_and_the_picture_goes_on() {
    let mut world = World::new(1, 2);
    let (ann, bob) = (world.join(), world.join());
    let share = world.share(ann, &[LOW, HIGH], &[bob]);
    world.wait_picture(bob, share);
    let started = world.now;
    assert!(world.wait(20 * SECOND, |world| world.screen(bob, share).first(1, started).is_some()));
    world.run(5 * SECOND);
    let stopped = world.now;
    world.people[ann].set_running(share, 1, false, stopped);
    world.run(10 * SECOND);
    let low = world.screen(bob, share).first(0, stopped).map(|at| at - stopped);
    println!("on the low layer after {low:?}");
    assert!(low.is_some_and(|after| after < 2 * SECOND), "{low:?}");
    let back = world.now;
    world.people[ann].set_running(share, 1, true, back);
    world.run(15 * SECOND);
    let high = world.screen(bob, share).first(1, back).map(|at| at - back);
    println!("and on the high one {high:?} after it came back");
    assert!(high.is_some_and(|after| after < 15 * SECOND), "{high:?}");
}
