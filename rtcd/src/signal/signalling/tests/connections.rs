//! Which WebSocket a message takes, and what becomes of one that nobody takes.
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::message::{RtcMessage, RtcType};
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
fn a_message_that_no_websocket_takes_waits_for_one_of_its_client() {
    let mut world = World::new();
    world.join("ann");
    world.connect("another", "ws2");
    world.full.insert("ws".into());
    world.leave("ann");
    assert_eq!(world.ended(), [""; 0]);
    world.full.clear();
    world.pass(seconds(20));
    world.connect("mattermost", "ws3");
    assert_eq!(world.sent_on("ws3").last(), Some(&&close("ann")), "behind the hello");
    assert_eq!(world.sent_on("ws2").len(), 1, "another client never sees it");
    assert_eq!(world.errors(ErrorKind::Undelivered), 0);
}

#[test]
fn a_message_whose_client_does_not_come_back_is_counted() {
    let mut world = World::new();
    world.join("ann");
    world.disconnect("ws");
    world.pass(seconds(11));
    assert_eq!(world.ended(), [""; 0]);
    assert_eq!(world.errors(ErrorKind::Undelivered), 0, "it made no offer; its client may come back");
    world.pass(seconds(31));
    assert_eq!(world.errors(ErrorKind::Undelivered), 1);
    world.connect("mattermost", "ws3");
    assert_eq!(world.ended(), [""; 0], "it is too late");
}

/// A client that is away and goes on being told things keeps neither the machine nor other clients from anything.
#[test]
fn what_waits_for_a_client_is_bounded_and_the_oldest_goes() {
    let mut away = Away::default();
    let vad = |client: &str, number: usize| {
        let data = format!("{number:01000}").into_bytes();
        let (call, user, session) = ("call".into(), "user".into(), "session".into());
        let kind = RtcType::VoiceOn;
        let message = ServerMessage::Vad(RtcMessage { group: client.into(), call, user, session, kind, data });
        Envelope { client: client.into(), conn: "ws".into(), session: None, message }
    };
    assert_eq!(away.put(vad("honest", 0)), []);
    let dropped: usize = (0..10_000).map(|number| away.put(vad("chatty", number)).len()).sum();
    let (chatty, honest) = (away.take(&"chatty".into()), away.take(&"honest".into()));
    let chatty: Vec<_> = chatty.collect();
    assert!((1000..=2048).contains(&chatty.len()), "{}", chatty.len());
    assert_eq!(chatty.len() + dropped, 10_000);
    assert_eq!(chatty.last(), Some(&vad("chatty", 9999)));
    assert_eq!(honest.count(), 1);
    for client in 0..100 {
        (0..300).for_each(|number| drop(away.put(vad(&format!("client {client}"), number))));
    }
    let kept: usize = (0..100).map(|client| away.take(&format!("client {client}").as_str().into()).count()).sum();
    assert!((10_000..=16_000).contains(&kept), "{kept}");
    assert_eq!(away.next_timeout(), None);
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
