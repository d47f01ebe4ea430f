//! The switches go on in another process, in the middle of whatever is under way.
use super::World;
use super::crash::Memory;
use super::wire::Wire;
use crate::{MS, SECOND};
use rtcd_media::sfu::balance::Balance;
use rtcd_media::sfu::command::{Claim, TrackId, TransportId, WorkerId};
use rtcd_media::sfu::switch::{RegistrationRecord, Route, Switch, SwitchConfig, SwitchRecord, SwitchStart};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often all worlds hand over, whatever their test is about: `HANDOVER_MS` in the environment.
pub(super) fn always() -> Option<Duration> {
    let every = std::env::var("HANDOVER_MS").ok()?;
    Some(every.parse::<u32>().expect("HANDOVER_MS is a number") * MS)
}

impl World {
    /// Hands over every so often from now on.
    pub fn hand_over_every(&mut self, every: Duration) {
        self.hands_over = Some((every, self.now + every));
    }

    /// Data channels are suspended as they get ready, for four seconds at most; then new switches take the places of all, after
    /// `pause`, in which nobody listens.
    pub fn hand_over(&mut self, pause: Duration) {
        let hands_over = self.hands_over.take();
        let deadline = self.now + 4 * SECOND;
        while self.now < deadline {
            let are_not =
                self.switches.iter_mut().filter_map(|(switch, _)| (!switch.suspend(self.now, false)).then_some(()));
            if are_not.count() == 0 {
                break;
            }
            self.run(5 * MS);
        }
        let written = self.now;
        let mut records = Vec::new();
        for (switch, wire) in &mut self.switches {
            let record = switch.write(written, wire);
            let mut bytes = Vec::new();
            rtcd_media::handover::write(&mut bytes, 1, written, &record);
            records.push(rtcd_media::handover::read::<SwitchRecord>(&bytes, 1, written).expect("readable"));
        }
        while self.carry() {}
        for (_, wire) in &mut self.switches {
            for (path, bytes) in wire.datagrams.drain(..) {
                self.nonces.note(path.remote, &bytes);
                self.network.send(written, self.server, path.remote, bytes);
            }
        }
        self.now += pause;
        self.memories.clear();
        self.start_switches(written, records, false);
        self.hands_over = hands_over;
    }

    /// Switches that are made from records in which something was changed; how many of these were read and refused as a whole.
    pub fn start_from_changed_records(&mut self, count: u32) -> (u32, u32) {
        let (switch, wire) = &mut self.switches[0];
        let mut bytes = Vec::new();
        rtcd_media::handover::write(&mut bytes, 1, self.now, &switch.write(self.now, wire));
        let (mut read, mut refused) = (0, 0);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..count {
            let mut changed = bytes.clone();
            for _ in 0..3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % changed.len();
                changed[at] = (random >> 32) as u8;
            }
            let Ok(record) = rtcd_media::handover::read::<SwitchRecord>(&changed, 1, self.now) else {
                refused += 1;
                continue;
            };
            read += 1;
            let config = SwitchConfig {
                worker: WorkerId(0),
                identity: self.identity.clone(),
                nack_buffer: 512,
                reflex: |_, _| None,
                balance: Arc::new(Balance::new(1)),
            };
            let mut switch = Switch::new(config, self.now);
            let start =
                SwitchStart { tracks: record.tracks, counters: record.counters, ..SwitchStart::of(record.peers) };
            let panics = start.counters.iter().find(|(name, _)| name == "panics").map_or(0, |(_, count)| *count);
            switch.start(self.now, start);
            assert_eq!(switch.counters().panics, panics, "reading it has hit a bug");
            switch.resume_peers(self.now);
        }
        (read, refused)
    }

    pub(super) fn start_switches(&mut self, written: Instant, records: Vec<SwitchRecord>, is_crash: bool) {
        let claims: HashMap<TransportId, Arc<Claim>> = records[0]
            .registrations
            .iter()
            .map(|record| (record.transport(), Arc::new(record.owner.map_or_else(Claim::default, Claim::owned))))
            .collect();
        let registrations: Vec<(RegistrationRecord, Arc<Claim>)> = records[0]
            .registrations
            .iter()
            .map(|record| (record.clone(), claims[&record.transport()].clone()))
            .collect();
        let everywhere: Vec<_> = records
            .iter()
            .enumerate()
            .flat_map(|(worker, record)| record.peers.iter().map(move |peer| (WorkerId(worker as u8), peer)))
            .flat_map(|(worker, peer)| peer.paths.iter().map(move |path| (*path, peer.transport, worker)))
            .collect();
        let peers = (0..).map(WorkerId).zip(&records);
        let peers = peers.flat_map(|(worker, record)| record.peers.iter().map(move |peer| (peer, worker)));
        let routes = Route::between(&peers.collect::<Vec<_>>());
        let owners: Vec<(TransportId, WorkerId)> = everywhere.iter().map(|(_, id, worker)| (*id, *worker)).collect();
        self.switches.clear();
        let balance = Arc::new(Balance::new(records.len()));
        for (worker, record) in (0..).map(WorkerId).zip(records) {
            let config = SwitchConfig {
                worker,
                identity: self.identity.clone(),
                nack_buffer: 512,
                reflex: |_, _| None,
                balance: balance.clone(),
            };
            let mut switch = Switch::new(config, self.now);
            switch.start(
                written,
                SwitchStart {
                    registrations: registrations.clone(),
                    tracks: record.tracks,
                    owners: owners.clone(),
                    routes: routes.clone(),
                    elsewhere: everywhere.iter().filter(|(.., owner)| *owner != worker).copied().collect(),
                    counters: record.counters,
                    is_crash,
                    ..SwitchStart::of(record.peers)
                },
            );
            let (mut wire, mut memory) = (Wire::default(), Memory::default());
            memory.keep(self.now, &mut switch);
            switch.resume_peers(self.now);
            if is_crash {
                switch.ask_for_pictures(self.now, &mut wire);
            }
            self.memories.push(memory);
            self.switches.push((switch, wire));
        }
        if is_crash {
            // As signalling does, which knows of tracks that were not written down yet.
            let tracks: Vec<TrackId> = self.tracks.keys().copied().collect();
            tracks.into_iter().for_each(|track| self.route(track));
        }
        self.settle();
    }
}
