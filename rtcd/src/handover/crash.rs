//! How a process goes on when the one before has died without a word: by what that one had written down.
use super::cells::{Owner, Remains};
use super::control::{ControlRemains, deaths, has_calls};
use super::record::{Legacy, LegacyError, Record};
use crate::plane::handover::{Descriptors, WorkerRecord};
use crate::plane::keep::Bound;
use crate::plane::remains;
use rtcd_media::sfu::command::TransportId;
use rtcd_media::sfu::switch::KeptPeer;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Processes that may die at once, one after the other, before calls are given up: one of them may be what they die of.
pub const MAX_DEATHS: u32 = 5;

/// What processes before this one have left with systemd, the last one of them last.
#[derive(Default)]
pub struct Graves(Vec<Remains>);

impl Graves {
    /// Whatever of these is ours.
    pub fn of(descriptors: Vec<OwnedFd>) -> Self {
        let mut remains: Vec<Remains> = descriptors.into_iter().filter_map(Remains::of).collect();
        remains.sort_by_key(|remains| remains.generation);
        Self(remains)
    }

    /// Their generations.
    pub fn generations(&self) -> Vec<u64> {
        let mut generations: Vec<u64> = self.0.iter().map(|remains| remains.generation).collect();
        generations.dedup();
        generations
    }

    /// What a process after them is called.
    pub fn next_generation(&self) -> u64 {
        self.0.last().map_or(1, |remains| remains.generation + 1)
    }

    /// Processes in a row that have died at once, the last one among them.
    pub fn deaths(&self) -> u32 {
        self.controls().next_back().map_or(0, |control| deaths(control) + 1)
    }

    /// Whether there are calls to go on with.
    pub fn has_calls(&self) -> bool {
        self.controls().any(has_calls)
    }

    fn controls(&self) -> impl DoubleEndedIterator<Item = &Remains> {
        self.0.iter().filter(|remains| remains.owner == Owner::Control)
    }

    /// Nothing is left of them.
    pub fn wipe(&self) {
        for remains in &self.0 {
            if let Err(error) = remains.wipe() {
                tracing::warn!(%error, "what a process before has written down could not be wiped");
            }
        }
    }

    /// All that can go on. A process that has died early has not written everything down again: of each session the last word
    /// counts, whoever said it.
    pub fn read(&self, sockets: Vec<OwnedFd>) -> Result<Legacy, LegacyError> {
        if self.deaths() > MAX_DEATHS {
            return Err(LegacyError::Deadly(MAX_DEATHS));
        }
        let control = self.controls().rfind(|control| has_calls(control)).ok_or(LegacyError::Nothing)?;
        let control = ControlRemains::read(control)?;
        let now = Instant::now();
        let mut record = Record::new(&control.identity, control.signalling.0, control.bearers, now);
        let mut peers: HashMap<TransportId, (usize, KeptPeer)> = HashMap::new();
        for remains in &self.0 {
            let Owner::Worker(worker) = remains.owner else { continue };
            let worker = usize::from(worker);
            if record.workers.len() <= worker {
                record.workers.resize_with(worker + 1, WorkerRecord::default);
            }
            if let Some(Bound { sockets, connections }) = remains::bound(remains) {
                (record.workers[worker].sockets, record.workers[worker].connections) = (sockets, connections);
            }
            peers.extend(remains::peers(remains).into_iter().map(|kept| (kept.peer.transport, (worker, kept))));
        }
        let survivors = peers.keys().copied().collect();
        for (worker, KeptPeer { peer, registrations }) in peers.into_values() {
            record.workers[worker].switch.peers.push(peer);
            record.workers[worker].switch.registrations.extend(registrations);
        }
        Ok(Legacy {
            identity: control.identity,
            written: now,
            signalling_written: control.signalling.1,
            survivors: Some(survivors),
            descriptors: Descriptors::new(sockets),
            api: None,
            memory: None,
            record,
        }
        .told(&control.release))
    }
}
