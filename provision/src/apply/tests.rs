use super::disk::RealDisk;
use super::*;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use tempfile::TempDir;

/// A disk whose power fails at a step: that step happens in part or not at all, and none after it.
struct Failing {
    steps_left: Cell<usize>,
    error: io::ErrorKind,
}

impl Failing {
    fn after(steps: usize) -> Self {
        Self { steps_left: Cell::new(steps), error: io::ErrorKind::Interrupted }
    }

    fn step(&self) -> io::Result<()> {
        let left = self.steps_left.get().checked_sub(1).ok_or(self.error)?;
        self.steps_left.set(left);
        Ok(())
    }
}

impl Disk for Failing {
    fn read(&self, path: &Path) -> io::Result<Option<Found>> {
        RealDisk.read(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        RealDisk.read_link(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.make_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.create(path)
    }
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step() {
            RealDisk.write(path, &content[..content.len() / 2])?;
            return Err(error);
        }
        RealDisk.write(path, content)
    }
    fn own(&self, path: &Path, owner: Owner, mode: u32) -> io::Result<()> {
        self.step()?;
        RealDisk.own(path, owner, mode)
    }
    fn sync(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.sync(path)
    }
    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.link(target, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove_dir(path)
    }
}

/// Three files that say which version they are of.
fn version(number: u32) -> Files {
    let me = fs::metadata("/proc/self").expect("the process");
    let owner = Owner { uid: me.uid(), gid: me.gid() };
    let file = |name: &str| {
        let content = format!("{name} of version {number}\n").repeat(100).into_bytes();
        (name.to_owned(), Found { content, mode: 0o600, owner })
    };
    ["rtcd.toml", "tls-cert.pem", "tls-key.pem"].into_iter().map(file).collect()
}

/// What a reader finds, through the link.
fn seen(root: &TempDir) -> Option<Files> {
    let current = Paths::below(root.path()).current();
    let names = RealDisk.list(&current).expect("readable");
    let read = |name: String| {
        let found = RealDisk.read(&current.join(&name)).expect("readable").expect("listed");
        (name, found)
    };
    current.exists().then(|| names.into_iter().map(read).collect())
}

fn new_root() -> (TempDir, Paths) {
    let root = TempDir::new().expect("a directory");
    let paths = Paths::below(root.path());
    (root, paths)
}

#[test]
fn wherever_the_power_fails_a_reader_finds_the_old_files_or_the_new_ones() {
    for first in [true, false] {
        let mut died = 0;
        let mut outcomes = BTreeSet::new();
        loop {
            let (root, paths) = new_root();
            if !first {
                apply(&RealDisk, &paths, &version(1)).expect("applied");
            }
            let old = seen(&root);
            let result = apply(&Failing::after(died), &paths, &version(2));
            let now = seen(&root);
            assert!(now == old || now == Some(version(2)), "a mixture after {died} steps");
            outcomes.insert(now == Some(version(2)));
            // The next run finishes, and leaves nothing of the one that died.
            apply(&RealDisk, &paths, &version(2)).expect("applied after a power cut");
            assert!(seen(&root) == Some(version(2)));
            assert_eq!(RealDisk.list(&paths.generations()).expect("readable").len(), 1, "left over after {died} steps");
            if result.is_ok() {
                break;
            }
            died += 1;
        }
        assert!(died > 20, "every step was one to die at, {died}");
        assert_eq!(outcomes.len(), 2);
    }
}

#[test]
fn a_full_or_read_only_disk_leaves_what_was_there_and_says_which_file() {
    for (kind, words) in
        [(io::ErrorKind::StorageFull, "no storage space"), (io::ErrorKind::ReadOnlyFilesystem, "read-only")]
    {
        let mut steps = 0;
        loop {
            let (root, paths) = new_root();
            apply(&RealDisk, &paths, &version(1)).expect("applied");
            let result = apply(&Failing { steps_left: Cell::new(steps), error: kind }, &paths, &version(2));
            let Err(error) = result else { break };
            let said = error.to_string();
            assert!(said.contains(words) && said.starts_with(root.path().to_str().expect("a path")), "{said}");
            assert!([Some(version(1)), Some(version(2))].contains(&seen(&root)));
            steps += 1;
        }
        assert!(steps > 20);
    }
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let (_root, paths) = new_root();
    assert_eq!(apply(&RealDisk, &paths, &version(1)).expect("applied").len(), 3);
    let inode = || fs::metadata(paths.current().join("rtcd.toml")).expect("there").ino();
    let before = inode();
    assert_eq!(apply(&Failing::after(0), &paths, &version(1)).expect("nothing to do"), Changed::new());
    assert_eq!(inode(), before);
}

#[test]
fn files_and_modes_that_change_are_named() {
    let (_root, paths) = new_root();
    let mut files = version(1);
    apply(&RealDisk, &paths, &files).expect("applied");
    files.remove("tls-key.pem");
    files.get_mut("tls-cert.pem").expect("there").mode = 0o644;
    let changed = apply(&RealDisk, &paths, &files).expect("applied");
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["tls-cert.pem", "tls-key.pem"]);
    let mode = fs::metadata(paths.current().join("tls-cert.pem")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    assert!(!paths.current().join("tls-key.pem").exists());
}

#[test]
fn a_directory_that_somebody_else_made_is_left_alone() {
    let (_root, paths) = new_root();
    fs::create_dir_all(paths.current()).expect("a directory");
    fs::write(paths.current().join("rtcd.toml"), "mine").expect("a file");
    let error = apply(&RealDisk, &paths, &version(1)).expect_err("foreign");
    assert!(matches!(error, ApplyError::Foreign(_)), "{error}");
    assert_eq!(fs::read_to_string(paths.current().join("rtcd.toml")).expect("still there"), "mine");
}

#[test]
fn the_owner_comes_from_the_image_that_is_written_for() {
    let (root, _paths) = new_root();
    fs::create_dir_all(root.path().join("etc")).expect("a directory");
    let error = user(root.path(), "mattermost").expect_err("no file").to_string();
    assert!(error.starts_with("there is no user mattermost in /"), "{error}");
    fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:\nbroken\nmattermost:x:998:997::/:\n").expect("written");
    assert_eq!(user(root.path(), "mattermost").expect("there"), Owner { uid: 998, gid: 997 });
}
