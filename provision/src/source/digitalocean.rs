//! DigitalOcean: one document, and the user data beside it.
use super::fields::{Document, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::Metadata;

const NAME: &str = "DigitalOcean";
const BASE: &str = "http://169.254.169.254/metadata";

pub(super) struct DigitalOcean;

impl Source for DigitalOcean {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        // The document has the user data too, so it may be as big as that and some.
        let request = Request::get(format!("{BASE}/v1.json")).json().limit(2 * USER_DATA_LIMIT);
        let document = Document::json(NAME, "v1.json", &context.required(NAME, &request)?)?;
        let user_data = Request::get(format!("{BASE}/v1/user-data")).any().limit(USER_DATA_LIMIT);
        Ok(Some(Metadata {
            instance_id: document.instance_id("droplet_id")?,
            hostname: document.hostname("hostname")?,
            public_ipv4: match reserved(&document) {
                Some(path) => document.ipv4(path)?,
                None => document.ipv4("interfaces/public/0/ipv4/ip_address")?,
            },
            private_ipv4: document.ipv4("interfaces/private/0/ipv4/ip_address")?,
            public_ipv6: global(document.ipv6("interfaces/public/0/ipv6/ip_address")?),
            ssh_keys: document.ssh_keys("public_keys")?,
            user_data: context.optional(NAME, &user_data)?,
            ..Metadata::default()
        }))
    }
}

/// A reserved address stays when the machine is replaced; it was called floating once.
fn reserved(document: &Document) -> Option<&'static str> {
    [
        ("reserved_ip/ipv4/active", "reserved_ip/ipv4/ip_address"),
        ("floating_ip/ipv4/active", "floating_ip/ipv4/ip_address"),
    ]
    .into_iter()
    .find(|(active, _)| document.get(active).and_then(|active| active.as_bool()) == Some(true))
    .map(|(_, path)| path)
}
