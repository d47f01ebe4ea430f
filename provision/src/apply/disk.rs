//! The few things that applying does to a file system, one method each, so that a test can pull the plug between any two.
use nix::unistd::{Gid, Uid};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Who a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Numeric user id (`chown(2)`).
    pub uid: u32,
    /// Numeric group id (`chown(2)`).
    pub gid: u32,
}

/// What a file is like.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// Its content. May be a secret.
    pub content: Vec<u8>,
    /// Permission bits, octal 0 to 7777, without the file type.
    pub mode: u32,
    /// User and group that it belongs to.
    pub owner: Owner,
}

/// A file system. Every method is one step: after a power cut or a SIGKILL each has happened, or not, or (a write) in part.
pub trait Disk {
    /// The file, or `None` when there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Found>>;
    /// Where a symbolic link leads, or `None` when there is nothing.
    fn read_link(&self, path: &Path) -> io::Result<Option<PathBuf>>;
    /// The names in a directory; none when there is no directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and its parents (0755), if they are not there.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file for its owner's eyes only; a left-over of this name is replaced.
    fn create(&self, path: &Path) -> io::Result<()>;
    /// Writes the content into a file that exists; not yet synced.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Gives a file its owner and its mode, in this order: a chown may take mode bits away.
    fn own(&self, path: &Path, owner: Owner, mode: u32) -> io::Result<()>;
    /// Brings a file or a directory to the medium.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Makes a symbolic link; a left-over of this name is replaced.
    fn link(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Moves over whatever has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; none there is as good.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Found>> {
        let Some(meta) = absent(fs::symlink_metadata(path))? else { return Ok(None) };
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let owner = Owner { uid: meta.uid(), gid: meta.gid() };
        Ok(Some(Found { content: fs::read(path)?, mode: meta.mode() & 0o7777, owner }))
    }

    fn read_link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        absent(fs::read_link(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let Some(entries) = absent(fs::read_dir(path))? else { return Ok(Vec::new()) };
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_dir(parent)?;
        }
        fs::create_dir(path)?;
        // Whatever the umask says: others must find their files in it, secrets are guarded by their own mode.
        fs::set_permissions(path, Permissions::from_mode(0o755))
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        absent(fs::remove_file(path))?;
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.write_all(content)
    }

    fn own(&self, path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
        nix::unistd::chown(path, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        absent(fs::remove_file(path))?;
        std::os::unix::fs::symlink(target, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        absent(fs::remove_file(path)).map(drop)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        absent(fs::remove_dir_all(path)).map(drop)
    }
}

/// Nothing there is an answer.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
