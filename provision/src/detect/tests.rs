use super::*;
use crate::facts::{Guestinfo, VolumeFact};
use crate::volume::Format;

type Change = fn(&mut Facts);

fn facts() -> Facts {
    Facts {
        root: "/nowhere".into(),
        dmi: Dmi::default(),
        hypervisor_uuid: String::new(),
        cmdline: "root=/dev/vda2 ro quiet".to_owned(),
        volumes: Vec::new(),
        credentials: None,
        network_credential: None,
        seed: false,
        guestinfo: Guestinfo::default(),
        debug_image: false,
        notices: Vec::new(),
    }
}

fn with(change: impl Fn(&mut Facts)) -> Result<Choice, DetectError> {
    let mut facts = facts();
    change(&mut facts);
    detect(&facts)
}

fn volume(device: &str, label: &str) -> VolumeFact {
    VolumeFact { device: device.to_owned(), label: label.to_owned(), format: Format::Vfat }
}

#[test]
fn every_row_of_the_table_gives_its_source() {
    let rows: [(Change, Datasource, &str); 26] = [
        (|f| f.dmi.sys_vendor = "Amazon EC2".into(), Datasource::Ec2, "sys_vendor"),
        (|f| f.dmi.bios_vendor = "Amazon EC2".into(), Datasource::Ec2, "bios_vendor"),
        (|f| f.dmi.product_uuid = "EC2E1916-9099-7CAF-FD21-012345ABCDEF".into(), Datasource::Ec2, "product_uuid"),
        (|f| f.dmi.product_uuid = "45E12AEC-DCD1-B213-94ED-012345ABCDEF".into(), Datasource::Ec2, "product_uuid"),
        (|f| f.hypervisor_uuid = "ec2e1916-9099-7caf-fd21-012345abcdef".into(), Datasource::Ec2, "hypervisor/uuid"),
        (|f| f.dmi.product_name = "Google Compute Engine".into(), Datasource::Gce, "product_name"),
        (|f| f.dmi.product_serial = "GoogleCloud-8A21F0".into(), Datasource::Gce, "product_serial"),
        (|f| f.dmi.chassis_asset_tag = AZURE_ASSET_TAG.into(), Datasource::Azure, "chassis_asset_tag"),
        (|f| f.dmi.sys_vendor = "DigitalOcean".into(), Datasource::DigitalOcean, "sys_vendor"),
        (|f| f.dmi.sys_vendor = "Hetzner".into(), Datasource::Hetzner, "sys_vendor"),
        (|f| f.dmi.sys_vendor = "Vultr".into(), Datasource::Vultr, "sys_vendor"),
        (|f| f.dmi.chassis_asset_tag = "OracleCloud.com".into(), Datasource::Oracle, "chassis_asset_tag"),
        (|f| f.dmi.sys_vendor = "Scaleway".into(), Datasource::Scaleway, "sys_vendor"),
        (|f| f.dmi.sys_vendor = "Akamai".into(), Datasource::Akamai, "sys_vendor"),
        (|f| f.dmi.sys_vendor = "Linode".into(), Datasource::Akamai, "sys_vendor"),
        (|f| f.dmi.product_name = "OpenStack Nova".into(), Datasource::OpenStack, "product_name"),
        (|f| f.dmi.product_name = "OpenStack Compute".into(), Datasource::OpenStack, "product_name"),
        (|f| f.dmi.chassis_asset_tag = "OpenTelekomCloud".into(), Datasource::OpenStack, "chassis_asset_tag"),
        (|f| f.dmi.chassis_asset_tag = "HUAWEICLOUD".into(), Datasource::OpenStack, "chassis_asset_tag"),
        (|f| f.volumes = vec![volume("/dev/vdb", "CIDATA")], Datasource::NoCloud(DsParameters::EMPTY), "/dev/vdb"),
        (|f| f.volumes = vec![volume("/dev/sr0", "config-2")], Datasource::ConfigDrive, "/dev/sr0"),
        (|f| f.seed = true, Datasource::NoCloud(DsParameters::EMPTY), "/var/lib/cloud/seed/nocloud"),
        (|f| f.credentials = Some("/run/credentials/@system".into()), Datasource::Credentials, "rtcd.user-data"),
        (|f| f.cmdline += " ds=none", Datasource::Nothing, "kernel command line"),
        (|f| f.cmdline = "ds=ec2 ds=Linode".into(), Datasource::Akamai, "ds=akamai"),
        (|f| f.dmi.product_serial = "ds=nocloud".into(), Datasource::NoCloud(DsParameters::EMPTY), "serial number"),
    ];
    for (change, which, why) in rows {
        let choice = with(change).unwrap_or_else(|error| panic!("{which:?}: {error}"));
        assert_eq!(choice.which, which);
        assert!(choice.why.contains(why), "{which:?}: {:?} does not say {why}", choice.why);
    }
}

