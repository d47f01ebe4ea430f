use super::*;
use std::fs;

fn put(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn an_empty_root_has_no_facts() {
    let root = tempfile::tempdir().unwrap();
    let facts = Facts::gather(root.path(), None);
    assert_eq!(facts.dmi, Dmi::default());
    assert!(facts.volumes.is_empty() && facts.credentials.is_none() && !facts.seed && !facts.debug_image);
    assert!(!facts.guestinfo.is_set() && facts.notices.is_empty());
}

#[test]
fn rubbish_in_the_firmware_is_cleaned() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "sys/class/dmi/id/sys_vendor", b"  Amazon\x07 EC2\n");
    put(root.path(), "sys/class/dmi/id/product_name", &[0xff, 0xfe, b'Q', 0, b'\n']);
    put(root.path(), "sys/class/dmi/id/product_serial", &[b'x'; 4096]);
    put(root.path(), "sys/class/dmi/id/chassis_serial", &[b'x'; 5000]);
    put(root.path(), "sys/class/dmi/id/product_uuid/directory", b"");
    let dmi = Facts::gather(root.path(), None).dmi;
    assert_eq!(dmi.sys_vendor, "Amazon  EC2");
    assert_eq!(dmi.product_name, "\u{fffd}\u{fffd}Q");
    assert_eq!(dmi.product_serial.len(), 4096);
    assert_eq!((dmi.chassis_serial.as_str(), dmi.product_uuid.as_str()), ("", ""));
}

#[test]
fn credentials_are_those_of_the_service_or_else_of_the_system() {
    let root = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    put(root.path(), "run/credentials/@system/rtcd.user-data", b"#cloud-config\n");
    assert_eq!(Facts::gather(root.path(), None).credentials, Some(root.path().join(SYSTEM_CREDENTIALS)));
    assert_eq!(Facts::gather(root.path(), Some(own.path())).credentials, None);
    put(own.path(), "rtcd.user-data", b"#cloud-config\n");
    assert_eq!(Facts::gather(root.path(), Some(own.path())).credentials.as_deref(), Some(own.path()));
}

#[test]
fn a_debug_image_says_so_in_os_release() {
    for (content, debug) in [
        ("ID=rtcd\nVARIANT_ID=debug\n", true),
        ("VARIANT_ID=\"debug\"\n", true),
        ("VARIANT_ID=appliance\n", false),
        ("VARIANT=debug\n", false),
    ] {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/os-release", content.as_bytes());
        assert_eq!(Facts::gather(root.path(), None).debug_image, debug, "{content}");
    }
}

#[test]
fn guestinfo_is_looked_at_only_on_vmware() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "guestinfo/userdata", b"#cloud-config\n");
    put(root.path(), "guestinfo/metadata", b"---");
    assert!(!Facts::gather(root.path(), None).guestinfo.is_set());
    put(root.path(), "sys/class/dmi/id/sys_vendor", b"VMware, Inc.\n");
    let guestinfo = Facts::gather(root.path(), None).guestinfo;
    assert_eq!((guestinfo.get("userdata"), guestinfo.get("metadata")), (Some(&b"#cloud-config\n"[..]), None));
}

#[test]
fn volumes_are_found_by_the_names_in_sysfs_and_odd_devices_are_left_out() {
    let root = tempfile::tempdir().unwrap();
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/volumes/fat12.img.gz");
    let mut image = Vec::new();
    flate2::read::GzDecoder::new(File::open(packed).unwrap()).read_to_end(&mut image).unwrap();
    put(root.path(), "dev/vdb", &image);
    put(root.path(), "dev/loop0", &image);
    put(root.path(), "dev/cciss/c0d0", &image);
    put(root.path(), "dev/vda", &[0; 65536]);
    put(root.path(), "dev/vdc", &image[..3000]);
    fs::create_dir_all(root.path().join("dev/vdd")).unwrap();
    for name in ["vdb", "loop0", "cciss!c0d0", "vda", "vdc", "vdd", "sr0"] {
        fs::create_dir_all(root.path().join("sys/class/block").join(name)).unwrap();
    }
    let facts = Facts::gather(root.path(), None);
    let found: Vec<_> = facts.labelled("cidata").iter().map(|volume| volume.device.as_str()).collect();
    assert_eq!(found, ["/dev/cciss/c0d0", "/dev/vdb"]);
    let notices = facts.notices.join("\n");
    assert!(notices.contains("/dev/vdc is left out") && notices.contains("/dev/vdd is left out"), "{notices}");
    assert_eq!(facts.notices.len(), 2, "{notices}");
}
