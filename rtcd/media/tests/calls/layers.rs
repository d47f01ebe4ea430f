//! Which layer a receiver sees, on ways that carry less than all of it.
use crate::encoder::{HIGH, LOW};
use crate::network::Conditions;
use crate::seeds::for_seeds;
use crate::video::CAMERA;
use crate::world::World;
use crate::{MS, SECOND};

fn way(kbit: u64) -> Conditions {
    Conditions { rate: Some(kbit * 1000), delay: 20 * MS, ..Conditions::default() }
}

#[test]
fn a_receiver_on_a_narrow_way_gets_the_low_layer_and_the_high_one_when_it_widens() {
    for_seeds(5, |seed| {
        let mut world = World::new(seed, 2);
        let (ann, bob) = (world.join(), world.join());
        world.set_down(bob, way(1000));
        let voice = world.speak(ann, &[bob]);
        world.wait_voice(bob, voice);
        let shared = world.now;
        let share = world.share(ann, &[LOW, HIGH], &[bob]);
        world.wait_picture(bob, share);
        world.run_until(shared + 3 * SECOND);
        let (from, heard) = (world.now, world.people[bob].seen.voices[&voice].newest());
        world.run(30 * SECOND);
        let screen = world.screen(bob, share);
        let (first, rate) = (screen.shown[0].at - shared, screen.frame_rate(from, world.now));
        let concealed = world.people[bob].seen.voices[&voice].concealed(heard, heard + 1400);
        let lifted = world.now;
        world.set_down(bob, way(20_000));
        world.run(20 * SECOND);
        let high = world.screen(bob, share).first(1, lifted).map(|at| at - lifted);
        println!("seed {seed}: first {first:?}, {rate:.2} frames/s, voice concealed {concealed:.3}, high {high:?}");
        assert!(first < 3 * SECOND && rate >= 4.5, "{:?}", world.counters(0));
        assert!(high.is_some_and(|high| high < 10 * SECOND), "{high:?}");
        assert!(concealed < 0.02, "{concealed}");
    });
}

#[test]
fn a_share_on_a_wide_way_is_seen_in_the_high_layer_soon() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1);
        let (ann, bob) = (world.join(), world.join());
        world.set_way(bob, way(50_000));
        let share = world.share(ann, &[LOW, HIGH], &[bob]);
        world.wait_picture(bob, share);
        let from = world.now;
        world.run(15 * SECOND);
        let high = world.screen(bob, share).first(1, from).map(|at| at - from);
        let rate = world.screen(bob, share).frame_rate(from + 10 * SECOND, world.now);
        println!("seed {seed}: high after {high:?}, then {rate:.1} frames/s");
        assert!(high.is_some_and(|high| high < 10 * SECOND) && rate > 19.0, "{high:?} {rate}");
    });
}

#[test]
fn ten_minutes_of_a_square_wave_switch_at_its_edges_only() {
    let mut world = World::new(1, 1);
    let (ann, bob) = (world.join(), world.join());
    world.set_down(bob, way(4000));
    let share = world.share(ann, &[LOW, HIGH], &[bob]);
    world.wait_picture(bob, share);
    let from = world.now;
    for half in 0..20 {
        world.set_down(bob, way(if half % 2 == 0 { 4000 } else { 1000 }));
        world.run(30 * SECOND);
    }
    let switches = world.screen(bob, share).switches(from);
    let freeze = world.screen(bob, share).longest_freeze(from, world.now);
    println!("{switches} switches at 19 edges, longest freeze {freeze:?}, {:?}", world.counters(0));
    assert!(switches <= 21, "{switches}");
    assert!(switches >= 10, "it follows at all: {switches}");
    assert!(freeze < 4 * SECOND, "{freeze:?}");
}

#[test]
fn a_way_for_voice_alone_carries_voice_and_now_and_then_a_picture() {
    let mut world = World::new(1, 1);
    let (ann, bob) = (world.join(), world.join());
    world.set_down(bob, way(200));
    let voice = world.speak(ann, &[bob]);
    world.wait_voice(bob, voice);
    let share = world.share(ann, &[LOW, HIGH], &[bob]);
    world.wait_picture(bob, share);
    world.run(15 * SECOND);
    let (from, heard) = (world.now, world.people[bob].seen.voices[&voice].newest());
    world.run(60 * SECOND);
    let frames = world.screen(bob, share).shown.iter().filter(|shown| shown.at >= from).count();
    let concealed = world.people[bob].seen.voices[&voice].concealed(heard, heard + 2900);
    println!("{frames} frames in a minute, voice concealed {concealed:.3}, {:?}", world.counters(0));
    assert!(concealed < 0.03, "{concealed}");
    assert!(frames >= 6, "{frames}");
}

#[test]
fn with_five_cameras_and_a_screen_on_a_narrow_way_the_screen_wins() {
    let mut world = World::new(1, 1);
    let bob = world.join();
    world.set_down(bob, way(1800));
    let ann = world.join();
    let voice = world.speak(ann, &[bob]);
    let share = world.share(ann, &[LOW, HIGH], &[bob]);
    let cameras: Vec<_> = (0..5)
        .map(|_| {
            let at = world.join();
            world.share_camera(at, &[CAMERA], &[bob])
        })
        .collect();
    world.wait_picture(bob, share);
    world.run(20 * SECOND);
    let (from, heard) = (world.now, world.people[bob].seen.voices[&voice].newest());
    world.run(30 * SECOND);
    let rate = world.screen(bob, share).frame_rate(from, world.now);
    let concealed = world.people[bob].seen.voices[&voice].concealed(heard, heard + 1400);
    let pictures: Vec<f64> = cameras
        .iter()
        .map(|camera| world.people[bob].seen.screens.get(camera).map_or(0.0, |s| s.frame_rate(from, world.now)))
        .collect();
    println!("screen {rate:.2} frames/s, cameras {pictures:.1?}, voice concealed {concealed:.3}");
    assert!(rate >= 4.5 && concealed < 0.03, "{rate} {concealed} {:?}", world.counters(0));
}
