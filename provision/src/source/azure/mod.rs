//! Microsoft Azure: the instance metadata service, the provisioning DVD, and the report without which Azure calls the
//! machine failed.
pub(crate) mod ovf;
mod report;

use super::fields::{Checked, Document, global};
use super::{Context, Outcome, Source, SourceError};
use crate::http::{Answer, Request};
use crate::metadata::{Metadata, Sourced};
use std::net::Ipv4Addr;

const NAME: &str = "Azure";
const BASE: &str = "http://169.254.169.254/metadata";
/// With user data, and for places that do not know it yet, without.
const VERSIONS: [&str; 2] = ["2021-08-01&extended=true", "2019-06-01"];
const LOAD_BALANCER_VERSION: &str = "2020-10-01";
/// The service says so before it knows the machine.
const NOT_YET: &[u16] = &[404, 410];

pub(super) struct Azure;

impl Source for Azure {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let document = instance(context)?;
        let provisioning = ovf::read(context.facts)?.unwrap_or_default();
        let checked = Checked(NAME);
        let address = "network/interface/0/ipv4/ipAddress/0";
        let private_ipv4 = document.ipv4(&format!("{address}/privateIpAddress"))?;
        let public_ipv4 = match document.ipv4(&format!("{address}/publicIpAddress"))? {
            Some(address) => Some(address),
            None => load_balancer(context, private_ipv4.as_ref())?,
        };
        let hostname = match document.hostname("compute/osProfile/computerName")? {
            Some(name) => Some(name),
            None => provisioning.hostname.map(|name| Checked::hostname(ovf::HOSTNAME, &name)),
        };
        let keys = document.list("compute/publicKeys").iter().filter_map(|key| key.get("keyData")?.as_str());
        let user_data = document.text("compute/userData")?;
        let user_data =
            user_data.map(|text| checked.base64("instance/compute/userData", text.as_bytes())).transpose()?;
        Ok(Some(Metadata {
            instance_id: document.instance_id("compute/vmId")?,
            hostname,
            public_ipv4,
            private_ipv4,
            public_ipv6: global(document.ipv6("network/interface/0/ipv6/ipAddress/0/privateIpAddress")?),
            // Azure breaks long lines of RSA keys, in the way of Windows.
            ssh_keys: checked.ssh_keys(
                "instance/compute/publicKeys",
                keys.map(|key| key.replace(['\r', '\n'], "")).collect::<Vec<_>>().iter().map(String::as_str),
            )?,
            // The order of cloud-init: what was given when the machine was made, else what can be changed later.
            user_data: provisioning.custom_data.or(user_data),
            ..Metadata::default()
        }))
    }

    fn report(&self, context: &Context<'_>, outcome: &Outcome<'_>) -> Result<bool, SourceError> {
        report::send(context, outcome).map(|()| true)
    }
}

fn get(path: &str, version: &str) -> Request {
    Request::get(format!("{BASE}/{path}?api-version={version}")).header("Metadata", "true").json()
}

fn instance(context: &Context<'_>) -> Result<Document, SourceError> {
    let [version, older] = VERSIONS;
    let ask = |version| context.http.send(&get("instance", version).asked_again(NOT_YET));
    let answer = match ask(version) {
        Ok(Answer { status: 400, .. }) => ask(older),
        answer => answer,
    };
    let body = answer.and_then(Answer::required).map_err(SourceError::http(NAME))?;
    Document::json(NAME, "instance", &body)
}

/// A public address of the standard kind is the load balancer's, even when there is none.
fn load_balancer(
    context: &Context<'_>,
    private: Option<&Sourced<Ipv4Addr>>,
) -> Result<Option<Sourced<Ipv4Addr>>, SourceError> {
    let request = get("loadbalancer", LOAD_BALANCER_VERSION);
    let Some(body) = context.optional(NAME, &request)? else { return Ok(None) };
    let document = Document::json(NAME, "loadbalancer", &body)?;
    let addresses = "loadbalancer/publicIpAddresses";
    let private = private.map(|said| said.value.to_string());
    let is_ours = |address: &serde_json::Value| {
        let of = address.get("privateIpAddress").and_then(|of| of.as_str());
        of == private.as_deref()
    };
    match document.list(addresses).iter().position(is_ours) {
        Some(index) => document.ipv4(&format!("{addresses}/{index}/frontendIpAddress")),
        None => Ok(None),
    }
}
