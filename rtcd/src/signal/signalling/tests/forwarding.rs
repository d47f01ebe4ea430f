//! Who receives what, and where it is sent.
use super::super::session::AV1_PATIENCE;
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::message::{Join, RtcType};
use crate::signal::negotiation::fixtures::{VOICE, camera};
use rtcd_media::codec::Codec;
use rtcd_media::sfu::command::{Command, WorkerSet};

fn codecs(world: &World, session: &str) -> Vec<Codec> {
    world.flows_to(session).iter().map(|outgoing| outgoing.codec).collect()
}

fn workers(ids: &[u8]) -> WorkerSet {
    let mut set = WorkerSet::default();
    ids.iter().for_each(|id| set.insert(WorkerId(*id)));
    set
}

/// A screen in AV1 and, in the next section, in VP8.
fn screen_in_both() -> String {
    (camera("1", 45, "AV1", "") + &camera("2", 96, "VP8", "")).replace("msid:camera", "msid:screen")
}

#[test]
fn a_track_flows_once_its_first_packet_has_come_and_the_receiver_has_answered() {
    let mut world = World::new();
    world.arrive(join("ann"), 1, "");
    world.arrive(join("bob"), 0, VOICE);
    assert_eq!(world.heard("ann"), [], "nothing has come of it");
    world.start("bob", "1", Codec::Opus);
    assert_eq!(codecs(&world, "ann"), []);
    world.answer("ann").expect("it is offered");
    let flows = world.flows_to("ann");
    let bob = (world.id("bob"), WorkerId(0));
    assert_eq!(flows.iter().map(|flow| (flow.publisher, &*flow.cname)).collect::<Vec<_>>(), [(bob, "bob")]);
    assert_eq!(codecs(&world, "bob"), [], "nobody hears itself");
}

#[test]
fn the_receiver_is_known_before_the_road_to_it_is_open() {
    let mut world = World::new();
    world.arrive(join("ann"), 1, "");
    world.arrive(join("bob"), 0, VOICE);
    world.start("bob", "1", Codec::Opus);
    world.answer("ann");
    let [.., (at_receiver, add), (at_sender, route)] = &world.commands[..] else { panic!("two commands at least") };
    assert!(matches!(add, Command::AddOutgoing(_)) && *at_receiver == WorkerId(1));
    assert!(matches!(route, Command::Route { workers: to, .. } if *to == workers(&[1])) && *at_sender == WorkerId(0));
}

#[test]
fn a_worker_gets_a_track_from_its_first_receiver_until_its_last_has_gone() {
    let mut world = World::new();
    world.arrive(join("bob"), 0, VOICE);
    world.start("bob", "1", Codec::Opus);
    for (session, worker) in [("ann", 1), ("cid", 1), ("dan", 0)] {
        world.arrive(join(session), worker, "");
    }
    assert_eq!(world.route("bob", "1"), workers(&[0, 1]));
    world.leave("dan");
    assert_eq!(world.route("bob", "1"), workers(&[1]));
    world.leave("ann");
    assert_eq!(world.route("bob", "1"), workers(&[1]));
    world.leave("cid");
    assert_eq!(world.route("bob", "1"), workers(&[]));
}

#[test]
fn who_comes_late_gets_all_that_runs_in_its_call() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.arrive(join("bob"), 1, &format!("{VOICE}{}", camera("2", 96, "VP8", "")));
    world.arrive(Join { call: "another".into(), ..join("dan") }, 0, VOICE);
    world.video_on("bob", "camera");
    for (session, mid, codec) in
        [("ann", "1", Codec::Opus), ("bob", "1", Codec::Opus), ("bob", "2", Codec::Vp8), ("dan", "1", Codec::Opus)]
    {
        world.start(session, mid, codec);
    }
    world.arrive(join("cid"), 0, "");
    let mut senders: Vec<_> = world.flows_to("cid").iter().map(|flow| flow.cname.clone()).collect();
    senders.sort_unstable();
    assert_eq!(senders, ["ann", "bob", "bob"]);
}

