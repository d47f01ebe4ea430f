//! A transport that dies again and again, and goes on from what was written down; its peer takes a restart of SCTP, as browsers do.
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
                // While the association begins anew there is no channel to say it on.
                let _ = world.us.send(world.now, true, b"something");
                world.run(Duration::from_millis((random.next() * 300.0) as u64));
            }
            if crash % 3 == 0 {
                memory.numbers = world.numbers();
                world.us.reserve();
                let _ = world.us.send(world.now, true, b"and something more");
                world.run(Duration::from_millis(50));
            }
            memory = world.crash(memory);
        }
        assert!(numbers.borrow().len() > 300, "{}", numbers.borrow().len());
        let heard = world.peer.heard;
        world.run(Duration::from_secs(5));
        world.us.send(world.now, true, b"at last").expect("the channel is open");
        world.run(Duration::from_secs(1));
        assert!(world.peer.heard > heard && world.closed.is_none(), "{role:?}: {:?}", world.closed);
    }
}
