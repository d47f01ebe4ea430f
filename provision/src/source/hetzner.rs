//! Hetzner Cloud. The user data may be base64 if an API client made it so; that is for those who read user data.
use super::fields::{Document, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::{Metadata, Sourced};
use crate::network::{Form, Said};
use std::net::Ipv6Addr;

const NAME: &str = "Hetzner";
const BASE: &str = "http://169.254.169.254/hetzner/v1";

pub(super) struct Hetzner;

impl Source for Hetzner {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let get = |path: &str| Request::get(format!("{BASE}/{path}"));

        let document = Document::yaml(NAME, "metadata", context.required(NAME, &get("metadata"))?)?;
        let private = context.optional(NAME, &get("metadata/private-networks"))?.unwrap_or_default();
        let private = Document::yaml(NAME, "metadata/private-networks", private)?;
        Ok(Some(Metadata {
            instance_id: document.instance_id("instance-id")?,
            hostname: document.hostname("hostname")?,
            public_ipv4: document.ipv4("public-ipv4")?,
            private_ipv4: private.ipv4("0/ip")?,
            public_ipv6: ipv6(&document)?,
            ssh_keys: document.ssh_keys("public-keys")?,
            user_data: context.optional(NAME, &get("userdata").any().limit(USER_DATA_LIMIT))?,
            // IPv6 is told nowhere else: there is neither DHCPv6 nor an advertisement.
            network: document.get("network-config").map(|config| Said {
                origin: "Hetzner, network-config".to_owned(),
                form: Form::CloudInit,
                text: config.to_string().into_bytes(),
            }),
            ..Metadata::default()
        }))
    }
}

/// The address stands in the network configuration alone: a static subnet with a colon.
fn ipv6(document: &Document) -> Result<Option<Sourced<Ipv6Addr>>, SourceError> {
    let subnets = "network-config/config/0/subnets";
    for index in 0..document.list(subnets).len() {
        let path = format!("{subnets}/{index}/address");
        if document.text(&path)?.is_some_and(|address| address.contains(':')) {
            return Ok(global(document.ipv6(&path)?));
        }
    }
    Ok(None)
}