#[test]
fn who_leaves_is_not_sent_any_more_and_its_pictures_are_taken_out_of_the_offer() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, &format!("{VOICE}{}", camera("2", 96, "VP8", "")));
    world.video_on("bob", "camera");
    world.start("bob", "1", Codec::Opus);
    world.answer("ann");
    world.start("bob", "2", Codec::Vp8);
    world.answer("ann");
    assert_eq!(codecs(&world, "ann").len(), 2);
    world.leave("bob");
    assert_eq!(codecs(&world, "ann"), []);
    let offer = world.answer("ann").expect("an offer without him");
    assert!(!offer.contains("msid:bob"), "{offer}");
}

#[test]
fn the_end_of_sound_alone_needs_no_offer() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, VOICE);
    world.start("bob", "1", Codec::Opus);
    world.answer("ann");
    world.leave("bob");
    assert_eq!(codecs(&world, "ann"), []);
    assert_eq!(world.heard("ann"), []);
}

#[test]
fn sections_are_used_again_when_tracks_come_and_go() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, &camera("1", 96, "VP8", "").replace("msid:camera", "msid:screen"));
    for round in 0..5 {
        world.screen_on("bob", "screen");
        world.start("bob", "1", Codec::Vp8);
        let offer = world.answer("ann");
        assert_eq!(codecs(&world, "ann"), [Codec::Vp8], "round {round}");
        assert!(offer.is_some_and(|offer| section_count(&offer) == 2), "the data channel and one section");
        world.rtc("bob", RtcType::ScreenOff, "");
        world.answer("ann");
        assert_eq!(codecs(&world, "ann"), [], "round {round}");
    }
}

#[test]
fn av1_goes_to_those_who_can_and_vp8_to_the_others() {
    let mut world = World::new();
    world.arrive(Join { av1_support: true, ..join("ann") }, 0, "");
    world.arrive(join("cid"), 0, "");
    world.arrive(Join { av1_support: true, ..join("bob") }, 0, &screen_in_both());
    world.screen_on("bob", "screen");
    world.start("bob", "2", Codec::Vp8);
    assert_eq!((world.answer("ann"), world.answer("cid").is_some()), (None, true), "Ann waits for AV1");
    world.start("bob", "1", Codec::Av1);
    world.answer("ann");
    assert_eq!((codecs(&world, "ann"), codecs(&world, "cid")), (vec![Codec::Av1], vec![Codec::Vp8]));
}

#[test]
fn av1_that_does_not_come_is_waited_for_two_seconds() {
    let mut world = World::new();
    world.arrive(Join { av1_support: true, ..join("ann") }, 0, "");
    world.arrive(Join { av1_support: true, ..join("bob") }, 0, &screen_in_both());
    world.screen_on("bob", "screen");
    world.start("bob", "2", Codec::Vp8);
    world.pass(AV1_PATIENCE - millis(1));
    assert_eq!(world.heard("ann"), []);
    world.pass(millis(1));
    world.answer("ann");
    assert_eq!(codecs(&world, "ann"), [Codec::Vp8]);
    world.start("bob", "1", Codec::Av1);
    world.answer("ann");
    assert_eq!(codecs(&world, "ann"), [Codec::Av1], "it comes after all, in place of the other");
}

#[test]
fn a_sharer_without_av1_support_is_seen_in_vp8_by_all() {
    let mut world = World::new();
    world.arrive(Join { av1_support: true, ..join("ann") }, 0, "");
    world.arrive(join("bob"), 0, &screen_in_both());
    world.screen_on("bob", "screen");
    world.start("bob", "1", Codec::Av1);
    world.start("bob", "2", Codec::Vp8);
    world.answer("ann");
    assert_eq!(codecs(&world, "ann"), [Codec::Vp8]);
}

#[test]
fn a_receiver_that_stops_a_section_gets_nothing_in_it_and_is_not_offered_it_again() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, VOICE);
    world.start("bob", "1", Codec::Opus);
    let offer = world.answer("ann").expect("an offer");
    let section = offer.split("m=").find(|section| section.contains("a=mid:s0")).expect("our section");
    let transport = ["a=ice", "a=candidate", "a=end-of", "a=finger", "a=setup", "a=msid", "a=ssrc"];
    let lines = section.lines().filter(|line| !transport.iter().any(|prefix| line.starts_with(prefix)));
    let stopped: String = lines.flat_map(|line| [line, "\r\n"]).collect();
    world.offer("ann", &format!("m={}", stopped.replace("audio 9 ", "audio 0 ")));
    assert_eq!(codecs(&world, "ann"), []);
    assert_eq!(world.offers_to("ann"), [""; 0]);
}
