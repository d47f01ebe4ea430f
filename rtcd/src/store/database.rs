//! One open database, in the directory that it was opened in.
use super::{StoreError, io_error};
use nix::unistd::{AccessFlags, access};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Memory for cached pages: a registration takes some 100 bytes, so this holds thousands of them.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// Client ids and key hashes.
pub(super) type Entries = BTreeMap<String, String>;

/// Why a database was not opened.
pub(super) enum OpenError {
    /// Not for what is in it: somebody else has it, or we may not.
    Refused(String),
    /// What is in it cannot be read.
    Damaged,
}

/// What came of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Imported {
    /// There was none before.
    pub(super) first: bool,
    pub(super) added: usize,
    pub(super) changed: usize,
    pub(super) removed: usize,
    /// Clients of the reference that were here already, with a key of their own.
    pub(super) kept: usize,
}

pub(super) struct Database {
    db: sled::Db,
    /// Device and inode of its file.
    file: (u64, u64),
    path: std::path::PathBuf,
}

impl Database {
    /// Opens the one in this directory, or makes one.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let refused = |error: &dyn std::fmt::Display| OpenError::Refused(error.to_string());
        let existed = match std::fs::metadata(path.join("db")) {
            Ok(about) => about.len() > 0,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(refused(&error)),
        };
        // sled asserts on some damage; that must be an error, too.
        let db = match std::panic::catch_unwind(|| open(path, existed)) {
            Ok(Ok(Some(db))) => db,
            Ok(Err(sled::Error::Io(error))) if !is_damage(&error) => return Err(refused(&error)),
            _ => return Err(OpenError::Damaged),
        };
        let file = identity(path).map_err(|error| refused(&error))?;
        Ok(Self { db, file, path: path.into() })
    }

    pub(super) fn get(&self, client: &str) -> Result<Option<String>, StoreError> {
        let hash = self.db.get(client)?;
        Ok(hash.and_then(|hash| String::from_utf8(hash.to_vec()).ok()))
    }

    /// Adds an entry and sees to it that it is where it will be looked for.
    pub(super) fn insert(&self, client: &str, hash: &str) -> Result<(), StoreError> {
        self.db.insert(client, hash)?;
        self.db.flush()?;
        if let Some(why) = self.misplaced(&self.path) {
            return Err(io_error(io::ErrorKind::NotFound, &why));
        }
        let written = contains(&self.path.join("db"), hash.as_bytes());
        match written.map_err(|error| StoreError::Io(sled::Error::Io(error)))? {
            true => Ok(()),
            false => Err(io_error(io::ErrorKind::WriteZero, "what was written is not in the file")),
        }
    }

    pub(super) fn remove(&self, client: &str) -> Result<(), StoreError> {
        self.db.remove(client)?.ok_or(StoreError::NotFound)?;
        self.db.flush()?;
        Ok(())
    }

    /// Takes over what the reference's store says now and did not say when it was last looked at: that changed while the
    /// reference ran, after whatever changed here. The first time, what is known here is the later.
    pub(super) fn import(&self, reference: &BTreeMap<String, Option<String>>) -> Result<Imported, StoreError> {
        let (about, seen) = (self.db.open_tree("about")?, self.db.open_tree("reference")?);
        let first = about.get("reference")?.is_none();
        let mut imported = Imported { first, ..Imported::default() };
        for (client, hash) in reference {
            let now = hash.as_deref().unwrap_or_default();
            if !first && seen.get(client)?.as_deref().unwrap_or_default() == now.as_bytes() {
                continue;
            }
            let known = self.db.get(client)?;
            match (hash, known) {
                (Some(_), Some(_)) if first => imported.kept += 1,
                (Some(hash), known) => {
                    self.db.insert(client, hash.as_str())?;
                    *(if known.is_some() { &mut imported.changed } else { &mut imported.added }) += 1;
                }
                (None, Some(_)) if !first => {
                    self.db.remove(client)?;
                    imported.removed += 1;
                }
                (None, _) => {}
            }
            seen.insert(client, now)?;
        }
        about.insert("reference", "1")?;
        self.db.flush()?;
        Ok(imported)
    }

    /// Everything that can be read.
    pub(super) fn entries(&self) -> Entries {
        let text = |bytes: sled::IVec| String::from_utf8(bytes.to_vec()).ok();
        self.db.iter().filter_map(|entry| entry.ok().and_then(|(id, hash)| Some((text(id)?, text(hash)?)))).collect()
    }

    /// Makes the database hold all of these, and none of those. What else it holds could not be read when it failed.
    pub(super) fn hold(&self, wanted: &Entries, unwanted: &[String]) -> Result<(), StoreError> {
        let held = self.entries();
        for client in unwanted.iter().filter(|client| held.contains_key(*client)) {
            self.db.remove(client)?;
        }
        for (client, hash) in wanted.iter().filter(|(client, hash)| held.get(*client) != Some(hash)) {
            self.db.insert(client.as_str(), hash.as_str())?;
        }
        self.db.flush()?;
        Ok(())
    }

    /// Why what is written now would not be found at `path` by the next process.
    pub(super) fn misplaced(&self, path: &Path) -> Option<String> {
        match identity(path) {
            Err(error) => Some(format!("its files have gone: {error}")),
            Ok(file) if file != self.file => Some("its files have been replaced".into()),
            Ok(_) => {
                let writable = access(path, AccessFlags::W_OK | AccessFlags::X_OK)
                    .and_then(|()| access(&path.join("db"), AccessFlags::W_OK));
                writable.err().map(|error| format!("it cannot be written: {error}"))
            }
        }
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

/// sled tells of damage as of an error in reading; that the lock is taken is `Other`.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = std::fs::metadata(path.join("db"))?;
    Ok((about.dev(), about.ino()))
}

/// Whether these bytes are in the file. It has half a megabyte for thousands of clients, and registrations are rare.
fn contains(path: &Path, wanted: &[u8]) -> io::Result<bool> {
    const CHUNK: usize = 64 * 1024;
    let mut file = File::open(path)?;
    let mut window = Vec::with_capacity(CHUNK + wanted.len());
    loop {
        let read = (&mut file).take(CHUNK as u64).read_to_end(&mut window)?;
        if window.windows(wanted.len().max(1)).any(|bytes| bytes == wanted) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        let keep = window.len().saturating_sub(wanted.len());
        window.drain(..keep);
    }
}
