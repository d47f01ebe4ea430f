//! The store of the reference, found in `store.data_source`: its clients become ours, and its files stay as they are.
use super::Entries;
use super::bitcask::{self, Format};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// The longest file that is read. The reference begins a new data file after a megabyte.
const MAX_FILE: u64 = 64 * 1024 * 1024;
const CONFIG: &str = "config.json";
const INDEX: &str = "index";
const LOCK: &str = "lock";

/// Why its clients are not known.
#[derive(Debug, Error)]
pub(super) enum ReferenceError {
    #[error("its lock is held: Mattermost's rtcd, or another rtcd, still runs on it; stop that one first")]
    Running,
    #[error("{file}: {error}")]
    Io { file: String, error: io::Error },
    #[error("{file}: {what}")]
    Damaged { file: String, what: String },
    #[error("{0} is missing, or a part of it: the index says that there are clients in it")]
    Incomplete(String),
}

impl ReferenceError {
    /// What the admin can do about it.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Running => "",
            Self::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                ". Give the directory and its files to the user that rtcd runs as (chown -R)"
            }
            _ => {
                ". Put a backup of the directory in its place; or set store.data_source to another directory and \
                 register the clients again, with `rtcd client add`"
            }
        }
    }
}

/// What it holds.
#[derive(Debug)]
pub(super) struct Reference {
    /// Key hashes by client id; `None`: the client has been removed.
    pub(super) clients: BTreeMap<String, Option<String>>,
    /// Bytes at the end of the last data file that were never written to their end.
    pub(super) torn: usize,
    /// Held for as long as we run: what the reference changes, it changes before we start or after we have ended.
    _lock: Option<Flock<File>>,
}

impl Reference {
    /// Reads the store in this directory; `None` when there is none of the reference.
    pub(super) fn open(path: &Path, now: SystemTime) -> Result<Option<Self>, ReferenceError> {
        let Some(files) = data_files(path)? else { return Ok(None) };
        let lock = lock(path)?;
        Self::read(path, &files, now).map(|reference| Some(Self { _lock: lock, ..reference }))
    }

    /// How many clients it has, without a lock; `None` when there is none of the reference.
    pub(super) fn count(path: &Path) -> Result<Option<usize>, ReferenceError> {
        let Some(files) = data_files(path)? else { return Ok(None) };
        Self::read(path, &files, SystemTime::now()).map(|reference| Some(reference.live().len()))
    }

    /// Whether there is one in this directory.
    pub(super) fn is_in(path: &Path) -> Result<bool, ReferenceError> {
        data_files(path).map(|files| files.is_some())
    }

    /// The clients that it knows.
    pub(super) fn live(&self) -> Entries {
        self.clients.iter().filter_map(|(client, hash)| Some((client.clone(), hash.clone()?))).collect()
    }

    fn read(path: &Path, files: &BTreeMap<u32, String>, now: SystemTime) -> Result<Self, ReferenceError> {
        let format = match read(path, CONFIG)? {
            Some(json) => Format::parse(&json).map_err(|error| damaged(CONFIG, &error))?,
            None => Format::default(),
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (mut clients, mut lengths) = (BTreeMap::new(), BTreeMap::new());
        let (mut torn, mut before) = (0, "");
        for (number, name) in files {
            if torn > 0 {
                return Err(damaged(before, &"its last entry was never finished, and later files follow"));
            }
            before = name;
            let bytes = read(path, name)?.unwrap_or_default();
            lengths.insert(*number, bytes.len() as u64);
            let mut odd = None;
            let read = format.read(&bytes, |entry| match client(&entry, now) {
                Some((id, hash)) => drop(clients.insert(id, hash)),
                None => odd = Some(String::from_utf8_lossy(entry.key).into_owned()),
            });
            torn = read.map_err(|error| damaged(name, &error))?;
            if let Some(id) = odd {
                return Err(damaged(name, &format!("what it has for {id:?} is not what rtcd keeps of a client")));
            }
        }
        let places = read(path, INDEX)?.and_then(|bytes| bitcask::index(&bytes)).unwrap_or_default();
        if let Some(lost) = places.iter().find(|place| lengths.get(&place.file).is_none_or(|len| *len < place.end)) {
            return Err(ReferenceError::Incomplete(format!("{:09}.data", lost.file)));
        }
        Ok(Self { clients, torn, _lock: None })
    }
}

/// A client and the hash of its key; `None` when it is neither.
fn client(entry: &bitcask::Entry<'_>, now: u64) -> Option<(String, Option<String>)> {
    let id = String::from_utf8(entry.key.to_vec()).ok()?;
    if entry.value.is_empty() || (entry.expires != 0 && entry.expires < now) {
        return Some((id, None));
    }
    let hash = std::str::from_utf8(entry.value).ok()?;
    let _: bcrypt::HashParts = hash.parse().ok()?;
    Some((id, Some(hash.to_owned())))
}

/// The data files by number; `None` when this is no store of the reference.
fn data_files(path: &Path) -> Result<Option<BTreeMap<u32, String>>, ReferenceError> {
    let failed = |error| ReferenceError::Io { file: path.display().to_string(), error };
    let names = match fs::read_dir(path) {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let (mut files, mut found) = (BTreeMap::new(), false);
    for name in names {
        let name = name.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        found |= name == CONFIG;
        let digits = name.strip_suffix(".data").filter(|digits| digits.len() >= 9);
        if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
            files.insert(number, name.to_owned());
        }
    }
    Ok((found || !files.is_empty()).then_some(files))
}

/// `None` when there is no such file.
fn read(path: &Path, name: &str) -> Result<Option<Vec<u8>>, ReferenceError> {
    let failed = |error| ReferenceError::Io { file: name.to_owned(), error };
    let file = match File::open(path.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(damaged(name, &"it is too long to be of rtcd"));
    }
    Ok(Some(bytes))
}

fn damaged(file: &str, what: &dyn std::fmt::Display) -> ReferenceError {
    ReferenceError::Damaged { file: file.to_owned(), what: what.to_string() }
}

/// The reference makes this file when it opens the store, and holds a flock(2) on it. It is not made here.
fn lock(path: &Path) -> Result<Option<Flock<File>>, ReferenceError> {
    let failed = |error| ReferenceError::Io { file: LOCK.to_owned(), error };
    let file = match File::open(path.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(ReferenceError::Running),
        // A file system without locks: the reference could not have one either.
        Err((_, Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::EBADF)) => Ok(None),
        Err((_, error)) => Err(failed(error.into())),
    }
}
