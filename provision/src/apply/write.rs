//! The one way to write a file: whole or not at all, on the medium before it has its name, and only when it changes.
use super::ApplyError;
use super::disk::{Disk, Found};
use std::io;
use std::path::{Path, PathBuf};

/// Writes a file. Returns whether it had to.
pub fn write(disk: &dyn Disk, path: &Path, wanted: &Found) -> Result<bool, ApplyError> {
    let because = |step| move |error| ApplyError::Write { path: path.to_owned(), step, error };
    if disk.read(path).map_err(because("looked at"))?.as_ref() == Some(wanted) {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    disk.make_dir(directory).map_err(because("given a directory"))?;
    let temporary = temporary(path);
    disk.create(&temporary).map_err(because("created"))?;
    disk.write(&temporary, &wanted.content).map_err(because("written"))?;
    disk.own(&temporary, wanted.owner, wanted.mode).map_err(because("given its owner and mode"))?;
    disk.sync(&temporary).map_err(because("brought to the disk"))?;
    disk.rename(&temporary, path).map_err(because("renamed"))?;
    disk.sync(directory).map_err(because("brought to the disk"))?;
    Ok(true)
}

/// Makes `path` a link to `target` in one step.
pub fn link(disk: &dyn Disk, target: &Path, path: &Path) -> Result<(), ApplyError> {
    let because = |step| move |error: io::Error| ApplyError::Write { path: path.to_owned(), step, error };
    let directory = path.parent().unwrap_or(Path::new("/"));
    disk.make_dir(directory).map_err(because("given a directory"))?;
    let temporary = temporary(path);
    disk.link(target, &temporary).map_err(because("created"))?;
    disk.rename(&temporary, path).map_err(because("renamed"))?;
    disk.sync(directory).map_err(because("brought to the disk"))
}

/// Beside the file, so that the rename stays within one file system.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}
