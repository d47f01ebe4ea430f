//! What outlives a boot: the last answer of the source that led to a running rtcd.
use crate::apply::disk::{Disk, Found, Owner};
use crate::apply::{ApplyError, write};
use crate::metadata::Metadata;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A fetch that led to a configuration. Holds secrets.
#[derive(Serialize, Deserialize)]
pub struct LastGood {
    /// The name of the source.
    pub source: String,
    /// The machine's DMI UUID: what a copied disk brings along is not ours.
    pub machine: Option<String>,
    /// What the source said, without its user data.
    metadata: Metadata,
    /// The user data in Base64.
    user_data: Option<String>,
}

impl LastGood {
    /// What is to be kept for a boot on which the source does not answer.
    pub fn new(source: &str, machine: Option<&str>, metadata: &Metadata) -> Self {
        let user_data = metadata.user_data.as_ref().map(|bytes| STANDARD.encode(bytes));
        let metadata = Metadata { user_data: None, ..metadata.clone() };
        Self { source: source.to_owned(), machine: machine.map(str::to_owned), metadata, user_data }
    }

    /// What the source said.
    pub fn metadata(&self) -> Option<Metadata> {
        let user_data = self.user_data.as_ref().map(|text| STANDARD.decode(text)).transpose().ok()?;
        Some(Metadata { user_data, ..self.metadata.clone() })
    }

    /// What was kept, if it can be read and is of this machine.
    pub fn load(disk: &dyn Disk, path: &Path, machine: Option<&str>) -> Option<Self> {
        let found = disk.read(path).ok()??;
        let kept: Self = serde_json::from_slice(&found.content).ok()?;
        (kept.machine.as_deref() == machine).then_some(kept)
    }

    /// Keeps it, for root's eyes only.
    pub fn save(&self, disk: &dyn Disk, path: &Path, owner: Owner) -> Result<(), ApplyError> {
        let content = serde_json::to_vec(self).unwrap_or_default();
        write::write(disk, path, &Found { content, mode: 0o600, owner }).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::disk::RealDisk;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn what_was_kept_is_read_back_on_the_same_machine_only() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("var/last-good.json");
        let me = std::fs::metadata(dir.path()).expect("there");
        let metadata =
            Metadata { instance_id: Some("i-1".into()), user_data: Some(vec![0, 255, b'#']), ..Metadata::default() };
        let kept = LastGood::new("EC2", Some("uuid"), &metadata);
        kept.save(&RealDisk, &path, Owner { uid: me.uid(), gid: me.gid() }).expect("saved");
        let load = |machine| LastGood::load(&RealDisk, &path, machine).and_then(|kept| kept.metadata());
        assert!(load(Some("uuid")) == Some(metadata));
        assert!(load(Some("another")).is_none() && load(None).is_none());
        std::fs::write(&path, "{").expect("written");
        assert!(load(Some("uuid")).is_none());
    }
}
