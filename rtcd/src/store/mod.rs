//! The registered clients on disk: client id to key hash. Nothing else of the daemon outlives its process.
use crate::ids::ClientId;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Memory for cached pages: a registration takes some 100 bytes, so this holds thousands of them.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// Why the store could not do it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operator must act: the directory is locked by another process, unreadable or damaged. It is left as it is.
    #[error("store.data_source {path}: {reason}")]
    Open {
        /// The configured directory.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// An empty client id.
    #[error("error: empty key")]
    EmptyId,
    /// No such client.
    #[error("error: not found")]
    NotFound,
    /// The client is there already; its key stays.
    #[error("already registered")]
    AlreadyThere,
    /// The disk, or a damaged page. The text goes to the log, not to the client.
    #[error("error: store failed")]
    Io(#[source] sled::Error),
    /// The task that carried the work was cancelled: the process is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self::Io(error)
    }
}

/// A handle on the store; clones share it. Each call blocks on the disk in a thread of its own.
#[derive(Clone)]
pub struct Store {
    db: sled::Db,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the store in this directory, or makes one there when there is none. Blocks.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |reason: String| StoreError::Open { path: path.into(), reason };
        let existed = std::fs::metadata(path.join("db")).is_ok_and(|db| db.len() > 0);
        // sled asserts on some damage; that must be an error with the path in it, too.
        match std::panic::catch_unwind(|| open(path, existed)) {
            Ok(Ok(Some(db))) => Ok(Self { db }),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Ok(Ok(None)) | Err(_) => Err(failed("the database is damaged".into())),
        }
    }

    /// The key hash of a client.
    pub async fn get(&self, client: &ClientId) -> Result<String, StoreError> {
        let client = present(client)?;
        self.blocking(move |db| {
            let hash = db.get(client.as_str())?.ok_or(StoreError::NotFound)?;
            String::from_utf8(hash.to_vec()).map_err(|_| StoreError::NotFound)
        })
        .await
    }

    /// Adds a client. When this returns, the entry has reached the disk.
    pub async fn add(&self, client: &ClientId, hash: String) -> Result<(), StoreError> {
        let client = present(client)?;
        self.blocking(move |db| {
            db.compare_and_swap(client.as_str(), None::<&[u8]>, Some(hash.as_bytes()))?
                .map_err(|_| StoreError::AlreadyThere)?;
            db.flush()?;
            Ok(())
        })
        .await
    }

    /// Removes a client, durably as well.
    pub async fn remove(&self, client: &ClientId) -> Result<(), StoreError> {
        let client = present(client)?;
        self.blocking(move |db| {
            db.remove(client.as_str())?.ok_or(StoreError::NotFound)?;
            db.flush()?;
            Ok(())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let db = self.db.clone();
        tokio::task::spawn_blocking(move || work(&db)).await.map_err(|_| StoreError::Stopping)?
    }
}

/// `None`: there was a database, but what every database of ours begins with could not be read back from it. sled
/// recovers by dropping what it cannot read, and an empty store must not pass for a good one.
fn open(path: &Path, existed: bool) -> Result<Option<sled::Db>, sled::Error> {
    let db = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None).open()?;
    let about = db.open_tree("about")?;
    if existed {
        return Ok(about.get("format")?.map(|_| db));
    }
    about.insert("format", "1")?;
    db.flush()?;
    Ok(Some(db))
}

fn present(client: &ClientId) -> Result<ClientId, StoreError> {
    if client.as_str().is_empty() { Err(StoreError::EmptyId) } else { Ok(client.clone()) }
}

#[cfg(test)]
mod tests;
