//! The built image, its tools tree with QEMU and OVMF, and whether this machine can run guests itself.
use rtcd_tests::in_repository;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tokio::sync::Mutex;

/// One guest at a time: two would only slow each other down.
pub static ALONE: Mutex<()> = Mutex::const_new(());

/// A version of the image: `DIR/rtcd_VERSION`, to which `.raw`, `.efi` and so on are added.
pub struct Image(PathBuf);

impl Image {
    /// The newest in a directory.
    pub fn newest_in(directory: &Path) -> Self {
        let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let of_version = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "efi");
        let newest =
            files.filter(of_version).max_by_key(|path| path.metadata().and_then(|about| about.modified()).ok());
        let newest = newest.unwrap_or_else(|| panic!("no image in {}: run image/build --quick", directory.display()));
        Self(newest.with_extension(""))
    }

    /// What `image/build` made.
    pub fn built() -> Self {
        Self::newest_in(&in_repository("target/image"))
    }

    /// A file of it: `raw`, `efi`, ..
    pub fn file(&self, extension: &str) -> PathBuf {
        // Not with_extension: a version has dots.
        let mut name = self.0.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }

    pub fn version(&self) -> &str {
        let name = self.0.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        name.strip_prefix("rtcd_").expect("an image of ours")
    }

    /// A disk with it of 3 GiB; holes stay holes.
    pub fn disk(&self, path: &Path) {
        let copied = Command::new("cp").arg("--sparse=always").args([&self.file("raw"), path]).status();
        assert!(copied.is_ok_and(|status| status.success()), "the disk can be copied");
        grow(path, 3);
    }
}

/// Makes a disk bigger.
pub fn grow(path: &Path, gigabytes: u64) {
    let disk = fs::OpenOptions::new().write(true).open(path).expect("the disk can be opened");
    disk.set_len(gigabytes << 30).expect("the disk can be made bigger");
}

const SECTOR: u64 = 512;
/// A GPT entry: where its first and last sector and its name (UTF-16) stand (UEFI specification, 5.3.3).
const ENTRY: usize = 128;
const FIRST_SECTOR: std::ops::Range<usize> = 32..40;
const LAST_SECTOR: std::ops::Range<usize> = 40..48;
const NAME: std::ops::Range<usize> = 56..128;

/// The first byte and the length of a partition of this name.
pub fn partition(disk: &Path, partition: &str) -> (u64, u64) {
    let disk = fs::File::open(disk).expect("the disk can be opened");
    let mut table = vec![0; 128 * ENTRY];
    disk.read_exact_at(&mut table, 2 * SECTOR).expect("the table can be read");
    let name = |entry: &[u8]| {
        let units: Vec<u16> = entry[NAME].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()
    };
    let entry = table.chunks(ENTRY).find(|entry| name(entry) == partition).expect("the partition is there");
    let sector = |at: std::ops::Range<usize>| u64::from_le_bytes(entry[at].try_into().expect("eight bytes"));
    let (first, last) = (sector(FIRST_SECTOR), sector(LAST_SECTOR));
    (first * SECTOR, (last + 1 - first) * SECTOR)
}

/// Zeroes at the beginning of a partition.
pub fn wipe(disk: &Path, name: &str, bytes: u64) {
    let (first, len) = partition(disk, name);
    let disk = fs::OpenOptions::new().write(true).open(disk).expect("the disk can be opened");
    let zeroes = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes.min(len) {
        let chunk = &zeroes[..(bytes.min(len) - at).min(1 << 20) as usize];
        disk.write_all_at(chunk, first + at).expect("writable");
        at += chunk.len() as u64;
    }
}

/// The tools tree that `image/build` has made.
pub fn tools(path: &str) -> PathBuf {
    in_repository("target/mkosi/tools").join(path)
}

/// The machine of `image/qemu`, which dies with the thread that starts it.
pub fn qemu() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(in_repository("image/qemu")).stdin(Stdio::null());
    command.arg("-no-reboot");
    command
}

/// The fastest processor that this machine can give to a guest, as arguments of QEMU.
pub fn accelerator() -> &'static [String] {
    static FASTEST: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut ask = Command::new(in_repository("image/qemu"));
        let answer = ask.arg("--accelerator").arg(Image::built().file("vmlinuz")).output().expect("image/qemu runs");
        let words = String::from_utf8(answer.stdout).expect("arguments are text");
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        words.split_whitespace().map(str::to_owned).collect()
    });
    &FASTEST
}
