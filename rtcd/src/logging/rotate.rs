//! Log files that were full: renamed as the reference does it (`rtcd-2026-01-31T12-00-00.000.log`), compressed, and in the
//! end removed. Compressing 100 MB takes seconds, so a thread of its own does it.
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Old files that are kept: 100 MB each, some 5 to 10 MB compressed.
const KEPT: usize = 10;
/// `2026-01-31T12-00-00.000`, UTC.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S.%3f";
/// Length of a stamp.
const STAMP_LEN: usize = 23;

/// Makes room for a new file.
pub(super) fn rename(path: &Path) -> io::Result<()> {
    let stamp = jiff::Timestamp::now().strftime(STAMP);
    let (stem, extension) = parts(path);
    fs::rename(path, path.with_file_name(format!("{stem}-{stamp}{extension}")))
}

/// Compresses what is not compressed yet and removes the oldest. What fails is tried again after the next rotation.
pub(super) fn tidy_later(path: &Path) {
    let path = path.to_owned();
    // Without a thread there is always a next time.
    let _ = std::thread::Builder::new().name("log-gzip".into()).spawn(move || {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock();
        if let Err(error) = tidy(&path) {
            tracing::warn!(%error, "old log files cannot be compressed");
        }
    });
}

/// The old files of this one, oldest first.
pub(super) fn backups(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (stem, extension) = parts(path);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let ours = |name: &str| {
        let rest = name.strip_prefix(&stem)?.strip_prefix('-')?;
        let (stamp, rest) = rest.split_at_checked(STAMP_LEN)?;
        let is_stamp = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S.%f", stamp).is_ok();
        let rest = rest.strip_prefix(&extension)?;
        (is_stamp && (rest.is_empty() || rest == ".gz")).then_some(())
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(ours).is_some() {
            found.push(entry.path());
        }
    }
    // The stamp sorts by time.
    found.sort();
    Ok(found)
}

fn tidy(path: &Path) -> io::Result<()> {
    let found = backups(path)?;
    let (gone, kept) = found.split_at(found.len().saturating_sub(KEPT));
    for old in gone {
        fs::remove_file(old)?;
    }
    for old in kept.iter().filter(|old| old.extension().is_none_or(|extension| extension != "gz")) {
        compress(old)?;
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let with = |more: &str| PathBuf::from(format!("{}{more}", path.display()));
    let (partial, compressed) = (with(".partial"), with(".gz"));
    let written = (|| {
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(&partial)?;
        let mut encoder = GzEncoder::new(file, Compression::fast());
        io::copy(&mut File::open(path)?, &mut encoder)?;
        encoder.finish()?;
        fs::rename(&partial, &compressed)
    })();
    match written {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

/// `rtcd` and `.log`
fn parts(path: &Path) -> (String, String) {
    let lossy = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (lossy(path.file_stem()), extension.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::TempDir;
    use std::io::Read as _;

    #[test]
    fn old_files_are_compressed_and_the_oldest_removed_and_strangers_left_alone() {
        let dir = TempDir::new();
        let path = dir.path().join("rtcd.log");
        for name in
            ["rtcd.log", "rtcd-old.log", "rtcd-2026-01-31T12-00-00.000.txt", "other-2026-01-31T12-00-00.000.log"]
        {
            fs::write(dir.path().join(name), "mine").expect("written");
        }
        for second in 10..22 {
            fs::write(dir.path().join(format!("rtcd-2026-01-31T12-00-{second}.000.log")), second.to_string())
                .expect("written");
        }
        tidy(&path).expect("tidied");
        let names: Vec<_> = backups(&path).expect("listed").into_iter().collect();
        assert_eq!(names.len(), KEPT);
        assert!(names[0].ends_with("rtcd-2026-01-31T12-00-12.000.log.gz"), "{names:?}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(&names[0]).expect("there")).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "12");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), KEPT + 4);
        rename(&path).expect("renamed");
        assert_eq!(backups(&path).expect("listed").len(), KEPT + 1);
    }
}
