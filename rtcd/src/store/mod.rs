//! The registered clients on disk: client id to key hash. Nothing else of the daemon outlives its process.
//!
//! What [`database`] opens may fail while we run: the disk is full, somebody deletes the directory. Then what was known is
//! kept in memory, registrations are refused, and the database is opened again as soon as that is possible.
mod aside;
pub(crate) mod bitcask;
mod database;
mod memory;
mod reference;

use crate::ids::ClientId;
use crate::logging::Once;
use database::{Database, Entries, Imported};
use memory::{Clients, Memory};
use reference::{Reference, ReferenceError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// How often the directory is looked at: whoever deleted it should hear of that at once.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Where our files are while those of the reference are in the configured directory.
const BESIDE: &str = "rtcd";

/// Why the store could not do it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operator must act: the directory is locked by another process, unreadable or not ours. It is left as it is.
    #[error("store.data_source {path}: {reason}")]
    Open {
        /// `store.data_source`, as configured.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// The reference's store is in this directory, and its clients cannot be known. No restart cures that.
    #[error("store.data_source {path} holds the clients of Mattermost's rtcd, and they cannot be read: {reason}")]
    Reference {
        /// `store.data_source`, as configured.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An empty client id.
    #[error("error: empty key")]
    EmptyId,
    /// The client is not registered.
    #[error("error: not found")]
    NotFound,
    /// The client is there already; its key stays.
    #[error("already registered")]
    AlreadyThere,
    /// The disk, or a damaged page. The text goes to the log, not to the client.
    #[error("error: store failed")]
    Io(#[source] sled::Error),
    /// The disk has failed before, which was said then; the database is opened again as soon as that is possible.
    #[error("error: store failed")]
    Closed,
    /// The task that carried the work was cancelled: the process is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Io(error)
    }
}

fn io_error(kind: std::io::ErrorKind, text: &str) -> StoreError {
    StoreError::Io(sled::Error::Io(std::io::Error::new(kind, text)))
}

/// A handle on the store; clones share it. Each call blocks on the disk in a thread of its own.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    state: RwLock<State>,
    /// One change at a time.
    changing: Mutex<()>,
    failing: Once,
    /// Its lock is ours until the end.
    _reference: Option<Reference>,
}

enum State {
    Open(Database),
    /// There has been no directory to write to since the start: whoever registers is known until the process ends.
    Memory(Memory),
    /// What was known when the database failed, and whom it may hold all the same: those who were told that they were refused.
    Broken {
        entries: Entries,
        refused: Vec<String>,
    },
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the store in this directory, or makes one there when there is none. One that is damaged is set aside. Clients
    /// of the reference, whose store is there, are taken over. Where nothing can be written and there is nothing to be lost,
    /// clients are kept in memory. Blocks.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |reason: String| StoreError::Open { path: path.into(), reason };
        let reference = Reference::open(path, SystemTime::now()).map_err(|error| {
            let reason = format!("{error}{}", error.advice());
            match error {
                ReferenceError::Running => StoreError::Open { path: path.into(), reason },
                _ => StoreError::Reference { path: path.into(), reason },
            }
        })?;
        let directory = place(path);
        let inner = |state| Inner {
            path: directory.clone(),
            state: RwLock::new(state),
            changing: Mutex::default(),
            failing: Once::new(),
            _reference: None,
        };
        if let (None, Some(why)) = (&reference, memory::is_needed(path)) {
            let path = path.display();
            tracing::error!(%why, "store.data_source {path} cannot be written: clients are registered in memory alone \
                and must register again when the daemon has been restarted");
            return Ok(Self(Arc::new(inner(State::Memory(Memory::default())))));
        }
        let inner = match (aside::open_or_set_aside(&directory), reference) {
            (Ok(database), None) => inner(State::Open(database)),
            (Ok(database), Some(reference)) => {
                let imported = database.import(&reference.clients);
                let imported = imported.map_err(|error| failed(format!("{:#}", anyhow::Error::new(error))))?;
                tell(path, &directory, &reference, &imported);
                Inner { _reference: Some(reference), ..inner(State::Open(database)) }
            }
            // Nothing of ours has ever been there: the clients are those of the reference.
            (Err(why), Some(reference)) if !directory.exists() => {
                let inner = inner(State::Broken { entries: Entries::new(), refused: Vec::new() });
                inner.fail(&why, reference.live(), Vec::new());
                Inner { _reference: Some(reference), ..inner }
            }
            (Err(reason), _) => return Err(failed(reason)),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The key hash of a client.
    pub async fn get(&self, client: &ClientId) -> Result<String, StoreError> {
        let client = present(client)?;
        self.blocking(move |store| match &*store.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => database.get(client.as_str())?.ok_or(StoreError::NotFound),
            State::Memory(memory) => memory.get(client.as_str())?.ok_or(StoreError::NotFound),
            State::Broken { entries, .. } => entries.get(client.as_str()).cloned().ok_or(StoreError::NotFound),
        })
        .await
    }

    /// Adds a client. When this returns, the entry has reached the disk, in the directory that was configured.
    pub async fn add(&self, client: &ClientId, hash: String) -> Result<(), StoreError> {
        let client = present(client)?;
        self.blocking(move |store| {
            store.change(client.as_str(), |database| {
                if database.get(client.as_str())?.is_some() {
                    return Err(StoreError::AlreadyThere);
                }
                database.insert(client.as_str(), &hash)
            })
        })
        .await
    }

    /// Gives a client that is there another hash, durably as well.
    pub async fn replace(&self, client: &ClientId, hash: String) -> Result<(), StoreError> {
        let client = present(client)?;
        self.blocking(move |store| {
            store.change(client.as_str(), |database| {
                database.get(client.as_str())?.ok_or(StoreError::NotFound)?;
                database.insert(client.as_str(), &hash)
            })
        })
        .await
    }

    /// Removes a client, durably as well.
    pub async fn remove(&self, client: &ClientId) -> Result<(), StoreError> {
        let client = present(client)?;
        self.blocking(move |store| store.change(client.as_str(), |database| database.remove(client.as_str()))).await
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// All clients, in the order of their ids.
    pub async fn clients(&self) -> Result<Vec<ClientId>, StoreError> {
        let ids = |entries: &Entries| entries.keys().map(|id| id.as_str().into()).collect();
        self.blocking(move |store| match &*store.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => Ok(ids(&database.entries())),
            State::Memory(memory) => Ok(ids(&memory.entries())),
            State::Broken { entries, .. } => Ok(ids(entries)),
        })
        .await
    }

    /// Says at once what is wrong with the directory, and goes back to it when it is right again. For ever.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let looked = self.blocking(|store| {
                let _one = store.changing();
                // What is wrong has been said.
                let _ = store.ready();
                Ok(())
            });
            if looked.await.is_err() {
                return;
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.0.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|_| StoreError::Stopping)?
    }
}

