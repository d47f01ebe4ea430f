//! How a process goes on when the one before has died without a word: by what that one had written down.
use super::cells::{Owner, Remains};
use super::control::{ControlRemains, deaths, has_calls};
use super::record::{Legacy, LegacyError, Record};
use crate::plane::handover::{Descriptors, WorkerRecord};
use crate::plane::keep::Bound;
use crate::plane::remains;
use rtcd_media::sfu::command::TransportId;
use rtcd_media::sfu::switch::KeptPeer;
use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Processes that may die at once, one after the other, before calls are given up: one of them may be what they die of.
pub const MAX_DEATHS: u32 = 5;

/// What processes before this one have left with systemd, the last one of them last.
#[derive(Default)]
pub struct Graves {
    remains: Vec<Remains>,
    generations: BTreeSet<u64>,
}

impl Graves {
    /// Whatever of these is ours, by what systemd calls them.
    pub fn of(written: Vec<(u64, OwnedFd)>) -> Self {
        // Those who left their calls to another process have wiped theirs.
        let generations = written.iter().map(|(generation, _)| *generation).collect();
        let mut remains: Vec<Remains> = written.into_iter().filter_map(|(_, fd)| Remains::of(fd)).collect();
        remains.sort_by_key(|remains| remains.generation);
        Self { remains, generations }
    }

    /// What systemd has of them, wiped or not.
    pub fn generations(&self) -> impl Iterator<Item = u64> {
        self.generations.iter().copied()
    }

    /// What a process after them is called.
    pub fn next_generation(&self) -> u64 {
        self.generations.last().map_or(1, |last| last.saturating_add(1))
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
        self.remains.iter().filter(|remains| remains.owner == Owner::Control)
    }

    /// Nothing is left of them.
    pub fn wipe(&self) {
        for remains in &self.remains {
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
        for remains in &self.remains {
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
        let torn = self.remains.iter().flat_map(remains::torn).collect();
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
            descriptors: Descriptors::new(sockets).with_torn(torn),
            api: None,
            memory: None,
            record,
        }
        .told(&control.release))
    }
}
