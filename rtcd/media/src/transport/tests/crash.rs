//! A transport that dies again and again, and goes on from what was written down.
use super::*;
use crate::handover;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// How far a transport is: its keys, and what it has heard of RTP and RTCP.
type Numbers = (TransportNumbers, Vec<(Ssrc, SeqNo)>, Vec<(Ssrc, SeqNo)>);

/// What is written down of a transport: itself, and how far it was later.
struct Memory {
    transport: (Instant, Vec<u8>),
    numbers: Numbers,
}

impl World {
    fn keep(&mut self) -> Memory {
        let mut bytes = Vec::new();
        handover::write(&mut bytes, 1, self.now, &self.us);
        let memory = Memory { transport: (self.now, bytes), numbers: self.numbers() };
        self.us.reserve();
        memory
    }

    fn numbers(&self) -> Numbers {
        let (numbers, unprotector) = self.us.numbers().expect("it is through its handshake");
        (numbers, unprotector.newest().collect(), unprotector.newest_rtcp().collect())
    }

    fn crash(&mut self, memory: Memory) -> Memory {
        let Memory { transport: (then, bytes), numbers: (numbers, rtp, rtcp) } = memory;
        self.us = handover::read(&bytes, 1, then).expect("readable");
        self.us.leap(self.now, numbers, &rtp, &rtcp);
        // It writes down where it begins before it says anything.
        let memory = self.keep();
        self.us.resume(self.now);
        memory
    }
}

#[test]
fn of_two_hundred_crashes_none_makes_a_record_number_come_twice_and_the_channel_goes_on() {
    for role in ROLES {
        let numbers = Rc::new(RefCell::new(HashSet::new()));
        let seen = numbers.clone();
        let mut world = World::new(role, move |to, _, bytes| {
            let number = u64::from_be_bytes(bytes.get(3..11).and_then(|n| n.try_into().ok()).unwrap_or_default());
            // Application data under keys.
            if to == To::Peer && bytes[0] == 23 && number >> 48 == 1 {
                assert!(seen.borrow_mut().insert(number), "record {number:x} is used twice");
            }
            false
        });
        world.join(Duration::from_secs(5)).expect("joined");
        world.run(Duration::from_secs(1));
        let mut memory = world.keep();
        let mut random = Random(7);
        for crash in 0..200 {
            let said = (random.next() * 5.0) as u32;
            for _ in 0..said {
                world.us.send(world.now, true, b"something").expect("the channel is open");
                world.run(Duration::from_millis((random.next() * 300.0) as u64));
            }
            if crash % 3 == 0 {
                memory.numbers = world.numbers();
                world.us.reserve();
                world.us.send(world.now, true, b"and something more").expect("the channel is open");
                world.run(Duration::from_millis(50));
            }
            memory = world.crash(memory);
        }
        assert!(numbers.borrow().len() > 300, "{}", numbers.borrow().len());
        world.run(Duration::from_secs(5));
        world.us.send(world.now, true, b"at last").expect("the channel is open");
        world.run(Duration::from_secs(1));
        assert!(world.peer.told.ends_with(&[b"at last".to_vec()]) && world.closed.is_none(), "{:?}", world.closed);
    }
}

fn message(number: u32, len: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().cycle().take(4 * len).collect()
}

/// Both sides go on talking, over a way that loses packets; what is whole and in order comes whole and in order, and what was said when
/// nobody had died for a while comes.
#[test]
fn an_association_goes_on_without_a_restart_and_loses_what_was_under_way_at_most() {
    for (role, seed) in ROLES.into_iter().zip([1, 2]) {
        let (mut random, mut loss) = (Random(seed), Random(seed + 2));
        let mut world = World::new(role, move |_, count, _| count > 40 && loss.next() < 0.05);
        world.join(Duration::from_secs(5)).expect("joined");
        world.run(Duration::from_secs(1));
        let mut memory = world.keep();
        let (mut number, mut safe) = (0, Vec::new());
        let talk = |world: &mut World, random: &mut Random, number: &mut u32| {
            *number += 1;
            let len = 1 + (random.next() * 1500.0) as usize;
            world.peer.say(world.now, &message(*number, len));
            world.us.send(world.now, false, &message(*number, len)).expect("the channel is open");
            *number
        };
        for crash in 0..100 {
            for _ in 0..(random.next() * 6.0) as u32 {
                talk(&mut world, &mut random, &mut number);
                world.run(Duration::from_millis((random.next() * 120.0) as u64));
            }
            if crash % 2 == 0 {
                world.run(Duration::from_secs(20));
                safe.push(talk(&mut world, &mut random, &mut number));
                world.run(Duration::from_secs(20));
            }
            if crash % 3 == 0 {
                memory.numbers = world.numbers();
                world.us.reserve();
            }
            memory = world.crash(memory);
        }
        world.run(Duration::from_secs(20));
        safe.push(talk(&mut world, &mut random, &mut number));
        world.run(Duration::from_secs(20));
        assert_eq!(world.closed, None);
        for (who, heard) in [("the peer", &world.peer.told), ("we", &world.heard)] {
            let numbers: Vec<u32> =
                heard.iter().map(|data| u32::from_be_bytes([data[0], data[1], data[2], data[3]])).collect();
            assert!(
                heard.iter().zip(&numbers).all(|(data, number)| *data == message(*number, data.len() / 4)),
                "whole"
            );
            assert!(
                numbers.is_sorted_by(|a, b| a < b),
                "{role:?}: {who} heard something twice or out of order: {numbers:?}"
            );
            let missed: Vec<u32> = safe.iter().filter(|number| !numbers.contains(number)).copied().collect();
            println!("{role:?}: of {number} messages {who} heard {}", numbers.len());
            assert_eq!(missed, [0; 0], "{role:?}: {who} did not hear what was said in peace");
        }
    }
}
