//! Bad networks: loss, darkness, and addresses that change in mid-call.
use crate::encoder::{HIGH, LOW};
use crate::network::Conditions;
use crate::participant::Manner;
use crate::seeds::for_seeds;
use crate::video::{CAMERA, camera_of_ann};
use crate::world::World;
use crate::{MS, SECOND};

#[test]
fn a_picture_is_back_within_a_second_of_the_network() {
    for_seeds(3, |seed| {
        let way = Conditions::lossy(0.0, 30 * MS);
        let (mut world, ann, bob, camera) = camera_of_ann(seed, 1, [way; 2]);
        for dark in [bob, ann] {
            for seconds in [2, 5, 10, 20] {
                world.run(15 * SECOND);
                world.set_way(dark, Conditions { blackout: true, ..way });
                world.run(seconds * SECOND);
                let back = world.now;
                world.set_way(dark, way);
                world.run(10 * SECOND);
                let shown = world.screen(bob, camera).shown.iter().find(|shown| shown.at > back);
                let after = shown.map(|shown| shown.at - back);
                let rate = world.screen(bob, camera).frame_rate(back + 5 * SECOND, world.now);
                let whose = if dark == bob { "receiver" } else { "sender" };
                println!(
                    "seed {seed}: {seconds} s of darkness at the {whose}: picture after {after:?}, {rate:.1} frames/s"
                );
                assert!(world.closed.is_empty(), "consent lasts 30 s: {:?}", world.closed);
                assert!(after.is_some_and(|after| after < SECOND), "{after:?} {:?}", world.counters(0));
            }
        }
    });
}

#[test]
fn joins_succeed_at_a_quarter_of_loss() {
    for is_dtls_server in [false, true] {
        let mut stages = [("connected", Vec::new()), ("channel known", Vec::new()), ("channel open", Vec::new())];
        for_seeds(100, |seed| {
            let mut world = World::new(seed, 1);
            let ann = world.join_as(Manner { is_dtls_server, ..Manner::default() });
            world.set_way(ann, Conditions::lossy(0.25, 25 * MS));
            let begun = world.now;
            world.wait(30 * SECOND, |world| world.has_channel(ann));
            let known = world.has_channel(ann).then(|| world.now - begun);
            world.wait(30 * SECOND, |world| world.people[ann].seen.channel_at.is_some());
            let seen = &world.people[ann].seen;
            let took = [seen.connected_at.map(|at| at - begun), known, seen.channel_at.map(|at| at - begun)];
            stages.iter_mut().zip(took).for_each(|((_, all), took)| all.extend(took));
        });
        println!("the {} is the DTLS server:", if is_dtls_server { "participant" } else { "switch" });
        let in_time = stages.map(|(what, mut took)| {
            took.sort();
            let in_time = took.iter().filter(|took| **took <= 5 * SECOND).count();
            let (median, longest) = (took.get(took.len() / 2), took.last());
            println!("  {what} within 5 s: {in_time} of 100, median {median:?}, longest {longest:?}");
            in_time
        });
        // 97 to 100 connect in time; the channel is open for 63 to 69, and for 80 where SCTP begins at the switch. str0m draws
        // its numbers anew each time. What takes so long are its timers of SCTP, which wait for three seconds at first (RFC
        // 9260, section 16), three times as long as those of browsers.
        let least = if is_dtls_server { 65 } else { 50 };
        assert!(in_time[0] >= 92 && in_time[2] >= least || std::env::var("SEED").is_ok(), "{in_time:?}");
    }
}

#[test]
fn a_call_goes_on_over_a_new_address_of_a_nat() {
    let (mut world, ann, bob, camera) = camera_of_ann(1, 2, Default::default());
    for (whose, port) in [(bob, 6001), (ann, 6002), (bob, 6004), (ann, 6003)] {
        world.run(10 * SECOND);
        let (from, host) = (world.now, world.people[whose].address);
        world.network.rebind(from, host, ([198, 51, 100, 7], port).into());
        world.run(10 * SECOND);
        let gap = world.screen(bob, camera).longest_freeze(from, world.now);
        println!("gap {gap:?} at port {port}");
        assert!(gap < 1500 * MS, "str0m checks twice a second: {gap:?}");
    }
    assert!(world.closed.is_empty());
}

