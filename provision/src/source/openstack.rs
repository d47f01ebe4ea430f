//! OpenStack's metadata service. A floating address is known to its EC2-compatible side alone.
use super::fields::{Checked, Document, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::{HttpError, Request};
use crate::metadata::Metadata;
use crate::network::{Form, Said};

const NAME: &str = "OpenStack";
const BASE: &str = "http://169.254.169.254";
const PUBLIC_IPV4: &str = "meta-data/public-ipv4";

pub(super) struct OpenStack;

impl Source for OpenStack {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let get = |path: &str| Request::get(format!("{BASE}/{path}"));

        let meta_data = context.required(NAME, &get("openstack/latest/meta_data.json").json())?;
        let network = context.optional(NAME, &get("openstack/latest/network_data.json").json())?;
        let mut metadata = metadata(NAME, &meta_data, network.as_deref())?;
        let said = |text| Said { origin: "OpenStack, network_data.json".to_owned(), form: Form::OpenStack, text };
        metadata.network = network.map(said);
        if let Some(body) = optional_side(&get(&format!("latest/{PUBLIC_IPV4}")), context)? {
            let text = Checked(NAME).utf8(PUBLIC_IPV4, body)?;
            if !text.trim().is_empty() {
                metadata.public_ipv4 = Some(Checked(NAME).ipv4(PUBLIC_IPV4, &text)?);
            }
        }
        let user_data = get("openstack/latest/user_data").any().limit(USER_DATA_LIMIT);
        metadata.user_data = context.optional(NAME, &user_data)?;
        Ok(Some(metadata))
    }
}

/// The EC2-compatible side may be switched off, in one way or another.
fn optional_side(request: &Request, context: &Context<'_>) -> Result<Option<Vec<u8>>, SourceError> {
    match context.optional(NAME, request) {
        Err(SourceError::Http { error: HttpError::Status { .. }, .. }) => Ok(None),
        other => other,
    }
}

/// `meta_data.json` and `network_data.json`, as the service and the configuration drive have them.
pub(crate) fn metadata(name: &'static str, meta_data: &[u8], network: Option<&[u8]>) -> Result<Metadata, SourceError> {
    let document = Document::json(name, "meta_data.json", meta_data)?;
    let mut metadata = Metadata {
        instance_id: document.instance_id("uuid")?,
        hostname: document.hostname("hostname")?,
        ssh_keys: document.ssh_keys("public_keys")?,
        ..Metadata::default()
    };
    if document.get("network_config").is_some() {
        let what =
            "network_config of meta_data.json, a file for ifupdown, is not read: give a network_data.json, or NoCloud";
        metadata.ignored.push(what.to_owned());
    }
    let Some(network) = network else { return Ok(metadata) };
    let network = Document::json(name, "network_data.json", network)?;
    for (index, of) in network.list("networks").iter().enumerate() {
        let path = format!("networks/{index}/ip_address");
        match of.get("type").and_then(|kind| kind.as_str()) {
            Some("ipv4") if metadata.private_ipv4.is_none() => metadata.private_ipv4 = network.ipv4(&path)?,
            Some("ipv6") if metadata.public_ipv6.is_none() => metadata.public_ipv6 = global(network.ipv6(&path)?),
            _ => {}
        }
    }
    Ok(metadata)
}
