//! The members of a small call are on one worker, whoever hears them.
use crate::network::Conditions;
use crate::seeds::for_seeds;
use crate::world::World;
use crate::{MS, SECOND};
use rtcd_media::sfu::command::WorkerId;
use std::sync::Arc;

#[test]
fn those_whose_packets_come_to_another_worker_are_in_the_call_like_everybody() {
    for_seeds(3, |seed| {
        let mut world = World::new(seed, 2);
        world.home = Some(Arc::default());
        let cid = world.join();
        world.wait(SECOND, |world| world.has_channel(cid));
        let [ann, bob] = [(); 2].map(|()| {
            let at = world.join();
            let (host, public) = (world.people[at].address, [198, 51, 100, at as u8 + 1]);
            world.network.rebind(world.now, host, (public, 4001).into());
            at
        });
        let (voice, camera, screen) = world.meet([ann, bob, cid], Conditions::lossy(0.0, 20 * MS));
        world.run(3 * SECOND);
        let (from, heard) = (world.now, world.people[cid].seen.voices[&voice].newest());
        world.run(20 * SECOND);
        assert_eq!([ann, bob, cid].map(|at| world.worker(at)), [Some(WorkerId(0)); 3]);
        let (at_home, other) = (world.counters(0), world.counters(1));
        assert_eq!((at_home.misrouted, other.forwarded), (0, 0));
        assert!(other.misrouted > 2000, "all that both send: {other:?}");
        let missing = world.people[cid].seen.voices[&voice].missing(heard, heard + 900);
        let frozen = [(cid, screen), (bob, screen), (cid, camera), (ann, camera)]
            .map(|(at, track)| world.screen(at, track).frozen(from, world.now));
        println!("seed {seed}: {missing:.3} of the voice missing, frozen {frozen:.3?}");
        assert!(missing == 0.0 && frozen.iter().all(|part| *part < 0.01), "{at_home:?}");
    });
}
