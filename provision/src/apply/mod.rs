//! Makes what was rendered the machine's own: all of it at once or nothing of it.
//!
//! The files of one outcome lie together in a directory, a *generation*. `/run/rtcd` is a symbolic link to the one that
//! counts, and moving that link is the only moment at which anything changes for a reader.
pub mod disk;
pub mod write;

use disk::{Disk, Found, Owner};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The files of one outcome by their name in `/run/rtcd`.
pub type Files = BTreeMap<String, Found>;

/// Why nothing was applied. For the operator: the disk is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A step of a write.
    #[error("{path} could not be {step}: {error}")]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What was being done, as a participle: `renamed`.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody else has taken the place.
    #[error("{0} is there already and is none of ours: remove it")]
    Foreign(PathBuf),
    /// A user that the image lacks.
    #[error("there is no user {user} in {file}")]
    NoUser {
        /// The name that is missing.
        user: &'static str,
        /// Where it was looked for.
        file: PathBuf,
    },
}

/// The paths that are written to, all below one root.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Below a root; `/` on a real machine.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
    /// The link that rtcd reads its files through.
    pub fn current(&self) -> PathBuf {
        self.root.join("run/rtcd")
    }
    fn generations(&self) -> PathBuf {
        self.root.join("run/provision/generations")
    }
    /// How provisioning went; this boot's.
    pub fn status(&self) -> PathBuf {
        self.root.join("run/provision/status.json")
    }
    /// The last metadata that led to a running rtcd; survives boots.
    pub fn last_good(&self) -> PathBuf {
        self.root.join("var/lib/provision/last-good.json")
    }
    /// The last network that led to a running rtcd.
    pub fn last_good_network(&self) -> PathBuf {
        self.root.join("var/lib/provision/network.json")
    }
    /// Where networkd and udev read what is of this boot.
    pub fn networkd(&self) -> PathBuf {
        self.root.join("run/systemd/network")
    }
    /// Bonds, bridges and VLANs that are no more, for the unit that tells networkd.
    pub fn netdevs_gone(&self) -> PathBuf {
        self.root.join("run/provision/netdevs-gone")
    }
    /// What systemd-timesyncd reads beside its own.
    pub fn timesyncd(&self) -> PathBuf {
        self.root.join("run/systemd/timesyncd.conf.d/50-provision.conf")
    }
    /// What systemd-journal-upload reads beside its own.
    pub fn journal_upload(&self) -> PathBuf {
        self.root.join("run/systemd/journal-upload.conf.d/50-provision.conf")
    }
}

/// What applying did: the names of the files that are new, gone or other than before.
pub type Changed = BTreeSet<String>;

/// Makes `files` the current generation, unless it has the same files already.
pub fn apply(disk: &dyn Disk, paths: &Paths, files: &Files) -> Result<Changed, ApplyError> {
    let (link, generations) = (paths.current(), paths.generations());
    let because = |step| {
        let path = link.clone();
        move |error| ApplyError::Write { path, step, error }
    };
    let current = match disk.read_link(&link) {
        // A directory or a file is no link.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(ApplyError::Foreign(link)),
        found => found.map_err(because("looked at"))?,
    };
    let current = current.and_then(|target| target.file_name().map(|name| name.to_string_lossy().into_owned()));
    let names = disk.list(&generations).map_err(because("looked at"))?;
    let changed = match &current {
        Some(name) => difference(disk, &generations.join(name), files)?,
        None => files.keys().cloned().collect(),
    };
    let mut keep = current;
    if !changed.is_empty() || keep.is_none() {
        let number = names.iter().filter_map(|name| name.parse::<u64>().ok()).max().unwrap_or(0);
        let name = number.saturating_add(1).to_string();
        let generation = generations.join(&name);
        disk.make_dir(&generation).map_err(because("given a directory"))?;
        for (file, wanted) in files {
            write::write(disk, &generation.join(file), wanted)?;
        }
        disk.sync(&generations).map_err(because("brought to the disk"))?;
        write::link(disk, &Path::new("provision/generations").join(&name), &link)?;
        keep = Some(name);
    }
    // What was replaced, and what a run that was killed has left.
    for name in names.into_iter().filter(|name| Some(name) != keep.as_ref()) {
        disk.remove_dir(&generations.join(name)).map_err(because("tidied up"))?;
    }
    Ok(changed)
}

fn difference(disk: &dyn Disk, generation: &Path, files: &Files) -> Result<Changed, ApplyError> {
    let because = |path: &Path| {
        let path = path.to_owned();
        move |error| ApplyError::Write { path, step: "looked at", error }
    };
    let there = disk.list(generation).map_err(because(generation))?;
    let mut changed: Changed = there.into_iter().filter(|name| !files.contains_key(name)).collect();
    for (name, wanted) in files {
        let path = generation.join(name);
        if disk.read(&path).map_err(because(&path))?.as_ref() != Some(wanted) {
            changed.insert(name.clone());
        }
    }
    Ok(changed)
}

/// The user with this name, from `etc/passwd` below the root: the image's own, whatever the machine is that renders.
pub fn user(root: &Path, name: &'static str) -> Result<Owner, ApplyError> {
    let file = root.join("etc/passwd");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let owner = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (user, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (user == name).then_some(Owner { uid, gid })
    });
    owner.ok_or(ApplyError::NoUser { user: name, file })
}

#[cfg(test)]
mod tests;
