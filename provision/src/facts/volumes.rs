//! Which devices carry a file system that we read, and how it is called.
use crate::volume::{Format, Volume, VolumeError};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// More devices than a machine that runs this has.
const DEVICE_LIMIT: usize = 256;
/// Devices that the kernel makes up itself; nobody hands over data on them.
const INTERNAL: [&str; 6] = ["loop", "ram", "zram", "dm-", "md", "nbd"];

/// A volume that somebody may have put metadata on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeFact {
    /// The device: `/dev/vdb`.
    pub device: String,
    /// Its label; may be empty.
    pub label: String,
    /// Its kind of file system.
    pub format: Format,
}

/// Opens the volume on `device` (`/dev/vdb`) below `root`; `None` when there is no file system that we know.
pub fn open(root: &Path, device: &str) -> Result<Option<Volume>, VolumeError> {
    let path = root.join(device.trim_start_matches('/'));
    // A drive without a disc must not make us wait, and neither must a pipe.
    let file: File = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_block_device() && !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a block device nor an image").into());
    }
    Volume::open(file)
}

pub(super) fn gather(root: &Path, notices: &mut Vec<String>) -> Vec<VolumeFact> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/block")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !INTERNAL.iter().any(|internal| name.starts_with(internal)))
        .collect();
    // A disk comes before its partitions, and the order is the same at every boot.
    names.sort();
    names.truncate(DEVICE_LIMIT);
    names.iter().filter_map(|name| look(root, name, notices)).collect()
}

fn look(root: &Path, name: &str, notices: &mut Vec<String>) -> Option<VolumeFact> {
    // In sysfs a `!` stands for the `/` of `/dev/cciss/c0d0`.
    let device = format!("/dev/{}", name.replace('!', "/"));
    match open(root, &device) {
        Ok(volume) => volume.map(|volume| {
            let label = volume.label().to_owned();
            VolumeFact { device, label, format: volume.format() }
        }),
        Err(VolumeError::Device(error)) if no_medium(&error) => None,
        Err(error) => {
            notices.push(format!("{device} is left out: {}", crate::chain::chain(&error)));
            None
        }
    }
}

fn no_medium(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(nix::libc::ENOMEDIUM | nix::libc::ENXIO))
}
