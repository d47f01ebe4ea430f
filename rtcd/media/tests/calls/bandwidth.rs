//! What a receiver gets over ways of all kinds. `--nocapture` shows the numbers.
use crate::model::{Call, Feedback, H, L, VOICE};
use crate::network::{Burst, Conditions};
use crate::seeds::for_seeds;
use crate::{MS, SECOND};
use rtcd_media::sfu::allocation::Kind;
use rtcd_media::sfu::bandwidth::Bitrate;
use std::time::Duration;

const SEEDS: u64 = 5;

fn way(kbit: u64) -> Conditions {
    Conditions { rate: Some(kbit * 1000), delay: 25 * MS, jitter: 2 * MS, ..Conditions::default() }
}

fn screen(seed: u64, down: Conditions) -> Call {
    Call::new(seed, &[Kind::Screen], down)
}

fn report(name: &str, seed: u64, call: &Call) {
    let voice = &call.voice;
    println!(
        "{name}, seed {seed}: {} switches, voice {} of {}, mean {:?}, longest {:?}; {} octets of padding, {} dropped by the pacer, {} by the way",
        call.switches(0),
        voice.received,
        voice.sent,
        voice.mean(),
        voice.longest,
        call.padding,
        call.dropped_by_pacer(),
        call.network.counts.queue_full,
    );
}

#[test]
fn a_megabit_carries_the_low_layer_within_three_seconds_and_keeps_it() {
    for_seeds(SEEDS, |seed| {
        let mut call = screen(seed, way(1000));
        call.run_until(60 * SECOND);
        report("1 Mbit/s", seed, &call);
        let shown = call.shown(0, L, Duration::ZERO);
        let rate = call.pictures_per_second(0, 3 * SECOND, 60 * SECOND);
        let estimate = call.mean_estimate(10 * SECOND, 60 * SECOND);
        println!("  l after {shown:?}, {rate:.2} pictures/s, mean estimate {estimate}");
        assert!(shown.is_some_and(|at| at < 3 * SECOND));
        assert!(rate >= 4.5, "{rate}");
        assert!(call.part(0, L, 3 * SECOND) > 0.99, "{:?}", call.changes(0));
        assert!(call.voice.received + 2 >= call.voice.sent - call.voice.sent / 1000, "{:?}", call.voice.longest);
    });
}

#[test]
fn a_limit_that_is_lifted_gives_the_high_layer_within_ten_seconds() {
    for_seeds(30, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (lifted, low, high) = (random.u32(5_000..60_000) * MS, random.u64(700..2000), random.u64(4000..20_000));
        let mut call = screen(seed, way(low));
        call.set_down(lifted, way(high));
        call.run_until(lifted + 30 * SECOND);
        report(&format!("{low}, then {high} kbit/s"), seed, &call);
        let shown = call.shown(0, H, lifted).map(|at| at - lifted);
        println!("  h {shown:?} after the limit was lifted");
        assert!(shown.is_some_and(|after| after < 10 * SECOND), "{:?}", call.changes(0));
        assert_eq!(call.shown(0, L, lifted + 10 * SECOND), None, "{:?}", call.changes(0));
    });
}

#[test]
fn a_square_wave_of_ten_minutes_switches_at_its_edges_and_hardly_more() {
    for_seeds(SEEDS, |seed| {
        for (low, high) in [(1000, 4000), (800, 10_000), (1500, 3500)] {
            let mut call = screen(seed, way(low));
            let edges = 19;
            for edge in 1..=edges {
                call.set_down(30 * edge * SECOND, way(if edge % 2 == 1 { high } else { low }));
            }
            call.run_until(600 * SECOND);
            report(&format!("{low} <-> {high} kbit/s"), seed, &call);
            let switches = call.switches(0) - 1;
            println!(
                "  {switches} switches at {edges} edges, h {:.0} % of the time",
                100.0 * call.part(0, H, Duration::ZERO)
            );
            assert!(switches <= edges as usize + 2, "{switches}: {:?}", call.changes(0));
            assert!(call.part(0, H, Duration::ZERO) > 0.33, "{:?}", call.changes(0));
            assert!(call.voice.received * 100 >= call.voice.sent * 99, "{:?}", call.voice.longest);
        }
    });
}

#[test]
fn without_a_limit_the_high_layer_comes_in_a_few_seconds() {
    for_seeds(SEEDS, |seed| {
        for delay in [1, 25, 100] {
            let down = Conditions { rate: None, ..way(0) };
            let mut call = screen(seed, Conditions { delay: delay * MS, ..down });
            call.run_until(60 * SECOND);
            report("no limit", seed, &call);
            let shown = call.shown(0, H, Duration::ZERO);
            println!("  h after {shown:?} at {} ms round trip", 2 * delay);
            assert!(shown.is_some_and(|at| at < 4 * SECOND), "{:?}", call.changes(0));
            assert_eq!(call.part(0, H, 4 * SECOND), 1.0, "{:?}", call.changes(0));
        }
    });
}

