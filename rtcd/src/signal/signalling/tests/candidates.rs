//! Ours, which participants are told, and theirs, which the workers are told.
use super::participant::*;
use super::world::*;
use super::*;
use crate::signal::message::RtcType;
use crate::signal::negotiation::fixtures::{FIRST, VOICE, with_transport};
use rtcd_media::demux::Protocol;
use rtcd_media::sfu::command::Command;
use std::net::SocketAddr;

fn trickle(world: &mut World, session: &str, address: &str, port: u16) {
    let json = format!(r#"{{"candidate":"candidate:1 1 udp 2130706431 {address} {port} typ host","sdpMid":"0"}}"#);
    world.rtc(session, RtcType::Ice, &json);
}

/// What the workers were told last, the ufrag and whether all of them were told the same.
fn told(world: &World) -> Option<(String, Vec<SocketAddr>)> {
    let candidates = |(_, command): &(WorkerId, Command)| match command {
        Command::Candidates { remote, candidates, .. } => Some((remote.ufrag.clone(), candidates.clone())),
        _ => None,
    };
    let all: Vec<_> = world.commands.iter().filter_map(candidates).collect();
    let [.., before, last] = &all[..] else { return None };
    assert_eq!(before, last, "each of two workers");
    Some(last.clone())
}

fn at(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn candidates_that_come_before_the_offer_wait_for_it() {
    let mut world = World::new();
    world.join("ann");
    trickle(&mut world, "ann", "198.51.100.1", 5000);
    assert_eq!(told(&world), None);
    let sdp = with_transport(&format!("{FIRST}{VOICE}"), "actpass").replacen(
        "a=mid:",
        "a=candidate:7 1 udp 1 198.51.100.2 5001 typ srflx raddr 0.0.0.0 rport 0\r\na=mid:",
        1,
    );
    world.describe("ann", "offer", &sdp);
    assert_eq!(told(&world), Some(("abcd".into(), at(&["198.51.100.1:5000", "198.51.100.2:5001"]))));
    trickle(&mut world, "ann", "198.51.100.3", 5002);
    assert_eq!(told(&world).map(|(_, all)| all.len()), Some(3));
}

#[test]
fn nobody_is_where_we_are_or_where_nobody_may_be() {
    let mut world = World::new();
    world.join("ann");
    world.offer("ann", VOICE);
    // The last is an address of ours.
    for address in ["127.0.0.1", "169.254.169.254", "224.0.0.1", "::1", "192.0.2.1"] {
        trickle(&mut world, "ann", address, 5000);
    }
    assert_eq!(told(&world), None);
    world.signalling.settings.peers.alone = "127.0.0.1".parse().ok();
    trickle(&mut world, "ann", "127.0.0.1", 5001);
    assert_eq!(told(&world).map(|(_, all)| all), Some(at(&["127.0.0.1:5001"])));
}

#[test]
fn candidates_without_end_are_told_so_often_until_ice_begins_again() {
    let mut world = World::new();
    world.join("ann");
    world.offer("ann", VOICE);
    let count = |world: &World| {
        let told = |(_, command): &&(WorkerId, Command)| matches!(command, Command::Candidates { .. });
        world.commands.iter().filter(told).count() / 2
    };
    for port in 1..=1000 {
        trickle(&mut world, "ann", "198.51.100.1", port);
    }
    assert_eq!(count(&world), 64);
    let restart = with_transport(&format!("{FIRST}{VOICE}"), "actpass").replace("ice-ufrag:abcd", "ice-ufrag:efgh");
    world.describe("ann", "offer", &restart);
    let (ufrag, candidates) = told(&world).expect("they are told");
    assert_eq!((ufrag.as_str(), candidates.len(), candidates.last()), ("efgh", 16, at(&["198.51.100.1:1000"]).last()));
}

#[test]
fn a_relay_that_comes_late_is_told_to_those_who_are_in_a_call() {
    let mut world = World::new();
    world.arrive(join("ann"), 0, VOICE);
    world.join("bob");
    world.forget();
    let relay =
        |port| Candidate { protocol: Protocol::Relay, address: ([203, 0, 113, 9], port).into(), rank: 0, base: None };
    world.step(|signalling, _| signalling.set_relays([relay(1)].into()));
    assert_eq!((world.told("ann"), world.told("bob")), (vec![RtcType::Ice], vec![]), "only what is new");
    world.step(|signalling, _| signalling.set_relays([].into()));
    world.step(|signalling, _| signalling.set_relays([relay(2)].into()));
    assert_eq!(world.told("ann").len(), 2);
    world.offer("bob", VOICE);
    assert_eq!(world.told("bob"), [RtcType::Sdp, RtcType::Ice, RtcType::Ice], "the host's and the relay's");
    let last = world.sent.iter().rev().find_map(|(_, message)| match message {
        ServerMessage::Rtc(rtc) if rtc.kind == RtcType::Ice => String::from_utf8(rtc.data.to_vec()).ok(),
        _ => None,
    });
    assert!(last.is_some_and(|json| json.contains("203.0.113.9 2 typ relay raddr 0.0.0.0 rport 0")));
}