#[test]
fn a_call_moves_to_tcp_when_udp_goes_dark_and_back_when_it_returns() {
    let mut world = World::new(1, 2);
    let manner = Manner { has_tcp: true, ..Manner::default() };
    let (ann, bob) = (world.join_as(manner), world.join_as(manner));
    let (voice, camera) = (world.speak(ann, &[bob]), world.share(ann, &[CAMERA], &[bob]));
    world.wait_voice(bob, voice);
    world.wait_picture(bob, camera);
    for whose in [ann, bob] {
        world.run(5 * SECOND);
        world.set_way(whose, Conditions { blackout: true, ..Conditions::default() });
        let dark = world.now;
        world.run(10 * SECOND);
        let (moved, heard) = (world.now, world.people[bob].seen.voices[&voice].newest());
        world.run(10 * SECOND);
        let gap = world.screen(bob, camera).longest_freeze(dark, moved);
        println!("{gap:?} without a picture until TCP took over");
        assert!(gap < 6 * SECOND, "{gap:?}");
        let rate = world.screen(bob, camera).frame_rate(moved, world.now);
        let missing = world.people[bob].seen.voices[&voice].missing(heard, heard + 400);
        assert!(rate > 24.0 && missing == 0.0, "all of it goes over TCP: {rate} {missing} {:?}", world.counters(0));
        world.set_way(whose, Conditions::default());
        world.people[whose].renew_udp();
        let back = world.now;
        world.run(5 * SECOND);
        // Whatever comes from now on comes over UDP.
        world.set_tcp_way(whose, Conditions { blackout: true, ..Conditions::default() });
        world.run(10 * SECOND);
        let gap = world.screen(bob, camera).longest_freeze(back, world.now);
        println!("{gap:?} without a picture on the way back");
        assert!(gap < SECOND, "{gap:?}");
    }
    assert!(world.closed.is_empty(), "{:?}", world.closed);
}

#[test]
fn a_call_goes_on_at_a_fifth_of_loss_and_its_voice_is_whole() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 1);
        let (ann, bob) = (world.join(), world.join());
        let lossy = Conditions::lossy(0.2, 150 * MS);
        world.set_down(bob, lossy);
        let voice = world.speak(ann, &[bob]);
        let share = world.share(ann, &[LOW, HIGH], &[bob]);
        world.run(20 * SECOND);
        let (from, heard) = (world.now, world.people[bob].seen.voices[&voice].newest());
        world.run(60 * SECOND);
        let concealed = world.people[bob].seen.voices[&voice].concealed(heard, heard + 2900);
        // How many frames are whole is for str0m's NACKs to say, which all come within 165 ms, half of the round trip.
        let screen = world.people[bob].seen.screens.get(&share);
        let rate = screen.map_or(0.0, |screen| screen.frame_rate(from, world.now));
        println!("seed {seed}: {rate:.1} frames/s, voice concealed {concealed:.3}, {:?}", world.counters(0));
        assert!(concealed < 0.08, "{concealed}");
        assert!(world.closed.is_empty());
    });
}

#[test]
fn voice_on_a_lossy_way_goes_out_twice_and_on_a_good_one_once() {
    for (loss, most) in [(0.0, 0.0), (0.1, 0.03), (0.2, 0.08)] {
        for_seeds(3, |seed| {
            let mut world = World::new(seed, 2);
            let (ann, bob) = (world.join(), world.join());
            let voice = world.speak(ann, &[bob]);
            world.wait_voice(bob, voice);
            world.set_down(bob, Conditions::lossy(loss, 50 * MS));
            // str0m reports on voice every five seconds.
            world.run(15 * SECOND);
            let heard = world.people[bob].seen.voices[&voice].newest();
            world.run(61 * SECOND);
            let missing = world.people[bob].seen.voices[&voice].missing(heard, heard + 3000);
            let repeated: u64 = (0..2).map(|worker| world.counters(worker).repeated).sum();
            println!("{loss} of loss, seed {seed}: {missing:.4} missing, {repeated} sent twice");
            assert!(missing <= most, "{missing}");
            assert_eq!(repeated > 0, loss > 0.0, "{repeated}");
        });
    }
}

#[test]
fn a_camera_on_a_lossy_way_that_has_room_goes_out_twice() {
    for_seeds(3, |seed| {
        let bobs = Conditions::lossy(0.1, 50 * MS);
        let (mut world, _, bob, camera) = camera_of_ann(seed, 1, [Conditions::default(), bobs]);
        world.run(10 * SECOND);
        let from = world.now;
        world.run(60 * SECOND);
        let frozen = world.screen(bob, camera).frozen(from, world.now);
        println!("seed {seed}: frozen {frozen:.4} of the time, {} sent twice", world.counters(0).repeated);
        assert!(frozen < 0.25, "{frozen} {:?}", world.counters(0));
        assert!(world.counters(0).repeated > 1000, "{:?}", world.counters(0));
    });
}