#[test]
fn random_loss_does_not_take_the_high_layer() {
    for_seeds(SEEDS, |seed| {
        for (loss, least) in [(0.02, 0.95), (0.10, 0.8), (0.20, 0.3)] {
            let mut call = screen(seed, Conditions { loss, delay: 50 * MS, ..way(10_000) });
            call.run_until(120 * SECOND);
            report(&format!("{} % loss", 100.0 * loss), seed, &call);
            let (high, low) = (call.part(0, H, 10 * SECOND), call.part(0, L, 10 * SECOND));
            let estimate = call.mean_estimate(10 * SECOND, 120 * SECOND);
            println!("  h {:.0} %, l {:.0} % of the time, mean estimate {estimate}", 100.0 * high, 100.0 * low);
            assert!(high >= least, "{:?}", call.changes(0));
            assert!(high + low > 0.99, "{:?}", call.changes(0));
        }
    });
}

#[test]
fn loss_in_bursts_does_not_take_the_picture() {
    for_seeds(SEEDS, |seed| {
        let burst = Some(Burst { begin: 0.005, end: 0.1, loss: 0.8 });
        let mut call =
            screen(seed, Conditions { burst, reorder: 0.01, duplicate: 0.01, jitter: 15 * MS, ..way(10_000) });
        call.run_until(120 * SECOND);
        report("bursts", seed, &call);
        let (high, low) = (call.part(0, H, 10 * SECOND), call.part(0, L, 10 * SECOND));
        println!("  h {:.0} %, l {:.0} % of the time", 100.0 * high, 100.0 * low);
        assert!(high > 0.5 && high + low > 0.99, "{:?}", call.changes(0));
    });
}

#[test]
fn a_screen_wins_against_five_cameras_and_voice_against_all() {
    for_seeds(SEEDS, |seed| {
        let cameras = [Kind::Camera; 5];
        let mut call = Call::new(seed, &[&cameras[..], &[Kind::Screen]].concat(), way(1500));
        call.run_until(60 * SECOND);
        report("5 cameras and a screen on 1.5 Mbit/s", seed, &call);
        let rates: Vec<_> = (0..6).map(|track| call.pictures_per_second(track, 5 * SECOND, 60 * SECOND)).collect();
        println!("  pictures/s {rates:.1?}");
        assert!(rates[5] >= 4.5, "{rates:?}");
        assert!(rates[0] >= 2.0, "{rates:?}");
        assert!(call.voice.received * 1000 >= call.voice.sent * 995, "{:?}", call.voice.longest);
        assert!(call.voice.mean() < 100 * MS, "{:?}", call.voice.longest);
    });
}

#[test]
fn a_way_for_hardly_more_than_voice_brings_voice_and_some_pictures() {
    for_seeds(SEEDS, |seed| {
        let mut call = screen(seed, way(150));
        call.run_until(120 * SECOND);
        report("150 kbit/s", seed, &call);
        let rate = call.pictures_per_second(0, 10 * SECOND, 120 * SECOND);
        let estimate = call.mean_estimate(10 * SECOND, 120 * SECOND);
        let lost = |from, to| call.voice.lost(from * SECOND, to * SECOND);
        let (first, later) = (lost(0, 10), lost(10, 120));
        println!(
            "  {rate:.2} pictures/s, mean estimate {estimate}, voice lost {first:.3} in the first 10 s, {later:.4} later"
        );
        assert!(rate > 0.2, "{rate}");
        assert!(first < 0.1 && later < 0.005, "{first} {later}");
        assert!(call.voice.mean() < 150 * MS, "{:?}", call.voice.mean());
    });
}

#[test]
fn after_a_blackout_everything_is_back_in_ten_seconds() {
    for_seeds(SEEDS, |seed| {
        for length in [1, 3, 10] {
            let mut call = screen(seed, way(4000));
            call.set_down(20 * SECOND, Conditions { blackout: true, ..way(4000) });
            call.set_down((20 + length) * SECOND, way(4000));
            call.run_until((60 + length) * SECOND);
            report(&format!("blackout of {length} s"), seed, &call);
            let end = (20 + length) * SECOND;
            let low = call.mean_estimate(end - 500 * MS, end);
            let wanted = VOICE + Bitrate::kbit(2500);
            let known = call.estimates.iter().find(|(at, estimate)| *at > end && *estimate >= wanted);
            let shown = call.shown(0, H, end).map(|at| at - end);
            println!("  {low} in it, enough known {:?} and h {shown:?} after it", known.map(|(at, _)| *at - end));
            assert!(length == 1 || low < Bitrate::kbit(600), "{low}");
            assert!(known.is_some_and(|(at, _)| *at - end < 5 * SECOND));
            assert!(shown.is_some_and(|after| after < 10 * SECOND), "{:?}", call.changes(0));
        }
    });
}

