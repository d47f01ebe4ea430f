//! Calls whose switches die at any moment, and go on from what they have written down.
use crate::encoder::{HIGH, LOW};
use crate::network::Conditions;
use crate::participant::Manner;
use crate::seeds::for_seeds;
use crate::world::World;
use crate::{MS, SECOND};

/// By the nonces on the wire. Between crashes people come, go and say things, and some crashes come before anything was written
/// down since the last one.
#[test]
fn of_two_hundred_crashes_none_makes_a_nonce_come_twice() {
    for (is_dtls_server, workers) in [(false, 1), (true, 2)] {
        for_seeds(1, |seed| {
            let mut world = World::new(seed, workers);
            let manner = Manner { is_dtls_server, ..Manner::default() };
            let [ann, bob, cid] = [(); 3].map(|()| world.join_as(manner));
            let (voice, camera, screen) = world.meet([ann, bob, cid], Conditions::lossy(0.01, 10 * MS));
            world.run(2 * SECOND);
            for crash in 0..200_u32 {
                match crash % 4 {
                    0 => world.run(world.until_keep()),
                    1 => world.run(700 * MS),
                    2 => world.run(90 * MS),
                    _ => {}
                }
                if crash % 10 == 3 {
                    world.stop(cid, camera);
                    world.receive(cid, camera);
                }
                world.crash(20 * MS);
            }
            world.run(SECOND);
            assert!(world.closed.is_empty(), "{:?}", world.closed);
            println!("seed {seed}, {workers} workers: {} nonces", world.nonces.count());
            let (heard, shown) =
                (world.people[cid].seen.voices[&voice].newest(), world.screen(bob, screen).shown.len());
            world.run(5 * SECOND);
            assert!(world.people[cid].seen.voices[&voice].newest() > heard, "the voice goes on");
            assert!(world.screen(bob, screen).shown.len() > shown + 10, "the screen goes on");
        });
    }
}

#[test]
fn after_a_crash_voices_go_on_at_once_and_pictures_within_two_seconds() {
    for workers in [1, 2] {
        for_seeds(3, |seed| {
            let mut world = World::new(seed, workers);
            let [ann, bob, cid] = [(); 3].map(|()| world.join());
            let (_, camera, screen) = world.meet([ann, bob, cid], Conditions::lossy(0.0, 20 * MS));
            world.run(5 * SECOND);
            let begun = world.now;
            for _ in 0..10 {
                world.crash(300 * MS);
                world.run(5 * SECOND);
            }
            assert!(world.closed.is_empty(), "{:?}", world.closed);
            for (at, track) in [(cid, camera), (ann, camera), (bob, screen), (cid, screen)] {
                let longest = world.screen(at, track).longest_freeze(begun, world.now);
                println!("seed {seed}, {workers} workers: {at} did not see {track:?} for {longest:?}");
                assert!(longest < 2 * SECOND, "seed {seed}, {workers} workers, {at} {track:?}: {longest:?}");
            }
        });
    }
}

/// The other worker, and those on it, notice nothing but a short silence.
#[test]
fn a_worker_that_begins_again_keeps_its_sessions_and_uses_no_nonce_twice() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 2);
        let [ann, bob, cid] = [(); 3].map(|()| world.join());
        for at in [ann, bob, cid] {
            world.set_way(at, Conditions::lossy(0.01, 20 * MS));
        }
        let voice = world.speak(ann, &[bob, cid]);
        let camera = world.share_camera(bob, &[LOW], &[ann, cid]);
        for at in [ann, cid] {
            world.wait_picture(at, camera);
        }
        world.wait_voice(cid, voice);
        world.run(3 * SECOND);
        for round in 0..20 {
            world.begin_again(round % 2);
            world.run(if round % 3 == 0 { 100 * MS } else { 900 * MS });
        }
        assert!(world.closed.is_empty(), "{:?}", world.closed);
        let (heard, shown) = (world.people[cid].seen.voices[&voice].newest(), world.screen(ann, camera).shown.len());
        world.run(3 * SECOND);
        assert!(world.people[cid].seen.voices[&voice].newest() > heard + 100, "the voice goes on");
        // A key frame is asked for once a second, and what is lost of it nobody has any more.
        let goes_on = (0..10).any(|_| {
            world.run(SECOND);
            world.screen(ann, camera).shown.len() > shown + 10
        });
        assert!(goes_on, "the camera goes on");
        assert_eq!(world.counters(0).panics + world.counters(1).panics, 0);
    });
}

#[test]
fn what_writing_down_costs_beside_the_call() {
    let mut world = World::new(1, 1);
    let sharer = world.join();
    let all: Vec<usize> = (0..100).map(|_| world.join()).collect();
    let screen = world.share(sharer, &[HIGH], &all);
    world.wait_picture(all[99], screen);
    world.run(SECOND);
    world.spent = Default::default();
    world.run(5 * SECOND);
    let (call, written) = world.spent;
    println!(
        "100 receivers: {written:?} for writing down, {call:?} for the call: {:.4}",
        written.div_duration_f64(call)
    );
    assert!(world.closed.is_empty() && !written.is_zero());
}
