//! Boot 6: a disk that somebody has changed.
use crate::image::{self, ALONE, Image};
use crate::machine::{Hardware, Machine, ports};
use rtcd_tests::daemon::temp_dir;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

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
    let (first, _) = image::partition(disk, partition);
    let disk = OpenOptions::new().read(true).write(true).open(disk).expect("the disk can be opened");
    let at = first + 1024;
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).expect("readable");
    disk.write_all_at(&[byte[0] ^ 1], at).expect("writable");
}