#[test]
fn what_stands_first_in_the_table_wins() {
    let everything = |f: &mut Facts| {
        f.cmdline = "ds=hetzner".into();
        f.dmi.product_serial = "ds=nocloud".into();
        f.credentials = Some("/run/credentials/@system".into());
        f.volumes = vec![volume("/dev/vdb", "config-2"), volume("/dev/vdc", "cidata")];
        f.seed = true;
        f.dmi.sys_vendor = "Amazon EC2".into();
    };
    let removals: [(Change, Datasource); 7] = [
        (|_| {}, Datasource::Hetzner),
        (|f| f.cmdline.clear(), Datasource::NoCloud(DsParameters::EMPTY)),
        (|f| f.dmi.product_serial.clear(), Datasource::Credentials),
        (|f| (f.volumes.remove(0), f.credentials = None).1, Datasource::NoCloud(DsParameters::EMPTY)),
        (|f| f.volumes.clear(), Datasource::NoCloud(DsParameters::EMPTY)),
        (|f| (f.volumes.push(volume("/dev/vdb", "config-2")), f.seed = false).1, Datasource::ConfigDrive),
        (|f| f.volumes.clear(), Datasource::Ec2),
    ];
    let mut facts = facts();
    everything(&mut facts);
    for (remove, expected) in removals {
        remove(&mut facts);
        assert_eq!(detect(&facts).unwrap().which, expected);
    }
}

#[test]
fn two_volumes_that_would_do_are_refused_by_device_unless_one_is_named() {
    let both = |f: &mut Facts| f.volumes = vec![volume("/dev/vdb", "config-2"), volume("/dev/vdc", "cidata")];
    let error = with(both).unwrap_err().to_string();
    assert!(error.starts_with("/dev/vdc has the label cidata and /dev/vdb the label config-2"), "{error}");
    let named = with(|f| (both(f), f.dmi.product_serial = "ds=configdrive".into()).1);
    assert_eq!(named.unwrap().which, Datasource::ConfigDrive);
}

#[test]
fn nothing_at_all_lists_what_is_supported() {
    let error = with(|_| {}).unwrap_err();
    assert_eq!(error, DetectError::Nothing);
    for name in ["nocloud", "configdrive", "ec2", "gce", "azure", "vmware", "akamai"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn an_unknown_name_is_refused_even_where_a_volume_is() {
    let error = with(|f| {
        f.cmdline = "ds=eucalyptus".into();
        f.volumes = vec![volume("/dev/vdb", "cidata")];
    });
    let expected = DetectError::UnknownName { place: "the kernel command line", name: "eucalyptus".into() };
    assert_eq!(error, Err(expected));
}

#[test]
fn a_nocloud_line_is_read_in_both_spellings() {
    let expected = Datasource::NoCloud(DsParameters {
        seed_from: Some("http://10.0.0.1/a b/".into()),
        hostname: Some("rtcd-1".into()),
        instance_id: Some("i-1".into()),
    });
    for said in [
        "quiet \"ds=nocloud;s=http://10.0.0.1/a b/;h=rtcd-1;i=i-1\" ro",
        "ds=\"nocloud-net;seedfrom=http://10.0.0.1/a b/;local-hostname=rtcd-1;instance-id=i-1\"",
    ] {
        assert_eq!(with(|f| f.cmdline = said.into()).unwrap().which, expected);
    }
    let odd = with(|f| f.cmdline = "ds=nocloud;x=secret".into()).unwrap_err();
    assert!(odd.to_string().contains("\"x\"") && !odd.to_string().contains("secret"), "{odd}");
}

#[test]
fn a_serial_number_of_a_maker_is_no_line() {
    let serial = "VMware-42 1a ds 3e ads=nocloud";
    assert_eq!(with(|f| f.dmi.product_serial = serial.into()), Err(DetectError::Nothing));
}
