//! The boot partition is read-only, so that a power cut finds it clean, but for the moments in which a version is written.
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the image mounts it.
const MOUNT_POINT: &str = "/boot";

/// As long as this lives the partition can be written.
#[derive(Debug)]
#[must_use]
pub struct Writable(());

impl Writable {
    /// Makes it so. A machine that has it mounted elsewhere, or writable already, is left as it is, with a line in the journal.
    pub fn begin() -> Self {
        remount("rw");
        Self(())
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        remount("ro");
    }
}

fn remount(how: &str) {
    // Seen first: it is mounted when somebody looks.
    let seen = Path::new(MOUNT_POINT).read_dir().map(drop);
    let told = seen.and_then(|()| {
        let options = format!("remount,{how}");
        Command::new("mount").args(["-o", &options, MOUNT_POINT]).stdin(Stdio::null()).output()
    });
    match told {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            tracing::warn!("{MOUNT_POINT} stays as it is: {}", String::from_utf8_lossy(&output.stderr).trim())
        }
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "{MOUNT_POINT} stays as it is"),
    }
}