impl Inner {
    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a change of one client in a database that is known to be good. If the disk fails, nothing has changed.
    fn change(
        &self,
        client: &str,
        work: impl FnOnce(&dyn Clients) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _one = self.changing();
        self.ready()?;
        let (error, before, mut entries) = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => {
                let before = database.get(client).ok().flatten();
                match work(database) {
                    Err(StoreError::Io(error)) => (error, before, database.entries()),
                    done => return done,
                }
            }
            State::Memory(memory) => return work(memory),
            State::Broken { .. } => return Err(StoreError::Closed),
        };
        let mut refused = Vec::new();
        match before {
            Some(hash) => drop(entries.insert(client.to_owned(), hash)),
            None => {
                entries.remove(client);
                refused.push(client.to_owned());
            }
        }
        self.fail(&error.to_string(), entries, refused);
        // Maybe it was only this once.
        let _ = self.ready();
        Err(StoreError::Io(error))
    }

    /// Makes sure that the database is open, and that it is the one in the configured directory.
    fn ready(&self) -> Result<(), StoreError> {
        let wrong = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => database.misplaced(&self.path).map(|why| (why, database.entries())),
            State::Memory(_) | State::Broken { .. } => None,
        };
        if let Some((why, entries)) = wrong {
            self.fail(&why, entries, Vec::new());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (entries, refused) = match &*state {
            State::Open(_) => return Ok(()),
            State::Memory(_) if memory::is_needed(&self.path).is_some() => return Ok(()),
            State::Memory(memory) => (&memory.entries(), &Vec::new()),
            State::Broken { entries, refused } => (entries, refused),
        };
        match aside::open_again(&self.path, entries, refused) {
            Ok(database) => {
                let path = self.path.display();
                let clients = entries.len();
                let was_memory = matches!(*state, State::Memory(_));
                *state = State::Open(database);
                if self.failing.works() || was_memory {
                    tracing::warn!(clients, "store.data_source {path} works again, with all clients that were known");
                }
                Ok(())
            }
            Err(why) => {
                tracing::debug!(why, "store.data_source cannot be opened again yet");
                if matches!(*state, State::Memory(_)) { Ok(()) } else { Err(StoreError::Closed) }
            }
        }
    }

    /// The database is of no use any more.
    fn fail(&self, why: &str, entries: Entries, refused: Vec<String>) {
        if self.failing.failed() {
            let path = self.path.display();
            tracing::error!(
                why,
                clients = entries.len(),
                "store.data_source {path} has failed: registrations are refused until it works, known clients are served"
            );
        }
        // Dropping the old one releases its lock.
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Broken { entries, refused };
    }
}

/// The directory of our own files: the configured one, unless the reference's are there; then one in it.
pub fn place(path: &Path) -> PathBuf {
    let beside = path.join(BESIDE);
    let ours = |directory: &Path| directory.join("db").exists();
    if ours(&beside) || (!ours(path) && !matches!(Reference::is_in(path), Ok(false))) { beside } else { path.into() }
}

/// How many clients the store in this directory has, by a look that changes nothing, at a copy of it; `None` when that cannot
/// be known.
pub fn count(path: &Path) -> Option<usize> {
    let place = place(path);
    match place.join("db").try_exists() {
        Ok(true) => aside::copied(&place).map(|database| database.entries().len()),
        Ok(false) => Reference::count(path).ok().map(Option::unwrap_or_default),
        Err(_) => None,
    }
}

fn tell(path: &Path, ours: &Path, reference: &Reference, imported: &Imported) {
    let (path, ours, live) = (path.display(), ours.display(), reference.live().len());
    let Imported { first, added, changed, removed, kept } = imported;
    let news = *first || added + changed + removed > 0;
    if news && reference.torn > 0 {
        let bytes = reference.torn;
        tracing::warn!(
            bytes,
            "store.data_source {path}: the last entry of Mattermost's rtcd was never finished, as after a crash"
        );
    }
    if *first {
        tracing::info!(
            clients = live,
            kept,
            "store.data_source {path}: the clients of Mattermost's rtcd are ours now, in {ours}; its own files stay as they are"
        );
    } else if news {
        tracing::info!(
            added,
            changed,
            removed,
            "store.data_source {path}: what Mattermost's rtcd has changed since then is taken over"
        );
    }
}

fn present(client: &ClientId) -> Result<ClientId, StoreError> {
    if client.as_str().is_empty() { Err(StoreError::EmptyId) } else { Ok(client.clone()) }
}

#[cfg(test)]
mod tests;
