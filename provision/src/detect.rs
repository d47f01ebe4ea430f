//! The pure table: facts in, source out. Nobody is asked over the network here, and a cloud's link-local address is
//! asked later only if a row named that cloud.
mod ds;
#[cfg(test)]
mod tests;

use crate::facts::{Dmi, Facts};
pub use ds::DsParameters;

/// Azure's own number for its machines, the same everywhere.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";
/// Clouds that run OpenStack and sign with a name of their own, as cloud-init knows them.
const OPENSTACK_ASSET_TAGS: [&str; 4] = ["OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD", "Samsung Cloud Platform"];

/// A source of metadata, with what is needed to find it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "names of clouds")]
pub enum Datasource {
    /// None: the image's own configuration alone.
    Nothing,
    Credentials,
    /// NoCloud, with what a `ds=` says.
    NoCloud(DsParameters),
    ConfigDrive,
    Ec2,
    Gce,
    Azure,
    OpenStack,
    DigitalOcean,
    Hetzner,
    Vultr,
    Oracle,
    Scaleway,
    Akamai,
    VMware,
}

/// Every name that `ds=` knows; the first of a source is the one that is shown.
const NAMES: [(&str, Datasource); 17] = [
    ("none", Datasource::Nothing),
    ("credentials", Datasource::Credentials),
    ("nocloud", Datasource::NoCloud(DsParameters::EMPTY)),
    ("nocloud-net", Datasource::NoCloud(DsParameters::EMPTY)),
    ("configdrive", Datasource::ConfigDrive),
    ("ec2", Datasource::Ec2),
    ("gce", Datasource::Gce),
    ("azure", Datasource::Azure),
    ("openstack", Datasource::OpenStack),
    ("digitalocean", Datasource::DigitalOcean),
    ("hetzner", Datasource::Hetzner),
    ("vultr", Datasource::Vultr),
    ("oracle", Datasource::Oracle),
    ("scaleway", Datasource::Scaleway),
    ("akamai", Datasource::Akamai),
    ("linode", Datasource::Akamai),
    ("vmware", Datasource::VMware),
];

/// A source, and why it was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The source that is asked.
    pub which: Datasource,
    /// For the log and the status: `the kernel command line says ds=ec2`.
    pub why: String,
}

/// Why there is no choice; the admin must act.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DetectError {
    /// Nothing on this machine speaks.
    #[error(
        "no source of metadata: no volume with the label cidata or config-2, no credential rtcd.user-data, and the \
         firmware names no cloud that is supported; say ds=NAME on the kernel command line, where NAME is {}",
        names()
    )]
    Nothing,
    /// Two volumes, each of which would do.
    #[error(
        "{nocloud} has the label cidata and {config_drive} the label config-2, and it cannot be known which is meant; remove \
         one of them, or say ds=nocloud or ds=configdrive"
    )]
    TwoVolumes {
        /// The device of the one.
        nocloud: String,
        /// The device of the other.
        config_drive: String,
    },
    /// A `ds=` with a name that means nothing here.
    #[error("{place} says ds={name}, which is not supported; supported are {}", names())]
    UnknownName {
        /// Where it was said: the kernel command line, the serial number.
        place: &'static str,
        /// The name that is not known.
        name: String,
    },
    /// A `ds=nocloud` with something that means nothing.
    #[error("{place} says ds=nocloud with {field:?}; known are s=URL/, h=HOSTNAME and i=INSTANCE-ID")]
    UnknownField {
        /// Where it was said: the kernel command line, the serial number.
        place: &'static str,
        /// What was said; never a value.
        field: String,
    },
}

