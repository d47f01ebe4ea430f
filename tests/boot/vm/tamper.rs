//! Boot 6: a disk that somebody has changed.
use crate::image::{ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use rtcd_tests::daemon::temp_dir;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const SECTOR: u64 = 512;
/// A GPT entry: where its first sector and its name (UTF-16) stand (UEFI specification, 5.3.3).
const ENTRY: usize = 128;
const FIRST_SECTOR: std::ops::Range<usize> = 32..40;
const NAME: std::ops::Range<usize> = 56..128;

#[test]
#[ignore = "boots a machine, which needs an image: tests/run"]
fn boot_6_refuses_a_root_with_one_flipped_byte_and_says_why() {
    let _alone = ALONE.blocking_lock();
    let dir = temp_dir("boot");
    let disk = dir.join("disk.raw");
    let image = Image::built();
    image.disk(&disk);
    flip(&disk, &format!("rtcd_{}", image.version()));
    let mut machine = Machine::start(&disk, ports(), &Hardware::default());
    machine.wait_console("is corrupted");
    // A version on trial is given up that way: each attempt ends.
    machine.wait_end();
    assert!(!machine.lines().iter().any(|line| line.contains("Media server of Mattermost Calls")));
    machine.done();
    fs::remove_dir_all(dir).expect("removed");
}

/// One byte of the superblock of the file system in a partition.
fn flip(disk: &Path, partition: &str) {
    let disk = OpenOptions::new().read(true).write(true).open(disk).expect("the disk can be opened");
    let mut table = vec![0; 128 * ENTRY];
    disk.read_exact_at(&mut table, 2 * SECTOR).expect("the table can be read");
    let name = |entry: &[u8]| {
        let units: Vec<u16> = entry[NAME].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()
    };
    let entry = table.chunks(ENTRY).find(|entry| name(entry) == partition).expect("the partition is there");
    let first = u64::from_le_bytes(entry[FIRST_SECTOR].try_into().expect("eight bytes"));
    let at = first * SECTOR + 1024;
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).expect("readable");
    disk.write_all_at(&[byte[0] ^ 1], at).expect("writable");
}
