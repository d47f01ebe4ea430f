//! Vultr: one document with everything.
use super::fields::{Document, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::Metadata;

const NAME: &str = "Vultr";
const BASE: &str = "http://169.254.169.254";

pub(super) struct Vultr;

impl Source for Vultr {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let request = Request::get(format!("{BASE}/v1.json")).header("Metadata-Token", "cloudinit");
        let body = context.required(NAME, &request.json().limit(2 * USER_DATA_LIMIT))?;
        let document = Document::json(NAME, "v1.json", &body)?;
        let interface = |kind: &str| {
            let of = |interface: &serde_json::Value| interface.get("network-type")?.as_str().map(str::to_owned);
            document.list("interfaces").iter().position(|interface| of(interface).as_deref() == Some(kind))
        };
        let address = |kind, family| interface(kind).map(|index| format!("interfaces/{index}/{family}/address"));
        let ipv4 = |kind| address(kind, "ipv4").map_or(Ok(None), |path| document.ipv4(&path));
        let ipv6 = address("public", "ipv6").map_or(Ok(None), |path| document.ipv6(&path));
        let instance_id = match document.instance_id("instance-v2-id")? {
            Some(id) => Some(id),
            None => document.instance_id("instanceid")?,
        };
        Ok(Some(Metadata {
            instance_id,
            hostname: document.hostname("hostname")?,
            public_ipv4: ipv4("public")?,
            private_ipv4: ipv4("private")?,
            public_ipv6: global(ipv6?),
            ssh_keys: document.ssh_keys("public-keys")?,
            user_data: document.text("user-data")?.map(String::into_bytes),
            ..Metadata::default()
        }))
    }
}
