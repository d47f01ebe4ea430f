//! All that a process leaves to the next one, in one record.
use super::{Memory, MemoryError, Parcel};
use crate::auth::SessionRecord;
use crate::metrics::Counted;
use crate::plane::Plane;
use crate::plane::handover::{Descriptors, Inode, Left, WorkerRecord, share};
use crate::plane::sockets::Sockets;
use crate::signal::{self, SignallingRecord};
use nix::time::{ClockId, clock_gettime};
use rtcd_media::dtls::Identity;
use rtcd_media::handover::{self, RecordError};
use rtcd_media::sfu::command::TransportId;
use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const VERSION: u8 = 1;

/// All that a process leaves to the next one, but for the descriptors.
#[serde_as]
#[derive(Serialize, Deserialize)]
pub struct Record {
    /// The release that wrote it, for the log.
    release: String,
    /// When it was written, by CLOCK_MONOTONIC, which both processes share.
    #[serde_as(as = "serde_with::DurationMicroSeconds<u64>")]
    written: Duration,
    /// Certificate and key: descriptions must go on announcing the same.
    #[serde_as(as = "Bytes")]
    identity: Vec<u8>,
    /// The listener of the API.
    pub api: Option<Inode>,
    /// The workers, in the order of their numbers.
    pub workers: Vec<WorkerRecord>,
    /// Sessions and calls.
    pub signalling: SignallingRecord,
    /// Bearer tokens.
    pub bearers: Vec<SessionRecord>,
    /// What has been counted.
    #[serde(default)]
    pub metrics: Counted,
}

/// What another process has left.
pub struct Legacy {
    /// Everything but the descriptors.
    pub record: Record,
    /// The certificate.
    pub identity: Identity,
    /// When it was written, by the clock of this process; what control knows, maybe before.
    pub written: Instant,
    pub(super) signalling_written: Instant,
    /// After a crash: the sessions that the workers go on with.
    pub survivors: Option<HashSet<TransportId>>,
    /// What the inodes of the record are of.
    pub descriptors: Descriptors,
    /// The listener of the API.
    pub api: Option<OwnedFd>,
    /// To be wiped when everything has begun.
    pub memory: Option<Memory>,
}

/// What is left to be used when media goes on.
pub struct Rest {
    /// Sessions and calls.
    pub signal: signal::Legacy,
    /// Bearer tokens.
    pub bearers: Vec<SessionRecord>,
    /// What has been counted.
    pub metrics: Counted,
    /// The listener of the API.
    pub api: Option<OwnedFd>,
    /// To be wiped when everything has begun.
    pub memory: Option<Memory>,
    /// Sockets that nothing is to be done with any more.
    pub unused: Vec<Inode>,
}

/// Why nothing of what was left can be used.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// There is nothing to read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// It cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A process has died before it had written anything down.
    #[error("nothing was written down")]
    Nothing,
    /// One session may be what they die of, and nobody knows which.
    #[error("{0} processes have died at once, one after the other")]
    Deadly(u32),
    /// Sessions are tied to the certificate.
    #[error(transparent)]
    Identity(#[from] rtcd_media::dtls::IdentityError),
}

/// CLOCK_MONOTONIC, by which `Instant` counts on Linux.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

impl Record {
    /// What there is of this process, at this moment.
    pub fn new(identity: &Identity, signalling: SignallingRecord, bearers: Vec<SessionRecord>, now: Instant) -> Self {
        let mut bytes = Vec::new();
        identity.write(&mut bytes, now);
        let release = crate::build_info::VERSION.to_owned();
        let (api, workers, metrics) = Default::default();
        Self { release, written: monotonic(), identity: bytes, api, workers, signalling, bearers, metrics }
    }

    /// Puts everything together.
    pub fn pack(mut self, left: Vec<Option<Left>>, api: Option<OwnedFd>, now: Instant) -> Result<Parcel, MemoryError> {
        let mut descriptors = Vec::new();
        for left in left {
            let Some(Left { record, descriptors: of_worker }) = left else {
                // A worker that hangs leaves nothing; the numbers of the others stay.
                self.workers.push(WorkerRecord::default());
                continue;
            };
            self.workers.push(record);
            descriptors.extend(of_worker);
        }
        if let Some(api) = api {
            self.api = Some(crate::plane::handover::inode(&api));
            descriptors.push(api);
        }
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        handover::write(&mut bytes, VERSION, now, &self);
        Ok(Parcel { memory: Memory::new(&bytes)?.into(), descriptors })
    }
}

impl Legacy {
    /// The plane, which has just been started, goes on with the media; the rest is for signalling and the API.
    pub fn begin(mut self, plane: &Plane, sockets: &mut Sockets) -> Rest {
        let workers = plane.handle().workers().count();
        let records = std::mem::take(&mut self.record.workers);
        let is_crash = self.survivors.is_some();
        let share = share(records, &mut self.descriptors, workers, self.written, is_crash);
        if share.missing > 0 {
            tracing::warn!(missing = share.missing, "sockets or connections of the process before have not come");
        }
        plane.begin(share.workers);
        sockets.adopt(&share.bound, Instant::now());
        let written = self.signalling_written;
        let signal = signal::Legacy { record: self.record.signalling, written, survivors: self.survivors };
        let unused = self.descriptors.inodes().collect();
        let Record { bearers, metrics, .. } = self.record;
        Rest { signal, bearers, metrics, api: self.api, memory: self.memory, unused }
    }

    /// For the log.
    pub(super) fn told(self, release: &str) -> Self {
        let now = Instant::now();
        tracing::info!(
            release,
            sessions = self.record.signalling.sessions(),
            workers = self.record.workers.len(),
            crashed = self.survivors.is_some(),
            ago_ms = now.saturating_duration_since(self.signalling_written).as_millis() as u64,
            "the calls of the process before go on"
        );
        self
    }

    /// Reads what another process has left.
    pub fn unpack(parcel: Parcel) -> Result<Self, LegacyError> {
        let mut memory = Memory::adopt(parcel.memory);
        let (bytes, is_first) = memory.read()?;
        let now = Instant::now();
        let record: Record = handover::read(&bytes, VERSION, now)?;
        let written = now.checked_sub(monotonic().saturating_sub(record.written)).unwrap_or(now);
        let identity = Identity::read(&record.identity, now)?;
        let mut descriptors = Descriptors::new(parcel.descriptors);
        let api = record.api.and_then(|inode| descriptors.take(inode));
        let release = record.release.clone();
        // Whoever has read it before may have gone on for a moment, and sent things that are not in it.
        let survivors =
            (!is_first).then(|| record.workers.iter().flat_map(|worker| worker.switch.transports()).collect());
        let memory = Some(memory);
        let legacy =
            Self { record, identity, written, signalling_written: written, survivors, descriptors, api, memory };
        Ok(legacy.told(&release))
    }
}
