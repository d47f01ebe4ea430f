//! Which WebSocket a message takes, and what becomes of one that nobody takes.
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::message::RtcType;
use crate::signal::negotiation::fixtures::VOICE;

#[test]
fn the_first_message_of_a_websocket_is_hello() {
    let mut world = World::new();
    world.connect("mattermost", "ws2");
    let hello = ServerMessage::Hello { client: "mattermost".into(), conn: "ws2".into() };
    assert_eq!(world.sent_on("ws2"), [&hello]);
}

#[test]
fn messages_of_a_session_whose_websocket_died_take_the_youngest_of_its_client() {
    let mut world = World::new();
    world.join("ann");
    world.connect("mattermost", "ws2");
    world.connect("mattermost", "ws3");
    world.connect("another", "ws4");
    world.disconnect("ws");
    world.forget();
    world.pass(seconds(10));
    assert_eq!(world.sent, [("ws3".into(), close("ann"))]);
    assert_eq!(world.counts.first(), Some(&Count::ConnState(crate::metrics::ConnState::Closed)));
    assert_eq!(world.errors(ErrorKind::Undelivered), 0);
}

#[test]
fn a_session_moves_to_the_websocket_that_reconnects_it() {
    let mut world = World::new();
    world.connect("mattermost", "ws2");
    world.join("ann");
    world.say("ws2", ClientMessage::Reconnect { session: "ann".into() });
    world.forget();
    world.offer("ann", VOICE);
    assert_eq!(world.sent_on("ws").len(), 0);
    assert_eq!(world.sent_on("ws2").len(), 2, "answer and candidate, though the offer came over the first one");
}

#[test]
fn a_reconnect_of_a_session_that_is_not_there_is_answered_with_its_end() {
    let mut world = World::new();
    world.say("ws", ClientMessage::Reconnect { session: "ann".into() });
    assert_eq!(world.ended(), ["ann"]);
    assert_eq!(world.errors(ErrorKind::Signaling), 1);
    world.connect("another", "ws2");
    world.join("bob");
    world.say("ws2", ClientMessage::Reconnect { session: "bob".into() });
    assert_eq!(world.sent.last(), Some(&("ws2".into(), close("bob"))), "another client's session is none of its");
    assert!(world.is_live("bob"));
}

#[test]
fn refused_messages_take_another_websocket_in_their_order_and_the_session_stays_there() {
    let mut world = World::new();
    world.connect("mattermost", "ws2");
    world.join("ann");
    world.forget();
    world.full.insert("ws".into());
    world.offer("ann", VOICE);
    assert!(world.sent.iter().all(|(conn, _)| conn.as_str() == "ws2"));
    assert_eq!(world.told("ann"), [RtcType::Sdp, RtcType::Ice]);
    world.full.clear();
    world.leave("ann");
    assert!(world.is_live("ann"), "nothing is heard of a websocket that was dropped");
    world.say("ws2", ClientMessage::Leave { session: "ann".into() });
    assert_eq!(world.sent.last(), Some(&("ws2".into(), close("ann"))));
}

#[test]
fn a_message_that_no_websocket_takes_is_counted() {
    let mut world = World::new();
    world.join("ann");
    world.connect("another", "ws2");
    world.full.insert("ws".into());
    world.leave("ann");
    assert_eq!(world.ended(), [""; 0]);
    assert_eq!(world.errors(ErrorKind::Undelivered), 1);
    world.full.clear();
    world.connect("mattermost", "ws3");
    world.say("ws3", ClientMessage::Join(join("bob")));
    world.disconnect("ws3");
    world.pass(seconds(10));
    assert_eq!(world.ended(), [""; 0]);
    assert_eq!(world.errors(ErrorKind::Undelivered), 2);
}

#[test]
fn a_hello_that_is_refused_takes_no_other_websocket() {
    let mut world = World::new();
    world.full.insert("ws2".into());
    world.connect("mattermost", "ws2");
    assert_eq!(world.sent, []);
    world.say("ws2", ClientMessage::Join(join("ann")));
    assert!(world.is_live("ann"), "what it has said before its end was known counts");
}

#[test]
fn the_end_of_an_unregistered_session_may_still_take_another_websocket() {
    let mut world = World::new();
    world.connect("mattermost", "ws2");
    world.join("ann");
    world.full.insert("ws".into());
    world.step(|signalling, now| signalling.handle_client_gone(now, &"mattermost".into()));
    assert_eq!(world.sent.last(), Some(&("ws2".into(), close("ann"))));
    assert!(world.closed.iter().all(|(_, after)| *after == world.sent.len()), "before that closes, too");
}

#[test]
fn sessions_go_on_without_a_websocket() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.disconnect("ws");
    assert_eq!(world.counts.last(), Some(&Count::Disconnected("mattermost".into())));
    assert!(world.is_live("ann"));
    world.lock("ann");
    assert_eq!(world.heard("ann"), [Heard::Lock(true)]);
}

#[test]
fn what_cannot_be_read_is_counted_and_the_websocket_stays() {
    let mut world = World::new();
    let nonsense = Err(MessageError::TextFrame);
    world.step(|signalling, now| signalling.handle_message(now, "ws".into(), nonsense));
    world.rtc("nobody", RtcType::Mute, "");
    world.leave("nobody");
    assert_eq!(world.errors(ErrorKind::Signaling), 3);
    world.join("ann");
    assert!(world.is_live("ann"));
}
