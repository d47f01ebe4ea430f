//! What control writes down while it works, for whoever goes on when its process has died: who is in which call, tokens, the
//! certificate; and how often a process has died of what the one before had written.
use super::cells::{Cells, Owner, Remains, Room};
use super::record::monotonic;
use crate::auth::SessionRecord;
use crate::build_info::VERSION;
use crate::plane::remains::moment;
use crate::signal::SignallingRecord;
use rtcd_media::dtls::Identity;
use rtcd_media::handover::{self, RecordError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

const HEAD: usize = 0;
const SIGNALLING: usize = 1;
const BEARERS: usize = 2;
const LIFE: usize = 3;
const CELLS_VERSION: u8 = 1;

/// What does not change.
#[serde_as]
#[derive(Serialize, Deserialize)]
struct Head {
    release: String,
    #[serde_as(as = "Bytes")]
    identity: Vec<u8>,
}

/// Processes in a row that have died at once.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Life {
    deaths: u32,
}

/// The memory of control; clones share it.
#[derive(Clone)]
pub struct ControlMemory(Arc<Mutex<Cells>>);

impl ControlMemory {
    /// Empty. `deaths`: so many processes before this one have died at once.
    pub fn new(generation: u64, deaths: u32) -> io::Result<Self> {
        let memory = Self(Arc::new(Mutex::new(Cells::new(Owner::Control, generation)?)));
        memory.write(LIFE, Instant::now(), &Life { deaths })?;
        Ok(memory)
    }

    /// The certificate, which descriptions go on announcing.
    pub fn keep_identity(&self, identity: &Identity, now: Instant) -> io::Result<()> {
        let mut bytes = Vec::new();
        identity.write(&mut bytes, now);
        self.write(HEAD, now, &Head { release: VERSION.to_owned(), identity: bytes })
    }

    /// Sessions and calls: a [`SignallingRecord`].
    pub fn keep_signalling(&self, record: &impl Serialize, now: Instant) -> io::Result<()> {
        self.write(SIGNALLING, now, record)
    }

    /// Bearer tokens.
    pub fn keep_bearers(&self, bearers: &[SessionRecord], now: Instant) -> io::Result<()> {
        self.write(BEARERS, now, &bearers)
    }

    /// This process does not die at once.
    pub fn survives(&self) -> io::Result<()> {
        self.write(LIFE, Instant::now(), &Life::default())
    }

    /// Another handle on it, for whoever keeps it.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.cells(|cells| cells.handle())
    }

    /// Nothing is left of it.
    pub fn wipe(&self) -> io::Result<()> {
        self.cells(Cells::wipe)
    }

    fn write<T: Serialize>(&self, cell: usize, now: Instant, value: &T) -> io::Result<()> {
        let fill = |out: &mut Vec<u8>| handover::write(out, CELLS_VERSION, now, value);
        self.cells(|cells| cells.write(cell, Room::One, monotonic(), fill))
    }

    fn cells<T>(&self, work: impl FnOnce(&mut Cells) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What control of a process that has died had written down.
pub struct ControlRemains {
    /// Its release.
    pub release: String,
    /// Its certificate.
    pub identity: Identity,
    /// Sessions and calls, and when that was so.
    pub signalling: (SignallingRecord, Instant),
    /// Bearer tokens.
    pub bearers: Vec<SessionRecord>,
}

fn read<T: DeserializeOwned>(remains: &Remains, cell: usize) -> Result<(T, Instant), RecordError> {
    let cell = remains.read(cell).ok_or(RecordError::Empty)?;
    let written = moment(&cell);
    Ok((handover::read(&cell.bytes, CELLS_VERSION, written)?, written))
}

/// How many processes in a row have died at once.
pub fn deaths(remains: &Remains) -> u32 {
    read::<Life>(remains, LIFE).map_or(0, |(life, _)| life.deaths)
}

/// Whether its process has come so far as to write calls down.
pub fn has_calls(remains: &Remains) -> bool {
    remains.read(HEAD).is_some() && remains.read(SIGNALLING).is_some()
}

impl ControlRemains {
    /// Reads it.
    pub fn read(remains: &Remains) -> Result<Self, super::LegacyError> {
        let (Head { release, identity }, _) = read(remains, HEAD)?;
        let identity = Identity::read(&identity, Instant::now())?;
        let signalling = read(remains, SIGNALLING)?;
        // Without them clients log in once more.
        let bearers = read(remains, BEARERS).map(|(bearers, _)| bearers).unwrap_or_default();
        Ok(Self { release, identity, signalling, bearers })
    }
}
