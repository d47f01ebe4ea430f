//! A worker that has more to send than it has time for.
use crate::encoder::{HIGH, LOW, Layer};
use crate::network::Conditions;
use crate::seeds::for_seeds;
use crate::world::{Slow, World};
use crate::{MS, SECOND};
use std::time::Duration;

const RECEIVERS: usize = 16;

/// Datagrams that go out in a second.
fn rate(world: &mut World) -> f64 {
    let before = world.slow.as_ref().map_or(0, |slow| slow.sent);
    world.run(5 * SECOND);
    let sent = world.slow.as_ref().map_or(0, |slow| slow.sent) - before;
    sent as f64 / 5.0
}

/// Twice of what there is time for: voices go on as before, and in time; pictures are what is left out, and come back.
#[test]
fn under_twice_the_limit_voice_goes_on_and_pictures_become_fewer_until_there_is_time_again() {
    for_seeds(2, |seed| {
        // Layers to choose from, and none.
        let layers: &[Layer] = if seed % 2 == 0 { &[LOW, HIGH] } else { &[HIGH] };
        let mut world = World::new(seed, 1);
        let ann = world.join();
        let others: Vec<usize> = (0..RECEIVERS).map(|_| world.join()).collect();
        let way = Conditions { rate: Some(50_000_000), delay: 10 * MS, ..Conditions::default() };
        (0..=RECEIVERS).for_each(|at| world.set_way(at, way));
        let voice = world.speak(ann, &others);
        let screen = world.share(ann, layers, &others);
        for at in &others {
            world.wait_picture(*at, screen);
            world.wait_voice(*at, voice);
        }
        world.run(15 * SECOND);
        world.slow = Some(Slow::new(Duration::ZERO, world.now));
        let whole = rate(&mut world);
        let octets = |world: &World| others.iter().map(|at| world.screen(*at, screen).octets).sum::<u64>();
        let pictures = |world: &mut World, time: Duration| {
            let before = octets(world);
            world.run(time);
            (octets(world) - before) as f64 / time.as_secs_f64()
        };
        let usual = pictures(&mut world, 5 * SECOND);

        let limit = whole / 2.0;
        world.slow = Some(Slow::new(Duration::from_secs_f64(1.0 / limit), world.now));
        // It takes a moment to be noticed.
        world.run(3 * SECOND);
        let heard: Vec<u64> = others.iter().map(|at| world.people[*at].seen.voices[&voice].newest()).collect();
        let left = pictures(&mut world, 20 * SECOND);
        let missing = others.iter().zip(&heard).map(|(at, from)| {
            let ear = &world.people[*at].seen.voices[&voice];
            ear.missing(*from, from + 950)
        });
        let missing = missing.fold(0.0, f64::max);
        let lost = world.slow.as_ref().map_or(0, |slow| slow.lost);
        println!(
            "seed {seed}: {whole:.0} datagrams/s, pictures {usual:.0} -> {left:.0} octets/s, voice missing {missing:.4}, \
             {lost} unread, share {:.2}, {:?}",
            world.share_of_pictures(),
            world.counters(0)
        );
        assert!(missing < 0.01, "a voice is missing, or late: {missing}");
        assert_eq!(lost, 0, "what comes is read");
        assert!(left < usual * 0.6 && left > usual * 0.1, "pictures go on, fewer: {usual} {left}");
        assert!(world.counters(0).shed > 0);

        world.slow.iter_mut().for_each(|slow| slow.cost = Duration::ZERO);
        world.run(30 * SECOND);
        assert_eq!(world.share_of_pictures(), 1.0);
        let again = pictures(&mut world, 5 * SECOND);
        assert!(again > usual * 0.9, "{usual} {again}");
    });
}
