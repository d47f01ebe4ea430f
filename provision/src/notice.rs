//! What the admin is to know: files that rtcd shows on its status page for as long as they are there.
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Each file here is a notice, and its name what the notice is about.
pub const DIRECTORY: &str = "/run/rtcd/notices";

/// Says this of `topic` from now on; `None`: there is nothing to say. That it cannot be said is logged and stops nothing.
pub fn say(topic: &str, text: Option<&str>) {
    if let Err(error) = write(Path::new(DIRECTORY), topic, text) {
        tracing::warn!(%error, "{DIRECTORY}/{topic} cannot be written");
    }
}

fn write(directory: &Path, topic: &str, text: Option<&str>) -> io::Result<()> {
    let path = directory.join(topic);
    let Some(text) = text else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    // rtcd is another user, and the unit's mask is strict.
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    let partial = directory.join(format!(".{topic}"));
    fs::write(&partial, text)?;
    fs::set_permissions(&partial, Permissions::from_mode(0o644))?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_readable_by_others_and_goes_when_there_is_nothing_to_say() {
        let directory = std::env::temp_dir().join(format!("provision-notice-{}", std::process::id()));
        write(&directory, "update", None).expect("nothing to remove");
        write(&directory, "update", Some("a version waits")).expect("written");
        let path = directory.join("update");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "a version waits");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o644);
        write(&directory, "update", None).expect("removed");
        assert!(!path.exists());
        fs::remove_dir_all(directory).expect("removed");
    }
}
