//! The facts about the machine, all below one root, so that a directory can stand for a machine.
mod dmi;
mod guestinfo;
#[cfg(test)]
mod tests;
mod volumes;

pub use dmi::{Dmi, clean};
pub use guestinfo::Guestinfo;
pub use volumes::{VolumeFact, open};

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where NoCloud keeps its files on the root file system.
pub const SEED_DIRECTORY: &str = "var/lib/cloud/seed/nocloud";
/// Where systemd puts what the hypervisor handed over as credentials.
const SYSTEM_CREDENTIALS: &str = "run/credentials/@system";
/// The credential with user data, which makes a directory of them a source.
pub const USER_DATA_CREDENTIAL: &str = "rtcd.user-data";
/// The credential with a network configuration; the user data may come from elsewhere.
pub const NETWORK_CREDENTIAL: &str = "rtcd.network-config";
/// The boot loader hands over 2 to 4 KiB; a boot configuration in the initrd may add to it.
const CMDLINE_LIMIT: usize = 16 << 10;
/// `os-release` has about twenty lines.
const OS_RELEASE_LIMIT: usize = 16 << 10;

/// What the machine is, before anybody is asked.
#[derive(Clone)]
pub struct Facts {
    /// Everything is below it; `/` on a machine.
    pub root: PathBuf,
    /// What the firmware says.
    pub dmi: Dmi,
    /// `/sys/hypervisor/uuid`, which Xen sets.
    pub hypervisor_uuid: String,
    /// The command line of the kernel.
    pub cmdline: String,
    /// Every volume with a file system that we read.
    pub volumes: Vec<VolumeFact>,
    /// The directory with credentials, when there is one with user data in it.
    pub credentials: Option<PathBuf>,
    /// The credential with a network configuration.
    pub network_credential: Option<PathBuf>,
    /// Whether there is a seed directory with `meta-data` or `user-data`.
    pub seed: bool,
    /// What VMware's host says.
    pub guestinfo: Guestinfo,
    /// Whether the image is a debug one, in which SSH keys have a meaning.
    pub debug_image: bool,
    /// What could not be looked at, and why; for the log.
    pub notices: Vec<String>,
}

impl Facts {
    /// Looks at everything below `root`. `credentials` is `$CREDENTIALS_DIRECTORY`.
    pub fn gather(root: &Path, credentials: Option<&Path>) -> Self {
        let dmi = Dmi::gather(root);
        let mut notices = Vec::new();
        let guestinfo = if dmi.is_vmware() { Guestinfo::gather(root, &mut notices) } else { Guestinfo::default() };
        let volumes = volumes::gather(root, &mut notices);
        let credentials = credentials.map_or_else(|| root.join(SYSTEM_CREDENTIALS), Path::to_owned);
        let seed = root.join(SEED_DIRECTORY);
        Self {
            dmi,
            hypervisor_uuid: dmi::read(&root.join("sys/hypervisor/uuid")),
            cmdline: read_text(&root.join("proc/cmdline"), CMDLINE_LIMIT),
            volumes,
            network_credential: Some(credentials.join(NETWORK_CREDENTIAL)).filter(|path| path.is_file()),
            credentials: credentials.join(USER_DATA_CREDENTIAL).is_file().then_some(credentials),
            seed: seed.join("meta-data").is_file() || seed.join("user-data").is_file(),
            guestinfo,
            debug_image: is_debug_image(&os_release(root)),
            notices,
            root: root.to_owned(),
        }
    }

    /// What tells this machine from a copy of its disk in another one.
    pub fn machine(&self) -> Option<&str> {
        Some(self.dmi.product_uuid.as_str()).filter(|uuid| !uuid.is_empty())
    }

    /// The volumes with this label, in any case of its letters.
    pub fn labelled(&self, label: &str) -> Vec<&VolumeFact> {
        self.volumes.iter().filter(|volume| volume.label.eq_ignore_ascii_case(label)).collect()
    }
}

/// Reads at most `limit` bytes of a file, and says when there are more; `None` when there is no such file.
pub fn read_file(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut content)?;
    if content.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(Some(content))
}

fn read_text(path: &Path, limit: usize) -> String {
    let content = read_file(path, limit).ok().flatten().unwrap_or_default();
    clean(&content)
}

fn os_release(root: &Path) -> String {
    let read = |path: &str| read_file(&root.join(path), OS_RELEASE_LIMIT).ok().flatten();
    let content = read("etc/os-release").or_else(|| read("usr/lib/os-release")).unwrap_or_default();
    String::from_utf8_lossy(&content).into_owned()
}

fn is_debug_image(os_release: &str) -> bool {
    let mut variants = os_release.lines().filter_map(|line| line.strip_prefix("VARIANT_ID="));
    variants.next_back().is_some_and(|variant| variant.trim().trim_matches(['"', '\'']) == "debug")
}
