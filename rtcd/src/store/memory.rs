//! Clients in memory, where no directory can be written: a container that may write nowhere serves calls all the same. Whoever
//! registers there registers again after a restart, as the plugin does by itself.
use super::StoreError;
use super::database::{Database, Entries};
use nix::unistd::{AccessFlags, access};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Clients that fit: one is a Mattermost installation, and takes some 150 bytes.
const MAX_CLIENTS: usize = 100_000;

/// What keeps clients: the database, or memory.
pub(super) trait Clients {
    fn get(&self, client: &str) -> Result<Option<String>, StoreError>;
    fn insert(&self, client: &str, hash: &str) -> Result<(), StoreError>;
    fn remove(&self, client: &str) -> Result<(), StoreError>;
}

impl Clients for Database {
    fn get(&self, client: &str) -> Result<Option<String>, StoreError> {
        self.get(client)
    }
    fn insert(&self, client: &str, hash: &str) -> Result<(), StoreError> {
        self.insert(client, hash)
    }
    fn remove(&self, client: &str) -> Result<(), StoreError> {
        self.remove(client)
    }
}

#[derive(Default)]
pub(super) struct Memory(Mutex<Entries>);

impl Memory {
    pub(super) fn entries(&self) -> Entries {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients for Memory {
    fn get(&self, client: &str) -> Result<Option<String>, StoreError> {
        Ok(self.lock().get(client).cloned())
    }
    fn insert(&self, client: &str, hash: &str) -> Result<(), StoreError> {
        let mut entries = self.lock();
        if entries.len() >= MAX_CLIENTS {
            return Err(StoreError::Closed);
        }
        entries.insert(client.into(), hash.into());
        Ok(())
    }
    fn remove(&self, client: &str) -> Result<(), StoreError> {
        self.lock().remove(client).map(drop).ok_or(StoreError::NotFound)
    }
}

/// Why nothing can be written at `path`, when nothing is there that could be lost either. What is in a directory that cannot
/// be written may be somebody's store: that is for the operator to see.
pub(super) fn is_needed(path: &Path) -> Option<io::Error> {
    let is_refusal =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => access(path, AccessFlags::W_OK | AccessFlags::X_OK).err().map(io::Error::from).filter(is_refusal),
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(path).err().filter(is_refusal),
        _ => None,
    }
}
