//! The order of what a session says, what that may cost, and who pays.
use super::super::session::FIRST_OFFER_TIMEOUT;
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::message::RtcType;
use crate::signal::negotiation::fixtures::{VOICE, camera};
use rtcd_media::sfu::command::Command;

fn refused(world: &World) -> Vec<&'static str> {
    let reason = |count: &Count| if let Count::Refused(reason) = count { Some(*reason) } else { None };
    world.counts.iter().filter_map(reason).collect()
}

/// Ann's microphone is on, and readers take their time from now on.
fn world_with_slow_readers() -> World {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.slow_readers = true;
    world
}

/// A message of Ann that has used `cost` of a core.
fn used(world: &mut World, cost: Duration) {
    let message = crate::signal::message::RtcMessage {
        group: "mattermost".into(),
        call: "call".into(),
        user: "user".into(),
        session: "ann".into(),
        kind: RtcType::Mute,
        data: Vec::new(),
    };
    let message = Ok(ClientMessage::Rtc(message));
    world.costly_step(cost, |signalling, now| signalling.handle_message(now, "ws".into(), message));
}

#[test]
fn what_follows_a_description_waits_until_that_has_been_read() {
    let mut world = world_with_slow_readers();
    world.offer("ann", &format!("{VOICE}{}", camera("2", 96, "VP8", "")));
    world.video_on("ann", "camera");
    assert_eq!(world.reading.len(), 1);
    world.read(millis(1));
    let track = world.track("ann", "2");
    assert!(track.open, "the camera was on after the offer was known");
    assert_eq!(world.errors(ErrorKind::Signaling), 0);
}

#[test]
fn a_microphone_is_off_at_once_whatever_waits() {
    let mut world = world_with_slow_readers();
    world.offer("ann", VOICE);
    world.rtc("ann", RtcType::Mute, "");
    assert!(world.commands.iter().any(|(_, command)| matches!(command, Command::SetGate { open: false, .. })));
}

#[test]
fn no_more_are_read_at_a_time_than_there_are_readers() {
    let mut world = world_with_slow_readers();
    for session in ["bob", "cid"] {
        world.join(session);
        world.offer(session, VOICE);
    }
    assert_eq!(world.reading.len(), READERS);
    assert_eq!(world.told("cid"), []);
    world.read(millis(1));
    world.read(millis(1));
    assert_eq!(world.told("cid").first(), Some(&RtcType::Sdp));
}

#[test]
fn a_description_whose_session_has_ended_while_it_was_read_makes_room_for_the_next() {
    let mut world = world_with_slow_readers();
    world.offer("ann", VOICE);
    world.leave("ann");
    world.join("bob");
    world.offer("bob", VOICE);
    world.read(millis(1));
    world.read(millis(1));
    assert_eq!(world.told("bob").first(), Some(&RtcType::Sdp));
}

#[test]
fn a_session_whose_first_offer_is_still_to_be_read_has_twice_the_time() {
    let mut world = world_with_slow_readers();
    world.join("bob");
    world.offer("bob", VOICE);
    world.pass(FIRST_OFFER_TIMEOUT * 2 - millis(1));
    assert!(world.is_live("bob"));
    world.pass(seconds(1));
    assert_eq!(world.ended(), ["bob"], "but not for ever");
}

#[test]
fn a_session_that_has_used_more_than_its_share_waits_until_that_is_paid() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    // A second at once, then a tenth of a core.
    used(&mut world, millis(1100));
    world.lock("ann");
    world.pass(millis(900));
    assert_eq!(world.heard("ann"), []);
    world.pass(millis(200));
    assert_eq!(world.heard("ann"), [Heard::Lock(true)]);
}

#[test]
fn time_is_charged_to_the_session_that_it_was_used_for_alone() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, "");
    used(&mut world, seconds(2));
    world.lock("bob");
    assert_eq!(world.heard("bob"), [Heard::Lock(true)]);
    let message = Ok(ClientMessage::Join(join("cid")));
    world.costly_step(seconds(60), |signalling, now| signalling.handle_message(now, "ws".into(), message));
    world.rtc("cid", RtcType::ScreenOff, "");
    world.lock("bob");
    assert_eq!(world.heard("bob"), [Heard::Lock(false)], "nobody pays for a join");
    world.lock("ann");
    assert_eq!(world.heard("ann"), [], "Ann waits");
}

#[test]
fn reading_is_charged_to_the_session_whose_description_it_was() {
    let mut world = world_with_slow_readers();
    world.offer("ann", VOICE);
    world.read(seconds(2));
    world.lock("ann");
    assert_eq!(world.heard("ann"), []);
}

#[test]
fn what_needs_no_order_is_dropped_when_it_would_have_to_wait() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    used(&mut world, seconds(2));
    world.rtc("ann", RtcType::Ice, r#"{"candidate":""}"#);
    world.channel("ann", &[1]);
    assert_eq!(refused(&world), ["session", "session"]);
    assert_eq!(world.heard("ann"), []);
}

#[test]
fn a_session_that_says_more_than_may_wait_is_refused_and_loses_its_lock() {
    let mut world = world_with_slow_readers();
    world.lock("ann");
    world.heard("ann");
    (0..70).for_each(|_| world.offer("ann", VOICE));
    assert_eq!(refused(&world), ["session"; 5], "one is being read and 64 wait");
    assert_eq!(world.errors(ErrorKind::Signaling), 5);
    let held = Count::Sample("mattermost".into(), Sample::LockHeld(Duration::ZERO));
    assert_eq!(world.counts.iter().filter(|count| **count == held).count(), 1);
}

#[test]
fn a_message_longer_than_its_type_has_is_refused() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.screen_on("ann", &"x".repeat(16 * 1024));
    assert_eq!(world.errors(ErrorKind::Signaling), 1);
}

#[test]
fn a_session_without_a_peer_that_says_too_much_is_refused() {
    let mut world = World::new();
    world.join("ann");
    world.offer("ann", VOICE);
    (0..300).for_each(|_| world.rtc("ann", RtcType::Mute, ""));
    // One place has what is sent in the sections.
    assert_eq!(world.errors(ErrorKind::Signaling), 300 - 255);
}
