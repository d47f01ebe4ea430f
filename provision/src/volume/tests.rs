use super::*;
use flate2::read::GzDecoder;
use std::io::Read;

const NOCLOUD: [&str; 7] =
    ["joliet-and-rock-ridge.iso", "rock-ridge.iso", "joliet.iso", "fat12.img", "fat16.img", "fat32.img", "plain.iso"];

fn image(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/volumes/{name}.gz", env!("CARGO_MANIFEST_DIR"));
    let mut image = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut image).unwrap();
    image
}

fn open(image: Vec<u8>) -> Volume {
    Volume::open(image).unwrap().expect("a known file system")
}

#[test]
fn every_kind_of_nocloud_volume_gives_its_label_and_its_files() {
    for name in &NOCLOUD[..6] {
        let mut volume = open(image(name));
        assert!(volume.label().eq_ignore_ascii_case("cidata"), "{name}: {:?}", volume.label());
        let meta_data = volume.read("meta-data", 4096).unwrap().unwrap_or_else(|| panic!("{name} has no meta-data"));
        assert!(meta_data.starts_with(b"instance-id: "), "{name}");
        assert!(volume.read("user-data", 4096).unwrap().unwrap().starts_with(b"#cloud-config\n"), "{name}");
        assert!(volume.read("vendor-data", 4096).unwrap().is_none(), "{name}");
        assert!(volume.read("openstack/latest/user_data", 4096).unwrap().is_none(), "{name}");
    }
}

#[test]
fn a_name_is_found_in_any_case() {
    for name in ["joliet.iso", "rock-ridge.iso", "fat12.img", "udf.iso"] {
        let path = if name == "udf.iso" { "OVF-env.XML" } else { "Meta-DATA" };
        assert!(open(image(name)).read(path, 4096).unwrap().is_some(), "{name}");
    }
}

#[test]
fn a_bare_iso_has_no_file_with_a_long_name() {
    let mut volume = open(image("plain.iso"));
    assert!(volume.read("meta-data", 4096).unwrap().is_none());
    assert!(volume.read("META_DAT", 4096).unwrap().is_some());
}

#[test]
fn a_bridge_disc_counts_as_udf() {
    let mut volume = open(image("udf.iso"));
    assert_eq!((volume.format(), volume.label()), (Format::Udf, "rd_rdfe_stable"));
    assert!(volume.read("ovf-env.xml", 4096).unwrap().unwrap().starts_with(b"<?xml "));
}

#[test]
fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
    let refused = open(image("fat12.img")).read("user-data", 10).unwrap_err();
    assert!(matches!(refused, VolumeError::TooBig { limit: 10, .. }), "{refused}");
}

#[test]
fn other_file_systems_and_small_devices_are_left_alone() {
    let mut ext4 = vec![0; 1 << 20];
    ext4[1080..1082].copy_from_slice(&[0x53, 0xef]);
    for other in [ext4, Vec::new(), vec![0; 1], vec![0xff; 40_000]] {
        assert!(Volume::open(other).unwrap().is_none());
    }
}

#[test]
fn damaged_volumes_are_errors_and_neither_panic_nor_hang() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    for name in NOCLOUD.iter().chain(&["udf.iso"]) {
        let whole = image(name);
        // What is not zero is structure or content: damage there is what matters.
        let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
        for _ in 0..if whole.len() > 1 << 21 { 8 } else { 300 } {
            let mut damaged = whole.clone();
            for _ in 0..1 + next(12) {
                let at = used[next(used.len())].saturating_add(next(5)).min(damaged.len() - 1);
                damaged[at] = [0, 1, 0x7f, 0xff, next(256) as u8][next(5)];
            }
            if next(4) == 0 {
                damaged.truncate(1 + next(damaged.len()));
            }
            crate::fuzzing::volume(&damaged);
        }
    }
}
