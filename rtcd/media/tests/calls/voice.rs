//! What is made of voices: passed on or not, found active or not, and their clocks told.
use crate::network::Conditions;
use crate::video::camera_of_ann;
use crate::world::World;
use crate::{MS, SECOND};
use std::time::Duration;

/// Loud and silent in turn: the deviation of a voice. Steady noise has none.
const SPEECH: &[i8] = &[-10, -10, -10, -90, -90, -90];
const NOISE: &[i8] = &[-30];

#[test]
fn a_muted_voice_is_not_heard_even_when_it_is_sent() {
    let mut world = World::new(1, 2);
    let (ann, bob) = (world.join(), world.join());
    let voice = world.speak(ann, &[bob]);
    world.wait_voice(bob, voice);
    world.run(SECOND);
    world.set_gate(ann, voice, false);
    world.run(50 * MS);
    let heard = world.people[bob].seen.voices[&voice].packets.len();
    world.run(2 * SECOND);
    assert_eq!(world.people[bob].seen.voices[&voice].packets.len(), heard, "it goes on sending");
    world.set_gate(ann, voice, true);
    world.run(SECOND);
    let packets = &world.people[bob].seen.voices[&voice].packets;
    assert!(packets.len() > heard + 45);
    assert!(packets.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "no hole in the numbering");
}

#[test]
fn what_a_sender_loses_costs_its_listeners_nothing() {
    let mut world = World::new(1, 1);
    let (ann, bob) = (world.join(), world.join());
    let voice = world.speak(ann, &[bob]);
    world.wait_voice(bob, voice);
    let lossy = Conditions::lossy(0.1, 20 * MS);
    world.set_way(ann, lossy);
    world.set_down(ann, Conditions::default());
    world.run(60 * SECOND);
    assert!(world.people[bob].seen.voices[&voice].packets.len() < 2900, "some of it does not get here");
    assert_eq!(world.counters(0).repeated, 0, "bob's own way loses nothing");
    world.set_way(ann, Conditions::default());
    world.set_down(bob, lossy);
    world.run(20 * SECOND);
    assert!(world.counters(0).repeated > 400, "his way does now");
}

#[test]
fn voice_activity_begins_with_speech_and_ends_with_steady_noise_and_with_muting() {
    let mut world = World::new(1, 1);
    let ann = world.join();
    let voice = world.speak(ann, &[]);
    let wait = |world: &mut World, activity: &[bool]| {
        let expected: Vec<_> = activity.iter().map(|active| (voice, *active)).collect();
        assert!(world.wait(10 * SECOND, |world| world.activity == expected), "{:?}", world.activity);
    };
    world.people[ann].set_levels(SPEECH);
    wait(&mut world, &[true]);
    world.people[ann].set_levels(NOISE);
    wait(&mut world, &[true, false]);
    world.run(10 * SECOND);
    world.people[ann].set_levels(SPEECH);
    wait(&mut world, &[true, false, true]);
    world.set_gate(ann, voice, false);
    wait(&mut world, &[true, false, true, false]);
    world.run(10 * SECOND);
    wait(&mut world, &[true, false, true, false]);
}

#[test]
fn sender_reports_tell_the_clocks_of_voice_and_picture_and_both_are_the_senders() {
    let (mut world, ann, bob, camera) = camera_of_ann(1, 2, Default::default());
    let voice = world.speak(ann, &[bob]);
    world.run(30 * SECOND);
    let clocks = &world.people[bob].seen.clocks;
    // What the sender's wall clock shows when the world begins, as each report has it.
    let mut begun = Vec::new();
    for track in [voice, camera] {
        let reports = clocks.get(&track).map_or(&[][..], Vec::as_slice);
        assert!(reports.len() >= 4, "{reports:?}");
        for pair in reports.windows(2) {
            let wall = pair[1].1.ntp_time.duration_since(pair[0].1.ntp_time).expect("it goes on");
            let media = Duration::from(pair[1].1.rtp_time).saturating_sub(pair[0].1.rtp_time.into());
            assert!(wall.abs_diff(media) < 20 * MS, "{wall:?} {media:?}");
        }
        begun.extend(reports.iter().map(|(at, report)| report.ntp_time - at.duration_since(world.started)));
    }
    let (first, last) = (begun.iter().min().expect("some"), begun.iter().max().expect("some"));
    let apart = last.duration_since(*first).expect("in order");
    println!("{} reports, {apart:?} apart", begun.len());
    assert!(apart < 60 * MS, "a report is seen with the next packet, a picture's 40 ms later: {apart:?}");
}