/// A way of moderate faults, drawn by the seed.
fn any_way(random: &mut fastrand::Rng, kbit: std::ops::Range<u64>) -> Conditions {
    Conditions {
        rate: Some(random.u64(kbit) * 1000),
        queue: random.u32(100..1000) * MS,
        delay: random.u32(1..150) * MS,
        jitter: random.u32(0..20) * MS,
        loss: f64::from(random.u8(0..4)) / 100.0,
        reorder: f64::from(random.u8(0..3)) / 100.0,
        duplicate: f64::from(random.u8(0..2)) / 100.0,
        ..Conditions::default()
    }
}

#[test]
fn whatever_the_way_is_like_a_layer_that_fits_is_shown() {
    for_seeds(30, |seed| {
        for (kbit, layer, least) in [(700..2000, L, 0.9), (4000..20_000, H, 0.8)] {
            let down = any_way(&mut fastrand::Rng::with_seed(seed), kbit);
            let mut call = screen(seed, down);
            call.run_until(120 * SECOND);
            report(&format!("{down:?}"), seed, &call);
            let part = call.part(0, layer, 10 * SECOND);
            println!("  {layer:?} {:.0} % of the time", 100.0 * part);
            assert!(part > least, "{down:?}: {part} {:?}", call.changes(0));
        }
    });
}

#[test]
fn a_way_that_hardly_carries_the_high_layer_switches_seldom() {
    for_seeds(30, |seed| {
        let down = any_way(&mut fastrand::Rng::with_seed(seed), 2000..4000);
        let mut call = screen(seed, down);
        call.run_until(300 * SECOND);
        report(&format!("{down:?}"), seed, &call);
        let (high, low) = (call.part(0, H, 10 * SECOND), call.part(0, L, 10 * SECOND));
        println!("  h {:.0} %, l {:.0} % of the time, {:?}", 100.0 * high, 100.0 * low, call.changes(0));
        assert!(high + low > 0.99, "{:?}", call.changes(0));
        assert!(call.switches(0) <= 8, "{:?}", call.changes(0));
    });
}

#[test]
fn feedback_that_gets_lost_does_no_harm() {
    for_seeds(SEEDS, |seed| {
        let mut call = screen(seed, way(10_000));
        call.set_up(Duration::ZERO, Conditions { loss: 0.3, reorder: 0.1, duplicate: 0.1, ..way(1000) });
        call.run_until(120 * SECOND);
        report("30 % of the feedback lost", seed, &call);
        assert!(call.part(0, H, 10 * SECOND) > 0.95, "{:?}", call.changes(0));
    });
}

#[test]
fn a_client_that_reports_loss_alone_gets_what_it_does_not_lose() {
    for_seeds(SEEDS, |seed| {
        let mut call = screen(seed, way(10_000));
        call.feedback = Feedback::Reports;
        call.run_until(60 * SECOND);
        report("10 Mbit/s, reports", seed, &call);
        println!("  h after {:?}", call.shown(0, H, Duration::ZERO));
        assert_eq!(call.part(0, H, 10 * SECOND), 1.0, "{:?}", call.changes(0));

        let mut call = screen(seed, way(1000));
        call.feedback = Feedback::Reports;
        call.run_until(300 * SECOND);
        report("1 Mbit/s, reports", seed, &call);
        let lost = call.voice.lost(10 * SECOND, 300 * SECOND);
        println!(
            "  l {:.0} % of the time, voice lost {lost:.4}, {:?}",
            100.0 * call.part(0, L, 10 * SECOND),
            call.changes(0)
        );
        assert!(call.part(0, L, 10 * SECOND) > 0.9, "{:?}", call.changes(0));
        assert!(lost < 0.03, "{lost}");
    });
}

#[test]
fn a_client_that_reports_nothing_gets_the_low_layer() {
    for_seeds(SEEDS, |seed| {
        let mut call = screen(seed, way(10_000));
        call.feedback = Feedback::Nothing;
        call.run_until(60 * SECOND);
        report("no reports", seed, &call);
        let rate = call.pictures_per_second(0, 5 * SECOND, 60 * SECOND);
        assert!(rate >= 4.9, "{rate}");
        assert_eq!(call.padding, 0);
    });
}
