//! Another process goes on with the calls.
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::data_channel;
use crate::signal::message::RtcType;
use crate::signal::negotiation::fixtures::VOICE;
use rtcd_media::codec::Codec;
use rtcd_media::sfu::command::{Command, Event, WorkerSet};
use rtcd_media::transport::TransportEvent;

/// Ann hears bob, on another worker, and has a lock; cleo has joined and not offered; dan has offered and was not heard.
pub(super) fn call() -> World {
    let mut world = World::new();
    world.arrive(join("ann"), 1, "");
    world.arrive(join("bob"), 0, VOICE);
    world.start("bob", "1", Codec::Opus);
    world.answer("ann").expect("it is offered");
    world.lock("ann");
    world.join("cleo");
    world.join("dan");
    world.offer("dan", VOICE);
    world.heard("ann");
    world.forget();
    world.commands.clear();
    world
}

#[test]
fn sessions_calls_and_what_flows_are_as_before_and_workers_hear_where() {
    let mut world = call();
    let before = world.signalling.sessions(&"mattermost".into(), &"call".into());
    world.hand_over(|_| ());
    assert_eq!(world.signalling.sessions(&"mattermost".into(), &"call".into()), before);
    assert_eq!(before.map(|sessions| sessions.len()), Some(4));
    assert_eq!(world.sent, [], "nobody is told anything");
    let joined = world.counts.iter().filter(|count| matches!(count, Count::SessionJoined(_))).count();
    assert_eq!(joined, 4, "gauges begin anew");
    // Bob, who was on worker 0, is on 1 now, and ann on 0.
    let mut receivers = WorkerSet::default();
    receivers.insert(WorkerId(0));
    let routed = world.commands.iter().any(|(worker, command)| {
        *worker == WorkerId(1) && matches!(command, Command::Route { workers, .. } if *workers == receivers)
    });
    assert!(routed, "{:?}", world.commands);
    assert!(!world.commands.iter().any(|(_, command)| matches!(command, Command::AddOutgoing(_))), "it flows");
    world.connect("mattermost", "ws2");
    world.leave("bob");
    assert!(world.is_live("bob"), "that websocket was another process's");
    world.say("ws2", ClientMessage::Leave { session: "bob".into() });
    let stopped = world.commands.iter().any(|(_, command)| matches!(command, Command::RemoveOutgoing { .. }));
    assert!(stopped && !world.is_live("bob"));
}

#[test]
fn whoever_was_in_the_middle_of_something_comes_to_its_end() {
    let mut world = call();
    world.hand_over(|_| ());
    world.connect("mattermost", "ws");
    world.unlock("ann");
    world.lock("ann");
    assert_eq!(world.heard("ann"), [Heard::Lock(true)], "the lock was ann's, and is again");
    world.offer("cleo", VOICE);
    assert_eq!(world.told("cleo"), [RtcType::Sdp, RtcType::Ice], "the first offer of a session that had just joined");
    assert_eq!(world.home("cleo"), Some(Some(WorkerId(0))), "it is to be where ann is now");
    world.claim("dan", 0);
    let told =
        |command: &Command| matches!(command, Command::SetIncoming { transport, .. } if *transport == world.id("dan"));
    assert!(world.commands.iter().any(|(_, command)| told(command)), "what had waited for its first check");
    world.pass(seconds(6));
    assert!(!world.commands.iter().any(|(_, command)| matches!(command, Command::Close { .. })));
}

#[test]
fn an_offer_of_ours_that_was_not_answered_yet_is_answered_to_the_next_process() {
    let mut world = World::new();
    world.arrive(join("ann"), 1, "");
    world.arrive(join("bob"), 0, VOICE);
    world.start("bob", "1", Codec::Opus);
    world.hand_over(|_| ());
    assert_eq!(world.flows_to("ann").len(), 0);
    assert!(world.answer("ann").is_some());
    assert_eq!(world.flows_to("ann").len(), 1, "the answer was to an offer that the process before had made");
}

/// What the plane has told at the very end, and what was said to a client that is not connected any more.
#[test]
fn what_happens_between_the_two_is_told_when_the_client_is_back() {
    let mut world = call();
    world.signalling.handle_event(
        world.now,
        Event::Transport {
            transport: world.id("bob"),
            event: TransportEvent::Closed(rtcd_media::transport::CloseReason::Peer),
        },
    );
    world.hand_over(|_| ());
    assert!(!world.is_live("bob"));
    assert_eq!(world.sent, [], "there is nobody to tell");
    world.connect("mattermost", "ws2");
    assert_eq!(world.ended(), ["bob"]);
    assert!(world.commands.iter().any(|(_, command)| matches!(command, Command::Close { .. })), "workers hear of it");
    assert_eq!(world.errors(ErrorKind::Undelivered), 0);
    world.say("ws2", ClientMessage::Leave { session: "bob".into() });
    assert_eq!(world.errors(ErrorKind::Signaling), 0, "it is known to have ended");
}

#[test]
fn a_session_that_cannot_be_read_ends_alone_and_is_told() {
    let mut world = call();
    let bob = world.id("bob");
    world.hand_over(|record| record.spoil(bob));
    assert!(world.is_live("ann") && !world.is_live("bob"));
    assert_eq!(
        world
            .commands
            .iter()
            .filter(|(_, command)| matches!(command, Command::Close { transport } if *transport == bob))
            .count(),
        WORKERS
    );
    let orphaned = world.commands.iter().any(|(_, command)| matches!(command, Command::RemoveOutgoing { .. }));
    assert!(orphaned, "ann hears nothing of bob any more");
    world.connect("mattermost", "ws2");
    assert_eq!(world.ended(), ["bob"]);
    world.channel("ann", data_channel::PONG);
    assert!(world.is_live("ann"));
}
