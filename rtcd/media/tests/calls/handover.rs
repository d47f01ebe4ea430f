//! Calls whose switches go on in other processes, again and again.
use crate::encoder::LOW;
use crate::network::Conditions;
use crate::participant::Manner;
use crate::seeds::for_seeds;
use crate::world::World;
use crate::{MS, SECOND};

#[test]
fn a_call_of_voice_camera_and_screen_goes_on_without_a_hole_over_twenty_hand_overs() {
    for (is_dtls_server, workers) in [(false, 1), (true, 2)] {
        for_seeds(2, |seed| {
            let mut world = World::new(seed, workers);
            let manner = Manner { is_dtls_server, ..Manner::default() };
            let (ann, bob, cid) = (world.join_as(manner), world.join_as(manner), world.join());
            let (voice, camera, screen) = world.meet([ann, bob, cid], Conditions::lossy(0.0, 20 * MS));
            world.run(5 * SECOND);
            let (begun, asked) = (world.now, world.people[bob].seen.keyframe_requests.len());
            let first = world.people[cid].seen.voices[&voice].newest();
            for _ in 0..20 {
                world.hand_over(100 * MS);
                world.run(SECOND);
            }
            assert!(world.closed.is_empty(), "{:?}", world.closed);
            for (at, track) in [(cid, camera), (ann, camera), (bob, screen), (cid, screen)] {
                let longest = world.screen(at, track).longest_freeze(begun, world.now);
                assert!(longest < 500 * MS, "seed {seed}, {workers} workers, {at} {track:?}: {longest:?}");
            }
            let heard = &world.people[cid].seen.voices[&voice];
            let missing = heard.missing(first, heard.newest());
            assert!(missing == 0.0, "{missing} of the voice are missing");
            let asked = world.people[bob].seen.keyframe_requests.len() - asked;
            assert_eq!(asked, 0, "a receiver could not go on");
            // Who cannot go on later is helped, wherever the sender is.
            for (at, track, sender) in [(cid, camera, bob), (bob, screen, ann), (cid, screen, ann)] {
                let asked = world.people[sender].seen.keyframe_requests.len();
                world.people[at].ask_keyframe(track);
                let heard = world.wait(2 * SECOND, |world| world.people[sender].seen.keyframe_requests.len() > asked);
                assert!(heard, "seed {seed}, {workers} workers: {at} asks {sender} in vain");
                // The key frame that comes helps whoever asks meanwhile.
                world.run(2 * SECOND);
            }
        });
    }
}

#[test]
fn on_a_lossy_way_a_hand_over_loses_no_session_and_what_was_lost_is_still_sent_again() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 2);
        let (ann, bob) = (world.join(), world.join_as(Manner { has_tcp: true, ..Manner::default() }));
        for at in [ann, bob] {
            world.set_way(at, Conditions::lossy(0.03, 25 * MS));
        }
        let camera = world.share_camera(ann, &[LOW], &[bob]);
        let voice = world.speak(bob, &[ann]);
        world.wait_picture(bob, camera);
        world.wait_voice(ann, voice);
        let begun = world.now;
        world.hand_over_every(700 * MS);
        world.run(30 * SECOND);
        assert!(world.closed.is_empty(), "{:?}", world.closed);
        let frozen = world.screen(bob, camera).frozen(begun, world.now);
        println!("seed {seed}: frozen {frozen:.3}");
        assert!(frozen < 0.05, "{frozen}");
    });
}

#[test]
fn every_message_of_a_data_channel_arrives_once_and_in_order_whatever_is_lost() {
    for (is_dtls_server, loss) in [(false, 0.0), (true, 0.0), (false, 0.03), (true, 0.05)] {
        for_seeds(3, |seed| {
            let mut world = World::new(seed, 1);
            let ann = world.join_as(Manner { is_dtls_server, ..Manner::default() });
            world.set_way(ann, Conditions::lossy(loss, 25 * MS));
            assert!(world.wait(30 * SECOND, |world| world.people[ann].seen.channel_at.is_some()));
            let expected: Vec<String> = (0..600).map(|number| format!("message {number}")).collect();
            for (number, text) in expected.iter().enumerate() {
                world.people[ann].say(text);
                world.tell(ann, text);
                if number % 50 == 49 {
                    world.hand_over(60 * MS);
                }
                world.run(20 * MS);
            }
            world.run(20 * SECOND);
            let heard: Vec<String> = world.messages.iter().map(|(_, text)| text.clone()).collect();
            assert_eq!(heard, expected, "seed {seed}, to the switch");
            assert_eq!(world.people[ann].seen.messages, expected, "seed {seed}, from the switch");
            assert!(world.closed.is_empty());
        });
    }
}

/// A record is our own and nobody else can write to it; but a release that misreads it must not die of it.
#[test]
fn records_that_were_changed_are_refused_or_read_and_nothing_panics() {
    for_seeds(1, |seed| {
        let mut world = World::new(seed, 1);
        let (ann, bob) = (world.join(), world.join());
        let camera = world.share_camera(ann, &[LOW], &[bob]);
        let voice = world.speak(bob, &[ann]);
        world.wait_picture(bob, camera);
        world.wait_voice(ann, voice);
        world.run(2 * SECOND);
        let outcomes = world.start_from_changed_records(2000);
        println!("of 2000 records {outcomes:?} were read and refused");
        assert!(outcomes.0 > 100 && outcomes.1 > 10, "{outcomes:?}");
    });
}

/// Whoever is in the middle of connecting connects, or is told at once.
#[test]
fn a_hand_over_while_people_join_leaves_nobody_waiting() {
    for_seeds(20, |seed| {
        let mut world = World::new(seed, 1);
        let ann = world.join_as(Manner { is_dtls_server: seed % 2 == 0, ..Manner::default() });
        world.set_way(ann, Conditions::lossy(0.0, 15 * MS));
        world.run(seed as u32 * 7 * MS);
        world.hand_over(50 * MS);
        let settled = world.wait(10 * SECOND, |world| world.has_channel(ann) || !world.closed.is_empty());
        assert!(settled, "seed {seed}");
        assert!(world.closed.is_empty(), "there is time to end a handshake before: {:?}", world.closed);
    });
}
