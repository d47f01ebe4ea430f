//! What to do with a database that cannot be read: its files are kept beside the new one, and nobody has to come before
//! calls are possible again.
use super::database::{Database, Entries, OpenError};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest database that is copied for a look: thousands of clients take half a megabyte.
const MAX_COPY: u64 = 64 * 1024 * 1024;

/// Opens a database. A damaged one is set aside: first its snapshot alone, from which nothing is lost, then all of it.
pub(super) fn open_or_set_aside(path: &Path) -> Result<Database, String> {
    let shown = path.display();
    match Database::open(path) {
        Ok(database) => return Ok(database),
        Err(OpenError::Refused(reason)) => return Err(reason),
        Err(OpenError::Damaged) => {}
    }
    let failed = |error: io::Error| format!("the database is damaged, and cannot be set aside: {error}");
    let aside = directory(path).map_err(failed)?;
    let is_snapshot = |name: &str| name.starts_with("snap.");
    if move_to(path, &aside, &is_snapshot).map_err(failed)?
        && let Ok(database) = Database::open(path)
    {
        let clients = database.entries().len();
        tracing::error!(clients, kept = %aside.display(), "store.data_source {shown}: a damaged snapshot was set aside");
        return Ok(database);
    }
    let is_ours = |name: &str| is_snapshot(name) || matches!(name, "db" | "conf" | "blobs");
    move_to(path, &aside, &is_ours).map_err(failed)?;
    match Database::open(path) {
        Ok(database) => {
            tracing::error!(
                kept = %aside.display(),
                "store.data_source {shown}: the database is damaged and was set aside: clients must register again"
            );
            Ok(database)
        }
        Err(OpenError::Refused(reason)) => Err(reason),
        Err(OpenError::Damaged) => Err("the database is damaged".into()),
    }
}

/// Opens the database again, with all of these entries and without the clients that were refused.
pub(super) fn open_again(path: &Path, entries: &Entries, refused: &[String]) -> Result<Database, String> {
    let database = open_or_set_aside(path)?;
    database.hold(entries, refused).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    match database.misplaced(path) {
        Some(why) => Err(why),
        None => Ok(database),
    }
}

/// A database as it is now, copied and opened somewhere else. `None`: it cannot be read, or nothing can be written anywhere.
pub(super) fn copied(path: &Path) -> Option<Copied> {
    let directory = std::env::temp_dir().join(format!("rtcd-{}-{:016x}", std::process::id(), rand::random::<u64>()));
    fs::DirBuilder::new().mode(0o700).create(&directory).ok()?;
    let mut copied = Copied { database: None, directory };
    let mut bytes = 0;
    for entry in fs::read_dir(path).ok()?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| matches!(name, "db" | "conf") || name.starts_with("snap.")) {
            bytes += entry.metadata().ok()?.len();
            if bytes > MAX_COPY {
                return None;
            }
            fs::copy(entry.path(), copied.directory.join(name)).ok()?;
        }
    }
    copied.database = Database::open(&copied.directory).ok();
    copied.database.is_some().then_some(copied)
}

/// A database that goes with this value.
pub(super) struct Copied {
    database: Option<Database>,
    directory: PathBuf,
}

impl Copied {
    pub(super) fn entries(&self) -> Entries {
        self.database.as_ref().map(Database::entries).unwrap_or_default()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.database = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A new directory inside the store's own: that may be a mount point, whose parent is not ours.
fn directory(path: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let aside = path.join(format!("damaged-{}.{:09}", now.as_secs(), now.subsec_nanos()));
    fs::create_dir(&aside)?;
    Ok(aside)
}

/// Whether anything was moved.
fn move_to(path: &Path, aside: &Path, which: &dyn Fn(&str) -> bool) -> io::Result<bool> {
    let mut moved = false;
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(which) {
            fs::rename(path.join(&name), aside.join(&name))?;
            moved = true;
        }
    }
    Ok(moved)
}
