//! Files on the volume with a label. Two volumes with the same label are the same volume twice (a disk and its one
//! partition, in a hybrid image), or nobody knows which one is meant.
use super::SourceError;
use crate::facts::{Facts, open};

/// The files of a volume, in the order in which they were asked for.
pub(super) struct Found {
    pub device: String,
    pub files: Vec<Option<Vec<u8>>>,
}

/// A file by its path, and its size at most.
pub(super) type Wanted = (&'static str, usize);

/// Reads `wanted` from the volume with the label; `None` when there is no such volume.
pub(super) fn read(
    name: &'static str,
    label: &'static str,
    wanted: &[Wanted],
    facts: &Facts,
) -> Result<Option<Found>, SourceError> {
    let mut volumes = facts.labelled(label).into_iter();
    let Some(first) = volumes.next() else { return Ok(None) };
    let found = read_device(name, &first.device, wanted, facts)?;
    for other in volumes {
        if read_device(name, &other.device, wanted, facts)?.files != found.files {
            let (first, second) = (found.device, other.device.clone());
            return Err(SourceError::TwoVolumes { name, label, first, second });
        }
        tracing::info!(label, first = found.device, second = other.device, "two volumes with the same files");
    }
    Ok(Some(found))
}

/// Reads `wanted` from one device.
pub(super) fn read_device(
    name: &'static str,
    device: &str,
    wanted: &[Wanted],
    facts: &Facts,
) -> Result<Found, SourceError> {
    let failed = |error| SourceError::Volume { name, device: device.to_owned(), error };
    let mut files = Vec::new();
    if let Some(mut volume) = open(&facts.root, device).map_err(failed)? {
        for (path, limit) in wanted {
            files.push(volume.read(path, *limit).map_err(failed)?);
        }
    }
    files.resize(wanted.len(), None);
    Ok(Found { device: device.to_owned(), files })
}
