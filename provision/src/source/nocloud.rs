//! NoCloud: `meta-data` (has to be there, may be empty), `user-data` and `network-config`, on a volume with the label `cidata`, in a
//! directory of the root file system, or below a URL that a `ds=nocloud;s=URL/` names.
use super::fields::{Checked, Document};
use super::{Context, METADATA_LIMIT, Source, SourceError, USER_DATA_LIMIT, VENDOR_DATA, labelled, read_file};
use crate::detect::DsParameters;
use crate::facts::{Dmi, Facts, SEED_DIRECTORY};
use crate::http::{HttpError, Request, shown};
use crate::metadata::Metadata;
use crate::network::{Form, Said};
use std::path::Path;

const NAME: &str = "NoCloud";
const LABEL: &str = "cidata";
const META_DATA: &str = "meta-data";
const USER_DATA: &str = "user-data";
const NETWORK_CONFIG: &str = "network-config";

/// With what `ds=` says, which is weaker than what the files say.
pub(super) struct NoCloud {
    pub line: DsParameters,
}

/// The files as they were found.
struct Files {
    meta_data: Vec<u8>,
    user_data: Option<Vec<u8>>,
    /// Whether there is something in it.
    vendor_data: bool,
    /// From a URL alone: what is attached is read before.
    network: Option<Said>,
}

impl Source for NoCloud {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let files = match &self.line.seed_from {
            Some(url) => Some(from_url(url, context)?),
            None => match from_volume(context.facts)? {
                Some(files) => Some(files),
                None if context.facts.seed => Some(from_directory(&context.facts.root.join(SEED_DIRECTORY))?),
                None => None,
            },
        };
        let Some(Files { meta_data, user_data, vendor_data, network }) = files else {
            return self.named().map(Some);
        };
        let mut metadata = metadata(&Document::yaml(NAME, META_DATA, meta_data)?)?;
        let line = self.said()?;
        metadata.instance_id = metadata.instance_id.or(line.instance_id);
        metadata.hostname = metadata.hostname.or(line.hostname);
        metadata.user_data = user_data;
        metadata.network = network;
        if vendor_data {
            metadata.ignored.push(VENDOR_DATA.to_owned());
        }
        Ok(Some(metadata))
    }
}

impl NoCloud {
    /// A machine may be told its name alone.
    fn named(&self) -> Result<Metadata, SourceError> {
        if self.line.hostname.is_some() || self.line.instance_id.is_some() {
            return self.said();
        }
        Err(SourceError::Missing {
            name: NAME,
            place: "this machine".to_owned(),
            file: "volume with the label cidata",
            hint: "attach one, or name a URL: ds=nocloud;s=URL/",
        })
    }

    fn said(&self) -> Result<Metadata, SourceError> {
        let hostname = self.line.hostname.as_deref().map(|name| Checked::hostname("ds=nocloud;h", name));
        let instance_id = self.line.instance_id.as_deref().map(|id| Checked(NAME).instance_id("ds=nocloud;i", id));
        Ok(Metadata { hostname, instance_id: instance_id.transpose()?, ..Metadata::default() })
    }
}

/// `meta-data`, as NoCloud and those who borrow its form write it.
pub(crate) fn metadata(document: &Document) -> Result<Metadata, SourceError> {
    let hostname = match document.hostname("local-hostname")? {
        Some(name) => Some(name),
        None => document.hostname("hostname")?,
    };
    let old_network = document.get("network-interfaces").is_some();
    let what = "network-interfaces of meta-data is not read: write a network-config beside it";
    Ok(Metadata {
        instance_id: document.instance_id("instance-id")?,
        ignored: old_network.then(|| what.to_owned()).into_iter().collect(),
        hostname,
        ssh_keys: document.ssh_keys("public-keys")?,
        ..Metadata::default()
    })
}

