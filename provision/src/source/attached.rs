//! What is attached to the machine and tells of its network: nobody has to be asked for it, so it comes before everybody
//! who has to. Which source gives the user data does not matter here.
use super::{METADATA_LIMIT, SourceError, labelled, read_file};
use crate::detect::{Datasource, DetectError, detect};
use crate::facts::{Facts, NETWORK_CREDENTIAL, SEED_DIRECTORY};
use crate::network::{Form, Said};

/// What was found.
pub(crate) enum Attached {
    /// Nothing is attached that could say anything.
    Nothing,
    /// Something is, and it leaves the network to the image.
    Silent,
    /// This.
    Said(Said),
}

/// On volumes and in the seed directory.
const FILE: &str = "network-config";
const NETWORK_DATA: &str = "openstack/latest/network_data.json";

/// Looks at credentials, volumes, the seed directory and VMware's guestinfo, in this order; the first that says something
/// is taken.
pub(crate) fn attached(facts: &Facts) -> Result<Attached, SourceError> {
    // The labels that count: with both, the one that somebody has named.
    let labels: &[&str] = match detect(facts).map(|choice| choice.which) {
        Err(DetectError::TwoVolumes { .. }) => return Ok(Attached::Nothing),
        Ok(Datasource::ConfigDrive) => &["config-2"],
        _ => &["cidata", "config-2"],
    };
    let mut silent = false;
    let said = |origin: String, form, text| Ok(Attached::Said(Said { origin, form, text }));
    if let Some(path) = &facts.network_credential
        && let Some(text) = read_file("Credentials", path, METADATA_LIMIT)?
    {
        return said(format!("the credential {NETWORK_CREDENTIAL}"), Form::CloudInit, text);
    }
    for (name, label, file, form) in
        [("NoCloud", "cidata", FILE, Form::CloudInit), ("ConfigDrive", "config-2", NETWORK_DATA, Form::OpenStack)]
    {
        if !labels.contains(&label) {
            continue;
        }
        let Some(found) = labelled::read(name, label, &[(file, METADATA_LIMIT)], facts)? else { continue };
        silent = true;
        if let Some(text) = found.files.into_iter().next().flatten() {
            let file = file.rsplit('/').next().unwrap_or(file);
            return said(format!("{file} on the volume {label}, {}", found.device), form, text);
        }
        if label == "cidata" {
            break;
        }
    }
    if !silent && facts.seed {
        silent = true;
        if let Some(text) = read_file("NoCloud", &facts.root.join(SEED_DIRECTORY).join(FILE), METADATA_LIMIT)? {
            return said(format!("/{SEED_DIRECTORY}/{FILE}"), Form::CloudInit, text);
        }
    }
    if !silent && facts.guestinfo.is_set() {
        silent = true;
        if let Some(text) = super::vmware::network_text(&facts.guestinfo)? {
            return said("guestinfo.metadata".to_owned(), Form::Guestinfo, text);
        }
    }
    Ok(if silent || facts.credentials.is_some() { Attached::Silent } else { Attached::Nothing })
}
