//! What admins get wrong with volumes, and what must not be asked at all.
use crate::fake;
use crate::fixtures::{chain, machine, path};
use flate2::read::GzDecoder;
use provision::detect::{DetectError, detect};
use provision::facts::Facts;
use provision::http::Pace;
use provision::volume::Format;
use std::fs::{self, File};
use std::path::Path;
use tempfile::TempDir;

/// A machine with these images (of other fixtures) as its devices.
fn machine_with(devices: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["dev", "sys/class/block"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for (device, image) in devices {
        fs::copy(path(image), root.path().join("dev").join(device)).unwrap();
        fs::create_dir(root.path().join("sys/class/block").join(device)).unwrap();
    }
    root
}

fn error_of(root: &Path) -> String {
    chain(&machine(root).fetch(None, Pace::default()).err().expect("an error"))
}

const VFAT: &str = "nocloud/volume-vfat/root/dev/vdb";
const ISO: &str = "nocloud/volume-iso-of-proxmox/root/dev/sr0";

#[test]
fn two_volumes_with_different_files_are_refused_by_their_devices() {
    let root = machine_with(&[("vdb", VFAT), ("sr0", ISO)]);
    assert_eq!(
        error_of(root.path()),
        "NoCloud: /dev/sr0 and /dev/vdb both have the label cidata, and their files differ; remove one of them"
    );
    let root = machine_with(&[
        ("vdb", "configdrive/vfat-without-user-data/root/dev/vdb"),
        ("sr0", "configdrive/iso/root/dev/sr0"),
    ]);
    assert!(error_of(root.path()).contains("both have the label config-2"));
}

#[test]
fn a_disk_and_its_partition_with_the_same_files_are_one_volume() {
    let root = machine_with(&[("sdb", ISO), ("sdb1", ISO)]);
    let metadata = machine(root.path()).fetch(None, Pace::default()).unwrap_or_else(|error| panic!("{error}"));
    assert!(metadata.is_some_and(|metadata| metadata.user_data.is_some()));
}

/// The last directory entry that begins with `name`, in place of which there is another.
fn rename(root: &Path, device: &str, name: &[u8], other: &[u8]) {
    let device = root.join("dev").join(device);
    let mut image = fs::read(&device).unwrap();
    for at in 0..image.len() - name.len() {
        if &image[at..at + name.len()] == name {
            image[at..at + name.len()].copy_from_slice(other);
        }
    }
    fs::write(device, image).unwrap();
}

#[test]
fn a_nocloud_volume_without_meta_data_is_refused_by_volume_and_file() {
    let root = machine_with(&[("vdb", ISO)]);
    let joliet = |name: &str| -> Vec<u8> { name.encode_utf16().flat_map(u16::to_be_bytes).collect() };
    rename(root.path(), "vdb", b"meta-data", b"beta-data");
    rename(root.path(), "vdb", &joliet("meta-data"), &joliet("beta-data"));
    assert_eq!(
        error_of(root.path()),
        "NoCloud: the volume cidata on /dev/vdb has no meta-data; add one, which may be empty"
    );
}

#[test]
fn a_seed_directory_without_meta_data_is_refused_too() {
    let root = tempfile::tempdir().unwrap();
    let seed = root.path().join("var/lib/cloud/seed/nocloud");
    fs::create_dir_all(&seed).unwrap();
    fs::write(seed.join("user-data"), "#cloud-config\n").unwrap();
    let error = error_of(root.path());
    assert!(error.contains("seed/nocloud has no meta-data; add one, which may be empty"), "{error}");
}

#[test]
fn a_configuration_drive_without_metadata_is_refused_by_its_file() {
    let root = machine_with(&[("sr0", "configdrive/vfat-without-user-data/root/dev/vdb")]);
    rename(root.path(), "sr0", b"OPENST~1", b"CLOSED~1");
    let long: Vec<u8> = "opens".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let other: Vec<u8> = "close".encode_utf16().flat_map(u16::to_le_bytes).collect();
    rename(root.path(), "sr0", &long, &other);
    let error = error_of(root.path());
    assert!(error.contains("config-2 on /dev/sr0 has no openstack/latest/meta_data.json"), "{error}");
}

#[test]
fn azure_reads_custom_data_from_a_udf_disc() {
    let case = path("azure/public-address");
    let fake = fake::start(&case);
    let root = machine_with(&[]);
    let dmi = root.path().join("sys/class/dmi/id");
    fs::create_dir_all(&dmi).unwrap();
    fs::copy(case.join("root/sys/class/dmi/id/chassis_asset_tag"), dmi.join("chassis_asset_tag")).unwrap();
    fs::create_dir(root.path().join("sys/class/block/sr0")).unwrap();
    let mut disc = GzDecoder::new(File::open(path("volumes/udf.iso.gz")).unwrap());
    std::io::copy(&mut disc, &mut File::create(root.path().join("dev/sr0")).unwrap()).unwrap();
    let machine = machine(root.path());
    assert_eq!(machine.facts.volumes[0].format, Format::Udf);
    let metadata = machine.fetch(Some(&fake.endpoint), Pace::default()).unwrap_or_else(|error| panic!("{error}"));
    let user_data = metadata.and_then(|metadata| metadata.user_data).expect("custom data");
    assert!(user_data.starts_with(b"#cloud-config\nhostname: from-custom-data\n"));
}

#[test]
fn nobody_is_asked_over_http_unless_the_firmware_or_the_admin_names_a_cloud() {
    let nothing = tempfile::tempdir().unwrap();
    let facts = Facts::gather(nothing.path(), None);
    assert_eq!(detect(&facts).err(), Some(DetectError::Nothing));
    for case in [
        "nocloud/volume-vfat",
        "nocloud/seed-directory",
        "configdrive/iso",
        "credentials/smbios",
        "vmware/guestinfo",
        "none/on-the-command-line",
    ] {
        let case = path(case);
        let fake = fake::start(&case);
        let metadata = machine(&case.join("root")).fetch(Some(&fake.endpoint), Pace::default());
        assert!(metadata.is_ok_and(|metadata| metadata.is_some()), "{}", case.display());
        assert!(fake.seen().is_empty(), "{}: {:?}", case.display(), fake.seen());
    }
}

#[test]
fn a_seed_url_of_no_known_kind_or_form_is_refused_without_its_secrets() {
    for (said, expected) in [
        ("ftp://192.0.2.1/", "ds=nocloud;s ftp://192.0.2.1/ is of no known kind"),
        ("http://u:p@192.0.2.1/seed", "ds=nocloud;s http://192.0.2.1/seed does not end with a slash"),
        ("file:///nowhere/", "nowhere/ has no meta-data"),
    ] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/cmdline"), format!("quiet ds=nocloud;s={said}\n")).unwrap();
        let error = error_of(root.path());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_seed_url_may_be_a_directory() {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("proc/cmdline", "ds=nocloud;s=file:///usr/share/seed/"),
        ("usr/share/seed/meta-data", "instance-id: i-file\n"),
        ("usr/share/seed/user-data", "#cloud-config\n"),
    ] {
        fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
        fs::write(root.path().join(path), content).unwrap();
    }
    let metadata = machine(root.path()).fetch(None, Pace::default()).unwrap_or_else(|error| panic!("{error}"));
    let metadata = metadata.expect("it is here");
    assert_eq!(metadata.instance_id.as_deref(), Some("i-file"));
    assert_eq!(metadata.user_data.as_deref(), Some(&b"#cloud-config\n"[..]));
}

#[test]
fn a_line_alone_may_name_the_machine_and_must_say_something() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("proc")).unwrap();
    let say = |line: &str| fs::write(root.path().join("proc/cmdline"), line).unwrap();
    say("ds=nocloud;h=rtcd-9;i=i-9");
    let metadata = machine(root.path()).fetch(None, Pace::default()).unwrap_or_else(|error| panic!("{error}"));
    let metadata = metadata.expect("it is here");
    assert_eq!(metadata.instance_id.as_deref(), Some("i-9"));
    assert_eq!(metadata.hostname.map(|said| said.value).as_deref(), Some("rtcd-9"));
    say("ds=nocloud;h=bad_name");
    let metadata = machine(root.path()).fetch(None, Pace::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(metadata.and_then(|metadata| metadata.hostname).map(|said| said.value).as_deref(), Some("bad_name"));
    say("ds=nocloud");
    assert!(error_of(root.path()).contains("this machine has no volume with the label cidata"));
}
