//! The configuration drive of OpenStack, version 2: the files of its metadata service on a volume.
use super::fields::Document;
use super::openstack;
use super::{Context, METADATA_LIMIT, Source, SourceError, USER_DATA_LIMIT, VENDOR_DATA, labelled};
use crate::metadata::Metadata;

const NAME: &str = "ConfigDrive";
const LABEL: &str = "config-2";
const META_DATA: &str = "openstack/latest/meta_data.json";
const EC2_META_DATA: &str = "ec2/latest/meta-data.json";

/// A volume with the label `config-2`.
pub(super) struct ConfigDrive;

impl Source for ConfigDrive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let wanted = [
            (META_DATA, METADATA_LIMIT),
            ("openstack/latest/network_data.json", METADATA_LIMIT),
            (EC2_META_DATA, METADATA_LIMIT),
            ("openstack/latest/user_data", USER_DATA_LIMIT),
            ("openstack/latest/vendor_data.json", METADATA_LIMIT),
            ("openstack/latest/vendor_data2.json", METADATA_LIMIT),
        ];
        let Some(found) = labelled::read(NAME, LABEL, &wanted, context.facts)? else { return Ok(None) };
        let mut files = found.files.into_iter();
        let mut next = || files.next().flatten();
        let Some(meta_data) = next() else {
            let place = format!("the volume {LABEL} on {}", found.device);
            return Err(SourceError::Missing { name: NAME, place, file: META_DATA, hint: "write the drive again" });
        };
        let mut metadata = openstack::metadata(NAME, &meta_data, next().as_deref())?;
        if let Some(body) = next() {
            metadata.public_ipv4 = Document::json(NAME, EC2_META_DATA, &body)?.ipv4("public-ipv4")?;
        }
        metadata.user_data = next();
        let vendor_data = [next(), next()].into_iter().flatten().any(|text| !matches!(text.trim_ascii(), b"" | b"{}"));
        if vendor_data {
            metadata.ignored.push(VENDOR_DATA.to_owned());
        }
        Ok(Some(metadata))
    }
}
