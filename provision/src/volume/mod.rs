//! Small file systems, read from block devices without mounting them: no capability is needed, and no parser of the
//! kernel ever sees what a stranger wrote.
mod disk;
#[cfg(test)]
mod tests;

pub use disk::Device;
use disk::Disk;
use hadris_fat::sync::FatFs;
use hadris_fs::sync::FileSystem;
use hadris_fs::{DirCursor, ErrorKind, FileType, MountOptions, Name, NodeId, OpenMode};
use hadris_iso::sync::IsoFs;
use hadris_udf::sync::UdfFs;
use std::io;

/// How many entries of a directory are looked at for a name in another case.
const DIRECTORY_LIMIT: usize = 1024;
/// The longest label: Joliet allows 32 bytes, FAT 11, UDF 127 characters.
const LABEL_LIMIT: usize = 512;

/// What kind of file system a volume has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// UDF, as Azure's provisioning DVD.
    Udf,
    /// ISO 9660, with Joliet or Rock Ridge where it has them.
    Iso9660,
    /// FAT12, FAT16 or FAT32.
    Vfat,
}

/// Why a volume cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The device itself fails.
    #[error("it cannot be read")]
    Device(#[from] io::Error),
    /// What is on it makes no sense.
    #[error("its file system is damaged: {0}")]
    Damaged(String),
    /// A file is bigger than anything that belongs there.
    #[error("{path} has {size} bytes, at most {limit} are read")]
    TooBig {
        /// The path within the volume.
        path: String,
        /// What the directory says.
        size: u64,
        /// What the caller allows.
        limit: usize,
    },
}

/// A file system on a device.
pub struct Volume {
    files: Box<dyn FileSystem<DeviceError = io::Error>>,
    format: Format,
    label: String,
}

impl Volume {
    /// Reads the head of a device; `None` when there is no file system that we know.
    pub fn open(device: impl Device + 'static) -> Result<Option<Self>, VolumeError> {
        let disk = Disk::new(device)?;
        // In the order of blkid: a bridge disc that is both UDF and ISO 9660 counts as UDF.
        for format in [Format::Udf, Format::Iso9660, Format::Vfat] {
            if !disk.looks_like(format)? {
                continue;
            }
            match mount(format, disk.clone()) {
                Ok(mut files) => {
                    let label = label(files.as_mut())?;
                    return Ok(Some(Self { files, format, label }));
                }
                Err(error) if error.kind() == ErrorKind::NotRecognized => {}
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(None)
    }

    /// The label, without the padding; may be empty.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The kind of file system.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads `path` (`openstack/latest/user_data`), in any case of its letters; `None` when there is no such file.
    pub fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, VolumeError> {
        let mut node = self.files.root();
        for name in path.split('/') {
            match self.find(node, name)? {
                Some(found) => node = found,
                None => return Ok(None),
            }
        }
        let stat = self.files.stat(node).map_err(damaged)?;
        if stat.file_type() != FileType::File {
            return Ok(None);
        }
        let size = stat.len();
        if size > limit as u64 {
            return Err(VolumeError::TooBig { path: path.to_owned(), size, limit });
        }
        self.files.open(node, OpenMode::Read).map_err(damaged)?;
        let content = self.read_node(node, size as usize);
        self.files.close(node).map_err(damaged)?;
        content.map(Some)
    }

    fn read_node(&mut self, node: NodeId, size: usize) -> Result<Vec<u8>, VolumeError> {
        let mut content = vec![0; size];
        let mut have = 0;
        while let Some(rest) = content.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match self.files.read(node, have as u64, rest).map_err(damaged)? {
                0 => return Err(VolumeError::Damaged("a file ends before its size".to_owned())),
                more => have += more,
            }
        }
        Ok(content)
    }

    /// Exactly, else in any case: writers of such volumes do not agree on it.
    fn find(&mut self, directory: NodeId, name: &str) -> Result<Option<NodeId>, VolumeError> {
        match self.files.lookup(directory, Name::new(name)) {
            Ok(node) => return Ok(Some(node)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(damaged(error)),
        }
        let mut cursor = DirCursor::START;
        for _ in 0..DIRECTORY_LIMIT {
            let Some(entry) = self.files.readdir(directory, cursor).map_err(damaged)? else { return Ok(None) };
            if entry.name().as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                return self.files.lookup(directory, entry.name()).map(Some).map_err(damaged);
            }
            cursor = entry.next_cursor();
        }
        Err(VolumeError::Damaged(format!("a directory has more than {DIRECTORY_LIMIT} entries")))
    }
}

fn mount(
    format: Format,
    disk: Disk,
) -> Result<Box<dyn FileSystem<DeviceError = io::Error>>, hadris_fs::Error<io::Error>> {
    let options = MountOptions::new().read_only();
    Ok(match format {
        Format::Udf => Box::new(UdfFs::mount(disk, options).map_err(|error| error.into_error())?),
        Format::Iso9660 => Box::new(IsoFs::mount(disk, options).map_err(|error| error.into_error())?),
        Format::Vfat => Box::new(FatFs::mount(disk, options).map_err(|error| error.into_error())?),
    })
}

fn label(files: &mut dyn FileSystem<DeviceError = io::Error>) -> Result<String, VolumeError> {
    let mut buffer = [0; LABEL_LIMIT];
    let label = files.label(&mut buffer).map_err(damaged)?.unwrap_or_default();
    Ok(label.trim_matches(|c: char| c == ' ' || c == '\0').chars().filter(|c| !c.is_control()).collect())
}

fn damaged(error: hadris_fs::Error<io::Error>) -> VolumeError {
    VolumeError::Damaged(error.to_string())
}