fn from_volume(facts: &Facts) -> Result<Option<Files>, SourceError> {
    // All of them, so that two volumes that differ in any are told apart.
    let wanted = [
        (META_DATA, METADATA_LIMIT),
        (USER_DATA, USER_DATA_LIMIT),
        ("vendor-data", USER_DATA_LIMIT),
        (NETWORK_CONFIG, METADATA_LIMIT),
    ];
    let Some(found) = labelled::read(NAME, LABEL, &wanted, facts)? else { return Ok(None) };
    let place = format!("the volume {LABEL} on {}", found.device);
    let mut files = found.files.into_iter();
    let meta_data = required(META_DATA, files.next().flatten(), place)?;
    let user_data = files.next().flatten();
    let vendor_data = files.next().flatten().is_some_and(|text| is_said(&text));
    Ok(Some(Files { meta_data, user_data, vendor_data, network: None }))
}

fn from_directory(directory: &Path) -> Result<Files, SourceError> {
    let read = |file: &str, limit| read_file(NAME, &directory.join(file), limit);
    let meta_data = required(META_DATA, read(META_DATA, METADATA_LIMIT)?, directory.display().to_string())?;
    let vendor_data = read("vendor-data", USER_DATA_LIMIT)?.is_some_and(|text| is_said(&text));
    Ok(Files { meta_data, user_data: read(USER_DATA, USER_DATA_LIMIT)?, vendor_data, network: None })
}

fn from_url(url: &str, context: &Context<'_>) -> Result<Files, SourceError> {
    let url = expand(url, &context.facts.dmi);
    if !url.ends_with('/') {
        return Err(SourceError::field(NAME, "ds=nocloud;s", format!("{} does not end with a slash", shown(&url))));
    }
    if let Some(path) = url.strip_prefix("file://") {
        let directory = context.facts.root.join(path.trim_start_matches('/'));
        let network = read_file(NAME, &directory.join(NETWORK_CONFIG), METADATA_LIMIT)?.filter(|text| is_said(text));
        let origin = directory.join(NETWORK_CONFIG).display().to_string();
        let network = network.map(|text| Said { origin, form: Form::CloudInit, text });
        return Ok(Files { network, ..from_directory(&directory)? });
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let what = format!("{} is of no known kind: http, https and file are", shown(&url));
        return Err(SourceError::field(NAME, "ds=nocloud;s", what));
    }
    let read = |request| context.optional(NAME, &request);
    let meta_data = required(META_DATA, read(Request::get(format!("{url}{META_DATA}")))?, shown(&url))?;
    // As in cloud-init it has to be there: a server that is half up must not make a machine without configuration.
    let user_data = read(Request::get(format!("{url}{USER_DATA}")).any().limit(USER_DATA_LIMIT))?;
    let user_data = Some(required(USER_DATA, user_data, shown(&url))?);
    let network = match read(Request::get(format!("{url}{NETWORK_CONFIG}")).limit(METADATA_LIMIT)) {
        // Stores that do not tell what they do not have.
        Err(SourceError::Http { error: HttpError::Status { .. }, .. }) => None,
        answer => answer?.filter(|text| is_said(text)),
    };
    let said = |text| Said { origin: shown(&format!("{url}{NETWORK_CONFIG}")), form: Form::CloudInit, text };
    Ok(Files { meta_data, user_data, vendor_data: false, network: network.map(said) })
}

fn required(file: &'static str, content: Option<Vec<u8>>, place: String) -> Result<Vec<u8>, SourceError> {
    content.ok_or(SourceError::Missing { name: NAME, place, file, hint: "add one, which may be empty" })
}

/// Panels write files with nothing but a first line.
fn is_said(text: &[u8]) -> bool {
    !matches!(text.trim_ascii(), b"" | b"#cloud-config" | b"{}")
}

/// `__dmi.chassis-serial-number__` and its kind, by the names of dmidecode, so that one line serves many machines.
fn expand(url: &str, dmi: &Dmi) -> String {
    [
        ("system-manufacturer", &dmi.sys_vendor),
        ("system-product-name", &dmi.product_name),
        ("system-serial-number", &dmi.product_serial),
        ("system-uuid", &dmi.product_uuid),
        ("chassis-serial-number", &dmi.chassis_serial),
        ("chassis-asset-tag", &dmi.chassis_asset_tag),
        ("bios-vendor", &dmi.bios_vendor),
    ]
    .iter()
    .fold(url.to_owned(), |url, (name, value)| url.replace(&format!("__dmi.{name}__"), value))
}
