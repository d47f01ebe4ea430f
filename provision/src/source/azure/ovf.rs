//! `ovf-env.xml` on the provisioning DVD, which Azure attaches when it makes the machine.
use super::NAME;
use crate::facts::Facts;
use crate::source::fields::Checked;
use crate::source::{METADATA_LIMIT, SourceError, labelled};
use crate::volume::Format;
use roxmltree::{Document, ParsingOptions};

const FILE: &str = "ovf-env.xml";
/// The field of a host name from here.
pub(super) const HOSTNAME: &str = "ovf-env.xml/HostName";
const CUSTOM_DATA: &str = "ovf-env.xml/CustomData";
/// It has some thirty elements.
const NODES_LIMIT: u32 = 1000;

#[derive(Default)]
pub(crate) struct Provisioning {
    pub hostname: Option<String>,
    /// Without its base64.
    pub custom_data: Option<Vec<u8>>,
}

/// From the first disc that has the file; none after the DVD was ejected.
pub(super) fn read(facts: &Facts) -> Result<Option<Provisioning>, SourceError> {
    for volume in facts.volumes.iter().filter(|volume| volume.format != Format::Vfat) {
        let found = labelled::read_device(NAME, &volume.device, &[(FILE, METADATA_LIMIT)], facts)?;
        if let Some(content) = found.files.into_iter().flatten().next() {
            return parse(content).map(Some);
        }
    }
    Ok(None)
}

pub(crate) fn parse(content: Vec<u8>) -> Result<Provisioning, SourceError> {
    let checked = Checked(NAME);
    let text = checked.utf8(FILE, content)?;
    let options = ParsingOptions { nodes_limit: NODES_LIMIT, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text.trim_start_matches('\u{feff}'), options).map_err(|error| {
        let place = error.pos();
        SourceError::field(NAME, FILE, format!("is not XML: line {}, column {}", place.row, place.col))
    })?;
    // Only the Linux section counts; the same names stand in the Windows one.
    let section = document.descendants().find(|node| is_called(node, "LinuxProvisioningConfigurationSet"));
    let value = |name: &str| {
        let node = section?.children().find(|node| is_called(node, name))?;
        node.text().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let custom_data = value("CustomData").map(|text| checked.base64(CUSTOM_DATA, text.as_bytes())).transpose()?;
    Ok(Provisioning { hostname: value("HostName"), custom_data })
}

/// The namespaces changed over the years, the names did not.
pub(super) fn is_called(node: &roxmltree::Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}
