//! A process has died, or a worker has hit a bug: what was written down here and there is brought together.
use super::handover::call;
use super::world::*;
use super::*;
use crate::signal::message::RtcType;
use crate::signal::negotiation::fixtures::VOICE;
use rtcd_media::rtp::Ssrc;
use rtcd_media::sfu::command::{Command, Event, WorkerSet};
use std::collections::HashSet;

impl World {
    fn streams_to(&self, session: &str) -> Vec<Ssrc> {
        let id = self.id(session);
        let retained = self.commands.iter().find_map(|(_, command)| match command {
            Command::RetainOutgoing { transport, ssrcs } if *transport == id => Some(ssrcs.clone()),
            _ => None,
        });
        retained.unwrap_or_default()
    }

    fn is_told_tracks_of(&self, session: &str) -> bool {
        let id = self.id(session);
        let told = |command: &Command| matches!(command, Command::SetIncoming { transport, .. } if *transport == id);
        self.commands.iter().any(|(_, command)| told(command))
    }
}

#[test]
fn workers_hear_again_what_is_sent_and_received_and_who_was_still_connecting_ends() {
    let mut world = call();
    let (ann, bob, stranger) = (world.id("ann"), world.id("bob"), TransportId(77));
    world.crash(HashSet::from([ann, bob, stranger]));
    assert!(world.is_live("ann") && world.is_live("bob") && world.is_live("cleo"));
    assert!(!world.is_live("dan"), "nobody else can end its handshake");
    assert!(world.is_told_tracks_of("bob") && world.is_told_tracks_of("ann"));
    let told = world.commands.iter().rposition(|(_, command)| matches!(command, Command::SetIncoming { .. }));
    let routed = world.commands.iter().rposition(|(_, command)| matches!(command, Command::Route { .. }));
    assert!(told < routed, "what a worker does not know yet has no way: {:?}", world.commands);
    let mut receivers = WorkerSet::default();
    receivers.insert(WorkerId(1));
    assert_eq!(world.route("bob", "1"), receivers);
    let flows = world.flows_to("ann");
    assert_eq!(flows.len(), 1);
    assert_eq!(world.streams_to("ann"), [flows[0].ssrc], "and no others");
    assert_eq!(flows[0].publisher.0, bob);
    let closed = |command: &Command| matches!(command, Command::Close { transport } if *transport == stranger);
    assert!(world.commands.iter().any(|(_, command)| closed(command)), "nobody knows who that is");
    world.connect("mattermost", "ws");
    world.offer("cleo", VOICE);
    assert_eq!(world.told("cleo"), [RtcType::Sdp, RtcType::Ice], "who had not offered yet does so now");
}

#[test]
fn who_lives_on_a_worker_that_begins_again_without_it_ends_and_others_hear_nothing_of_it() {
    let mut world = call();
    let (ann, bob) = (world.id("ann"), world.id("bob"));
    world.happen(Event::BegunAgain { worker: WorkerId(1), transports: vec![ann] });
    assert!(world.is_live("ann") && world.is_live("bob") && world.is_live("dan"));
    assert_eq!(world.flows_to("ann").len(), 1);
    assert!(!world.is_told_tracks_of("bob"), "its worker has not begun again");
    world.happen(Event::BegunAgain { worker: WorkerId(0), transports: Vec::new() });
    assert!(!world.sessions_has(bob) && world.is_live("ann"));
}
