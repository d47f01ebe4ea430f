//! The log file: opened again when it has gone or on SIGHUP, rotated when it is large. Whatever is wrong with it is said on
//! the console, and the daemon goes on. Where there is no other log, its lines go to standard output meanwhile.
use super::console::Console;
use super::once::Once;
use super::queue::Sink;
use super::rotate;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Size at which the file is rotated, as the reference has it: 100 MB.
pub const MAX_BYTES: u64 = 100 * 1024 * 1024;

pub(super) struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    /// There is no other log: what is logged about the file itself is printed, and what the file does not take goes here.
    instead: Option<Box<dyn Sink>>,
    open: Option<Open>,
    failing: Once,
    not_rotated: Once,
}

struct Open {
    file: File,
    bytes: u64,
    /// The disk was full in the middle of a line.
    torn: bool,
}

impl LogFile {
    /// Opens nothing yet.
    pub(super) fn new(path: &Path) -> Self {
        let (instead, open, failing, not_rotated) = Default::default();
        Self { path: path.into(), max_bytes: MAX_BYTES, instead, open, failing, not_rotated }
    }

    /// The same where there is no other log.
    pub(super) fn alone(path: &Path) -> io::Result<Self> {
        let console = Console::new()?;
        Ok(Self { instead: Some(Box::new(console)), ..Self::new(path) })
    }

    fn try_open(&self) -> io::Result<Open> {
        // Appending, so that logrotate's copytruncate works; not for everybody's eyes.
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o640);
        let file = match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The directory is made as the reference makes it.
                self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                options.open(&self.path)?
            }
            opened => opened?,
        };
        let bytes = file.metadata()?.len();
        Ok(Open { file, bytes, torn: false })
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        if self.open.is_none() {
            let opened = self.try_open();
            self.tell(opened.as_ref().err());
            self.open = Some(opened?);
            rotate::tidy_later(&self.path);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Says what is new about the file.
    fn tell(&self, error: Option<&io::Error>) {
        let path = self.path.display();
        match error {
            Some(error) if self.failing.failed() => {
                tracing::error!(%error, "logger.file_location: {path} cannot be written, what is logged is not kept there");
                if self.instead.is_some() {
                    eprintln!(
                        "rtcd: logger.file_location: {path} cannot be written: {error}; the log goes to standard output until it can"
                    );
                }
            }
            None if self.failing.works() => tracing::info!("logger.file_location: {path} is written again"),
            _ => {}
        }
    }

    fn rotate(&mut self) {
        let rotated = rotate::rename(&self.path);
        match rotated {
            Ok(()) => {
                self.open = None;
                self.not_rotated.works();
            }
            Err(error) if self.not_rotated.failed() => {
                tracing::error!(%error, "the log file cannot be rotated, it grows beyond {} MB", self.max_bytes >> 20);
            }
            Err(_) => {}
        }
    }

    /// Whether the path still names what is open.
    fn is_current(&self) -> bool {
        let Some(open) = &self.open else { return true };
        let (Ok(ours), Ok(named)) = (open.file.metadata(), std::fs::metadata(&self.path)) else { return false };
        (ours.dev(), ours.ino()) == (named.dev(), named.ino())
    }
}

impl LogFile {
    fn write_to_file(&mut self, lines: &[u8]) -> io::Result<()> {
        let max = self.max_bytes;
        let open = self.opened()?;
        if open.bytes > 0 && open.bytes + lines.len() as u64 > max {
            self.rotate();
        }
        let open = self.opened()?;
        let end: &[u8] = if open.torn { b"\n" } else { b"" };
        let written = open.file.write_all(end).and_then(|()| open.file.write_all(lines));
        open.torn = written.is_err();
        open.bytes += lines.len() as u64;
        self.tell(written.as_ref().err());
        written
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.write_to_file(lines);
        match (&written, &mut self.instead) {
            (Err(_), Some(instead)) => instead.write(lines),
            _ => written,
        }
    }

    fn tick(&mut self) {
        if !self.is_current() {
            self.open = None;
        }
        // A failure is said by now, and a success.
        if self.open.is_none() {
            let _ = self.opened();
        }
        // copytruncate makes it shorter.
        if let Some(open) = &mut self.open
            && let Ok(about) = open.file.metadata()
        {
            open.bytes = about.len();
        }
    }

    fn reopen(&mut self) {
        self.open = None;
        let _ = self.opened();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::TempDir;
    use std::fs;

    #[test]
    fn a_file_that_has_gone_is_made_again_and_one_that_was_renamed_is_left_alone() {
        let dir = TempDir::new();
        let path = dir.path().join("logs/rtcd.log");
        let mut log = LogFile::new(&path);
        log.write(b"one\n").expect("the directory is made");
        let renamed = path.with_extension("old");
        fs::rename(&path, &renamed).expect("renamed");
        log.reopen();
        log.write(b"two\n").expect("written");
        assert_eq!((fs::read(&renamed).unwrap(), fs::read(&path).unwrap()), (b"one\n".to_vec(), b"two\n".to_vec()));
        fs::remove_dir_all(path.parent().expect("a directory")).expect("removed");
        log.tick();
        log.write(b"three\n").expect("written");
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn an_unwritable_file_fails_until_it_is_writable() {
        let dir = TempDir::new();
        let path = dir.path().join("rtcd.log");
        fs::create_dir(&path).expect("in the way");
        let mut log = LogFile::new(&path);
        assert!(log.write(b"one\n").is_err() && log.failing.is_failing());
        fs::remove_dir(&path).expect("removed");
        log.write(b"two\n").expect("written");
        assert!(!log.failing.is_failing());
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }

    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Sink for Lines {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            self.0.lock().expect("not poisoned").extend(lines);
            Ok(())
        }
    }

    #[test]
    fn what_the_only_log_does_not_take_goes_to_standard_output() {
        let dir = TempDir::new();
        let path = dir.path().join("rtcd.log");
        fs::create_dir(&path).expect("in the way");
        let output = Lines::default();
        let mut log = LogFile { instead: Some(Box::new(output.clone())), ..LogFile::new(&path) };
        log.write(b"one\n").expect("it goes there");
        fs::remove_dir(&path).expect("removed");
        log.write(b"two\n").expect("written");
        assert_eq!(output.0.lock().expect("not poisoned").as_slice(), b"one\n");
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn a_full_disk_tears_no_more_than_one_line() {
        let mut log = LogFile::new(Path::new("/dev/full"));
        assert!(log.write(b"one\n").is_err());
        assert!(log.open.as_ref().is_some_and(|open| open.torn));
    }

    #[test]
    fn a_large_file_is_rotated() {
        let dir = TempDir::new();
        let path = dir.path().join("rtcd.log");
        let mut log = LogFile { max_bytes: 10, ..LogFile::new(&path) };
        log.write(b"12345678\n").expect("written");
        log.write(b"2345\n").expect("written");
        assert_eq!(fs::read(&path).unwrap(), b"2345\n");
        assert_eq!(rotate::backups(&path).unwrap_or_default().len(), 1);
    }
}
