//! Scaleway: the user data are for root alone, which is who can ask from a port below 1024.
use super::fields::{Checked, Document, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::{Metadata, Sourced};
use std::net::Ipv6Addr;

const NAME: &str = "Scaleway";
const BASE: &str = "http://169.254.42.42";

pub(super) struct Scaleway;

impl Source for Scaleway {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let conf = context.required(NAME, &Request::get(format!("{BASE}/conf?format=json")).json())?;
        let conf = Document::json(NAME, "conf", &conf)?;
        let user_data = Request::get(format!("{BASE}/user_data/cloud-init")).any().limit(USER_DATA_LIMIT);
        let keys = conf.list("ssh_public_keys").iter().filter_map(|key| key.get("key")?.as_str());
        Ok(Some(Metadata {
            instance_id: conf.instance_id("id")?,
            hostname: conf.hostname("hostname")?,
            public_ipv4: match conf.text("public_ip/address")? {
                // A machine with IPv6 alone has that in this place.
                Some(address) if !address.contains(':') => conf.ipv4("public_ip/address")?,
                _ => conf.ipv4(&public(&conf, "inet"))?,
            },
            private_ipv4: conf.ipv4("private_ip")?,
            public_ipv6: ipv6(&conf)?,
            ssh_keys: Checked(NAME).ssh_keys("conf/ssh_public_keys", keys)?,
            user_data: context.optional(NAME, &user_data.from_low_port())?,
            ..Metadata::default()
        }))
    }
}

fn ipv6(conf: &Document) -> Result<Option<Sourced<Ipv6Addr>>, SourceError> {
    match conf.ipv6(&public(conf, "inet6"))? {
        Some(address) => Ok(global(Some(address))),
        None => Ok(global(conf.ipv6("ipv6/address")?)),
    }
}

/// The path of the first public address of a family; of nothing when there is none.
fn public(conf: &Document, family: &str) -> String {
    let is_of = |address: &serde_json::Value| address.get("family").and_then(|of| of.as_str()) == Some(family);
    let index = conf.list("public_ips").iter().position(is_of).unwrap_or(usize::MAX);
    format!("public_ips/{index}/address")
}