/// The first row that holds.
pub fn detect(facts: &Facts) -> Result<Choice, DetectError> {
    for (place, said) in [("the kernel command line", &facts.cmdline), ("the serial number", &facts.dmi.product_serial)]
    {
        if let Some(which) = ds::find(place, said)? {
            return Ok(Choice { why: format!("{place} says ds={}", which.name()), which });
        }
    }
    let choice = |which, why: &str| Ok(Choice { which, why: why.to_owned() });
    if let Some(directory) = &facts.credentials {
        return choice(Datasource::Credentials, &format!("{} has rtcd.user-data", directory.display()));
    }
    if let (Some(nocloud), Some(drive)) = (facts.labelled("cidata").first(), facts.labelled("config-2").first()) {
        let (nocloud, config_drive) = (nocloud.device.clone(), drive.device.clone());
        return Err(DetectError::TwoVolumes { nocloud, config_drive });
    }
    if let Some(volume) = facts.labelled("cidata").first() {
        return choice(Datasource::NoCloud(DsParameters::EMPTY), &format!("{} has the label cidata", volume.device));
    }
    if facts.seed {
        return choice(
            Datasource::NoCloud(DsParameters::EMPTY),
            &format!("there is /{}", crate::facts::SEED_DIRECTORY),
        );
    }
    if let Some(volume) = facts.labelled("config-2").first() {
        return choice(Datasource::ConfigDrive, &format!("{} has the label config-2", volume.device));
    }
    match cloud(&facts.dmi, &facts.hypervisor_uuid) {
        Some((which, field)) => choice(which, &format!("the firmware says so in {field}")),
        None if facts.guestinfo.is_set() => choice(Datasource::VMware, "VMware's guestinfo is set"),
        None => Err(DetectError::Nothing),
    }
}

/// The clouds that the firmware names, and the field that does.
fn cloud(dmi: &Dmi, hypervisor_uuid: &str) -> Option<(Datasource, &'static str)> {
    let vendor = |name: &str| dmi.sys_vendor == name;
    let asset_tag = dmi.chassis_asset_tag.as_str();
    let rows = [
        (vendor("Amazon EC2"), Datasource::Ec2, "sys_vendor"),
        (dmi.bios_vendor == "Amazon EC2", Datasource::Ec2, "bios_vendor"),
        (is_ec2_uuid(&dmi.product_uuid), Datasource::Ec2, "product_uuid"),
        (is_ec2_uuid(hypervisor_uuid), Datasource::Ec2, "hypervisor/uuid"),
        (dmi.product_name == "Google Compute Engine", Datasource::Gce, "product_name"),
        (dmi.product_serial.starts_with("GoogleCloud-"), Datasource::Gce, "product_serial"),
        (asset_tag == AZURE_ASSET_TAG, Datasource::Azure, "chassis_asset_tag"),
        (vendor("DigitalOcean"), Datasource::DigitalOcean, "sys_vendor"),
        (vendor("Hetzner"), Datasource::Hetzner, "sys_vendor"),
        (vendor("Vultr"), Datasource::Vultr, "sys_vendor"),
        (asset_tag == "OracleCloud.com", Datasource::Oracle, "chassis_asset_tag"),
        (vendor("Scaleway"), Datasource::Scaleway, "sys_vendor"),
        (vendor("Akamai") || vendor("Linode"), Datasource::Akamai, "sys_vendor"),
        (OPENSTACK_ASSET_TAGS.contains(&asset_tag), Datasource::OpenStack, "chassis_asset_tag"),
        (
            ["OpenStack Nova", "OpenStack Compute"].contains(&dmi.product_name.as_str()),
            Datasource::OpenStack,
            "product_name",
        ),
    ];
    rows.into_iter().find(|row| row.0).map(|(_, which, field)| (which, field))
}

/// Old machines on Xen have a UUID that begins with `ec2`; some firmware swaps the bytes of its first group.
fn is_ec2_uuid(uuid: &str) -> bool {
    let uuid = uuid.to_ascii_lowercase();
    let swapped = || {
        let group: Vec<char> = uuid.split('-').next().unwrap_or_default().chars().collect();
        matches!(group[..], [_, _, _, _, '2', _, 'e', 'c'])
    };
    uuid.starts_with("ec2") || swapped()
}

impl Datasource {
    /// As `ds=` has it.
    pub fn name(&self) -> &'static str {
        let same = |which: &Datasource| std::mem::discriminant(which) == std::mem::discriminant(self);
        NAMES.iter().find(|(_, which)| same(which)).map_or("", |(name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, which)| which.clone())
    }
}

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}
