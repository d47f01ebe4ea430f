//! How sessions begin and end, and who is told.
use super::super::session::FIRST_OFFER_TIMEOUT;
use super::participant::*;
use super::world::*;
use super::*;
use crate::metrics::ConnState;
use crate::signal::message::{Join, RtcType};
use crate::signal::negotiation::fixtures::{FIRST, VOICE, with_transport};
use rtcd_media::sfu::command::Command;
use rtcd_media::transport::{CONNECT_TIMEOUT, CloseReason, TransportEvent};

fn states(world: &World) -> Vec<ConnState> {
    let state = |count: &Count| if let Count::ConnState(state) = count { Some(*state) } else { None };
    world.counts.iter().filter_map(state).collect()
}

/// The workers that were told to end a transport.
fn closed_on(world: &World, id: TransportId) -> Vec<WorkerId> {
    let of = |command: &Command| matches!(command, Command::Close { transport } if *transport == id);
    world.commands.iter().filter(|(_, command)| of(command)).map(|(worker, _)| *worker).collect()
}

#[test]
fn a_call_has_its_sessions_by_age_and_is_gone_after_the_last() {
    let mut world = World::new();
    let sessions = |world: &World| {
        let infos = world.signalling.sessions(&"mattermost".into(), &"call".into());
        infos.map(|infos| infos.iter().map(|info| info.session.as_str().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(sessions(&world), None);
    ["ann", "bob"].iter().for_each(|session| world.join(session));
    assert_eq!(sessions(&world), Some(vec!["ann".into(), "bob".into()]));
    assert_eq!(world.signalling.sessions(&"stranger".into(), &"call".into()), None);
    assert_eq!(world.signalling.status(), Status { calls: 1, sessions: 2, ..Status::default() });
    ["ann", "bob"].iter().for_each(|session| world.leave(session));
    assert_eq!(sessions(&world), None);
    assert_eq!(world.signalling.status(), Status::default());
    assert_eq!(world.ended(), ["ann", "bob"]);
}

#[test]
fn a_first_offer_is_answered_with_our_candidates_and_opens_the_transport_on_every_worker() {
    let mut world = World::new();
    world.join("ann");
    assert_eq!(world.told("ann"), [], "a join has no answer of its own");
    world.offer("ann", VOICE);
    assert_eq!(world.told("ann"), [RtcType::Sdp, RtcType::Ice]);
    let opened = |(worker, command): &(WorkerId, Command)| matches!(command, Command::Open { .. }).then_some(*worker);
    assert_eq!(world.commands.iter().filter_map(opened).collect::<Vec<_>>(), [WorkerId(0), WorkerId(1)]);
}

#[test]
fn members_of_a_small_call_are_to_be_where_the_others_are_and_those_of_a_larger_one_anywhere() {
    let mut world = World::with_bound(1000);
    (1..=100).for_each(|session| world.join(&session.to_string()));
    world.offer("1", VOICE);
    assert_eq!(world.home("1"), Some(None), "nobody is there yet");
    world.claim("1", 1);
    world.offer("2", VOICE);
    assert_eq!(world.home("2"), Some(Some(WorkerId(1))));
    world.join("101");
    world.offer("101", VOICE);
    assert_eq!(world.home("101"), None);
    world.leave("101");
    world.offer("3", VOICE);
    assert_eq!(world.home("3"), Some(Some(WorkerId(1))), "it is small again");
}

#[test]
fn what_is_said_to_a_transport_waits_until_a_worker_has_it() {
    let mut world = World::new();
    world.join("ann");
    world.offer("ann", VOICE);
    world.offer("ann", VOICE);
    let before = world.commands.len();
    world.claim("ann", 1);
    assert!(matches!(&world.commands[before..], [(WorkerId(1), Command::SetIncoming { .. })]), "the latest alone");
}

#[test]
fn a_session_that_makes_no_offer_is_closed_after_ten_seconds() {
    let mut world = World::new();
    world.join("ann");
    world.pass(FIRST_OFFER_TIMEOUT - millis(1));
    assert_eq!(world.ended(), [""; 0]);
    world.pass(millis(1));
    assert_eq!(world.ended(), ["ann"]);
    assert_eq!(states(&world), [ConnState::Closed]);
    assert_eq!(world.signalling.status(), Status::default());
}

#[test]
fn a_session_that_no_check_comes_of_has_failed_after_thirty_seconds() {
    let mut world = World::new();
    world.join("ann");
    world.pass(seconds(9));
    world.offer("ann", VOICE);
    let id = world.id("ann");
    world.pass(CONNECT_TIMEOUT - millis(1));
    assert!(world.is_live("ann"));
    world.pass(millis(1));
    assert_eq!(world.ended(), ["ann"]);
    assert_eq!(states(&world), [ConnState::Failed]);
    assert_eq!(closed_on(&world, id), [WorkerId(0), WorkerId(1)]);
}

#[test]
fn a_session_whose_transport_is_up_has_no_deadline() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.pass(seconds(24 * 3600));
    assert!(world.is_live("ann"));
    assert_eq!(world.signalling.next_timeout(world.now), None);
}

#[test]
fn a_session_ends_with_its_transport() {
    for (reason, state) in [(CloseReason::Peer, ConnState::Closed), (CloseReason::ConsentExpired, ConnState::Failed)] {
        let mut world = World::new();
        world.arrive(join("ann"), 0, VOICE);
        world.event("ann", TransportEvent::Closed(reason));
        assert_eq!(world.ended(), ["ann"]);
        assert_eq!(states(&world), [ConnState::Connected, state]);
        world.leave("ann");
        assert_eq!(world.ended(), ["ann"], "it is told once");
        assert_eq!(world.errors(ErrorKind::Signaling), 0, "who leaves then has done nothing wrong");
    }
}

#[test]
fn a_join_beyond_the_bound_is_answered_with_close() {
    let mut world = World::with_bound(2);
    ["ann", "bob", "cid"].iter().for_each(|session| world.join(session));
    assert_eq!(world.ended(), ["cid"]);
    assert_eq!(world.errors(ErrorKind::Join), 1);
    world.leave("ann");
    world.join("cid");
    assert!(world.is_live("cid"), "there is room again");
}

#[test]
fn a_session_id_that_is_live_already_leaves_the_first_one_untouched() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    let id = world.id("ann");
    world.say("ws", ClientMessage::Join(Join { call: "another".into(), ..join("ann") }));
    assert_eq!(world.id("ann"), id);
    assert_eq!(world.ended(), [""; 0], "a close would end the first one");
    assert_eq!(world.errors(ErrorKind::Join), 1);
    assert_eq!(world.signalling.status().calls, 1);
}

#[test]
fn two_clients_may_use_the_same_session_id() {
    let mut world = World::new();
    world.connect("another", "ws2");
    world.join("ann");
    world.say("ws2", ClientMessage::Join(join("ann")));
    assert_eq!(world.signalling.status(), Status { calls: 2, sessions: 2, ..Status::default() });
    world.say("ws2", ClientMessage::Leave { session: "ann".into() });
    assert!(world.is_live("ann"));
    assert_eq!(world.sent_on("ws2").last(), Some(&&close("ann")));
}

#[test]
fn draining_takes_new_calls_and_counts_them() {
    let mut world = World::new();
    world.join("ann");
    world.step(|signalling, _| signalling.set_draining(true));
    world.join("bob");
    assert_eq!(world.signalling.status().calls_while_draining, 0, "a call that runs may grow");
    world.say("ws", ClientMessage::Join(Join { call: "another".into(), ..join("cid") }));
    assert!(world.is_live("cid"));
    world.step(|signalling, _| signalling.set_draining(true));
    assert_eq!(world.signalling.status(), Status { calls: 2, sessions: 3, draining: true, calls_while_draining: 1 });
}

#[test]
fn whoever_joins_when_all_has_ended_is_told_so() {
    let mut world = World::new();
    world.step(|signalling, now| signalling.handle_stop(now));
    world.join("ann");
    assert!(!world.is_live("ann"));
    assert_eq!(world.ended(), ["ann"]);
}

#[test]
fn draining_refuses_new_calls_only_and_only_when_told_to() {
    let mut world = World::new();
    world.signalling.settings.refuse_calls_while_draining = true;
    world.join("ann");
    world.step(|signalling, _| signalling.set_draining(true));
    world.join("bob");
    world.say("ws", ClientMessage::Join(Join { call: "another".into(), ..join("cid") }));
    assert!(world.is_live("bob"));
    assert_eq!(world.ended(), ["cid"]);
    assert!(world.signalling.status().draining);
    world.step(|signalling, _| signalling.set_draining(false));
    world.say("ws", ClientMessage::Join(Join { call: "another".into(), ..join("cid") }));
    assert!(world.is_live("cid"));
}

#[test]
fn a_stop_tells_the_end_of_every_session() {
    let mut world = World::new();
    world.connect("another", "ws2");
    world.say("ws2", ClientMessage::Join(join("dan")));
    ["ann", "bob", "cid"].iter().for_each(|session| world.join(session));
    world.step(|signalling, now| signalling.handle_stop(now));
    let mut ended = world.ended();
    ended.sort_unstable();
    assert_eq!(ended, ["ann", "bob", "cid", "dan"]);
    assert_eq!(world.signalling.status().sessions, 0);
}

#[test]
fn whoever_is_unregistered_hears_of_its_sessions_before_its_websockets_close() {
    let mut world = World::new();
    world.connect("mattermost", "ws2");
    world.connect("another", "ws3");
    world.say("ws3", ClientMessage::Join(join("dan")));
    ["ann", "bob"].iter().for_each(|session| world.join(session));
    world.step(|signalling, now| signalling.handle_client_gone(now, &"mattermost".into()));
    assert_eq!(world.ended().len(), 2);
    let mut closed: Vec<_> = world.closed.iter().map(|(conn, after)| (conn.as_str(), *after)).collect();
    closed.sort_unstable();
    assert_eq!(closed, [("ws", world.sent.len()), ("ws2", world.sent.len())], "behind all messages");
    world.join("eve");
    assert!(!world.is_live("eve"), "what it still says is nobody's");
    assert_eq!(world.signalling.status().sessions, 1, "another client's session goes on");
}

#[test]
fn new_candidates_are_told_to_those_who_still_look_for_us() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.join("bob");
    world.offer("bob", VOICE);
    world.join("cid");
    world.forget();
    let candidates = world.signalling.settings.candidates.clone();
    world.step(|signalling, _| signalling.set_candidates(candidates));
    assert_eq!((world.told("ann"), world.told("bob"), world.told("cid")), (vec![], vec![RtcType::Ice], vec![]));
}

#[test]
fn an_ice_restart_gets_new_credentials_on_every_worker_and_candidates_again() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    let before = world.commands.len();
    world.forget();
    let restart = with_transport(&format!("{FIRST}{VOICE}"), "actpass").replace("ice-ufrag:abcd", "ice-ufrag:efgh");
    world.describe("ann", "offer", &restart);
    let restarts = world.commands[before..].iter().filter_map(|(worker, command)| match command {
        Command::RestartIce { remote_ufrag, .. } => Some((*worker, remote_ufrag.as_str())),
        _ => None,
    });
    assert_eq!(restarts.collect::<Vec<_>>(), [(WorkerId(0), "efgh"), (WorkerId(1), "efgh")]);
    assert_eq!(world.told("ann"), [RtcType::Ice, RtcType::Sdp]);
}

#[test]
fn a_certificate_that_changes_ends_the_session() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    let other = with_transport(&format!("{FIRST}{VOICE}"), "actpass").replace("AB:AB", "CD:CD");
    world.describe("ann", "offer", &other);
    assert_eq!(world.ended(), ["ann"]);
}
