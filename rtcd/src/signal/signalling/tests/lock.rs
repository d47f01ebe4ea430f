//! Offers and the lock that keeps them from crossing.
use super::super::lock::{GRAB_TIMEOUT, HOLD_TIMEOUT};
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::data_channel;
use crate::signal::message::{Join, RtcType};
use crate::signal::negotiation::fixtures::{FIRST, VOICE, with_transport};
use rtcd_media::codec::Codec;

/// Ann hears; Bob speaks, and what he says is not offered to her yet.
fn world_with_something_to_offer() -> World {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, VOICE);
    world.heard("ann");
    world
}

#[test]
fn a_lock_is_granted_to_one_at_a_time() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.lock("ann");
    world.lock("ann");
    world.unlock("ann");
    world.lock("ann");
    assert_eq!(world.heard("ann"), [Heard::Lock(true), Heard::Lock(false), Heard::Lock(true)]);
    assert!(world.counts.contains(&Count::Sample("mattermost".into(), Sample::LockHeld(Duration::ZERO))));
}

#[test]
fn a_lock_is_one_sessions_own() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.arrive(join("bob"), 0, "");
    world.lock("ann");
    world.lock("bob");
    assert_eq!(world.heard("bob"), [Heard::Lock(true)]);
}

#[test]
fn an_offer_waits_for_the_lock_and_goes_out_with_the_unlock() {
    let mut world = world_with_something_to_offer();
    world.lock("ann");
    world.start("bob", "1", Codec::Opus);
    world.pass(seconds(1));
    assert_eq!(world.heard("ann"), [Heard::Lock(true)]);
    world.unlock("ann");
    let waited = Sample::LockGrabbed(seconds(1));
    assert!(world.counts.contains(&Count::Sample("mattermost".into(), waited)));
    assert_eq!(world.offers_to("ann").len(), 1);
}

#[test]
fn our_waiting_offer_has_the_lock_before_the_participant_gets_it_again() {
    let mut world = world_with_something_to_offer();
    world.lock("ann");
    world.start("bob", "1", Codec::Opus);
    world.heard("ann");
    world.unlock("ann");
    world.lock("ann");
    let heard = world.heard("ann");
    assert!(matches!(heard[..], [Heard::MediaMap(_), Heard::Description { .. }, Heard::Lock(false)]), "{heard:?}");
}

#[test]
fn a_media_map_goes_before_the_offer_and_names_the_sender_of_each_section() {
    let mut world = world_with_something_to_offer();
    world.start("bob", "1", Codec::Opus);
    let heard = world.heard("ann");
    let map = data_channel::media_map([("s0", data_channel::TrackKind::Voice, "bob")].into_iter());
    assert_eq!(heard.first(), Some(&Heard::MediaMap(map)));
    assert!(matches!(&heard[1..], [Heard::Description { kind, sdp }] if kind == "offer" && sdp.contains("a=mid:s0")));
}

#[test]
fn a_lock_that_is_held_for_ten_seconds_is_taken_back_and_our_offer_goes_out() {
    let mut world = world_with_something_to_offer();
    world.lock("ann");
    world.start("bob", "1", Codec::Opus);
    world.heard("ann");
    world.pass(HOLD_TIMEOUT - millis(1));
    assert_eq!(world.heard("ann"), []);
    world.pass(millis(1));
    assert_eq!(world.offers_to("ann").len(), 1);
    world.unlock("ann");
    assert_eq!(world.errors(ErrorKind::Signaling), 0, "an unlock that comes late is no fault");
    world.unlock("ann");
    assert_eq!(world.errors(ErrorKind::Signaling), 1, "a second one is");
}

#[test]
fn an_offer_that_waits_for_five_seconds_is_counted_once() {
    let mut world = world_with_something_to_offer();
    world.lock("ann");
    world.start("bob", "1", Codec::Opus);
    world.pass(GRAB_TIMEOUT - millis(1));
    assert_eq!(world.errors(ErrorKind::SignalingLockTimeout), 0);
    world.pass(seconds(2));
    assert_eq!(world.errors(ErrorKind::SignalingLockTimeout), 1);
}

#[test]
fn an_offer_without_an_answer_is_made_again_after_ten_seconds() {
    let mut world = world_with_something_to_offer();
    world.start("bob", "1", Codec::Opus);
    let first = world.offers_to("ann").pop().expect("an offer");
    world.pass(HOLD_TIMEOUT);
    let again = world.offers_to("ann").pop().expect("the same again");
    assert_eq!(section_count(&first), section_count(&again));
    assert_eq!(world.errors(ErrorKind::SignalingAnswerTimeout), 1);
}

#[test]
fn an_offer_that_crosses_ours_is_ignored_and_no_fault() {
    let mut world = world_with_something_to_offer();
    world.start("bob", "1", Codec::Opus);
    world.forget();
    world.offer("ann", VOICE);
    assert_eq!(world.told("ann"), []);
    assert_eq!(world.errors(ErrorKind::Signaling), 0);
}

#[test]
fn whatever_offer_is_refused_its_lock_is_free_at_once() {
    let mut world = world_with_something_to_offer();
    for refused in ["no JSON", &json("offer", "no SDP"), &json("pranswer", &with_transport(FIRST, "actpass"))] {
        world.forget();
        world.lock("ann");
        world.rtc("ann", RtcType::Sdp, refused);
        assert_eq!(world.errors(ErrorKind::Signaling), 1, "{refused}");
        world.lock("ann");
        assert_eq!(world.heard("ann"), [Heard::Lock(true), Heard::Lock(true)], "{refused}");
        world.unlock("ann");
    }
}

#[test]
fn an_answer_goes_the_way_that_its_offer_came() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.forget();
    let offer = json("offer", &with_transport(&format!("{FIRST}{VOICE}"), "actpass"));
    world.channel("ann", &data_channel::sdp(offer.as_bytes()));
    assert!(matches!(&world.heard("ann")[..], [Heard::Description { kind, .. }] if kind == "answer"));
    assert_eq!(world.told("ann"), []);
}

#[test]
fn offers_take_the_websocket_of_who_wants_no_description_on_the_data_channel() {
    let mut world = World::new();
    world.arrive(Join { dc_signaling: false, ..join("ann") }, 0, "");
    world.arrive(join("bob"), 0, VOICE);
    world.forget();
    world.start("bob", "1", Codec::Opus);
    assert_eq!(world.told("ann"), [RtcType::Sdp]);
    assert!(matches!(world.heard("ann")[..], [Heard::MediaMap(_)]));
}

#[test]
fn a_ping_is_answered() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, "");
    world.channel("ann", &[1]);
    world.channel("ann", &[77]);
    assert_eq!(world.heard("ann"), [Heard::Pong]);
    assert_eq!(world.errors(ErrorKind::DataChannel), 1);
}
