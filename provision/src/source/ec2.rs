//! Amazon EC2: the instance metadata service, version 2.
use super::fields::{Checked, global};
use super::session::{Service, Session};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::metadata::{Metadata, Sourced};
use std::net::Ipv6Addr;

const NAME: &str = "EC2";
static SERVICE: Service = Service {
    name: NAME,
    bases: ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/latest"],
    token_path: "api/token",
    lifetime: ("X-aws-ec2-metadata-token-ttl-seconds", "21600"),
    header: "X-aws-ec2-metadata-token",
};
/// More keys than an instance can have.
const KEYS_LIMIT: usize = 16;

/// Amazon EC2.
pub(super) struct Ec2;

impl Source for Ec2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let session = Session::start(&SERVICE, context.http)?;
        let text = |field: &str| session.text(field);
        let checked = Checked(NAME);
        let ipv4 = |field: &str| text(field)?.map(|said| checked.ipv4(field, &said)).transpose();

        let field = "meta-data/instance-id";
        let instance_id = checked.instance_id(field, &text(field)?.unwrap_or_default())?;
        let field = "meta-data/local-hostname";
        // With the naming by resource, it is `i-0123.ec2.internal`; a VPC may list several domains.
        let hostname = text(field)?.as_deref().and_then(|names| names.split_whitespace().next().map(str::to_owned));
        Ok(Some(Metadata {
            instance_id: Some(instance_id),
            hostname: hostname.map(|name| Checked::hostname(field, &name)),
            public_ipv4: ipv4("meta-data/public-ipv4")?,
            private_ipv4: ipv4("meta-data/local-ipv4")?,
            public_ipv6: ipv6(&session)?,
            ssh_keys: ssh_keys(&session)?,
            user_data: session.get("user-data", |request| request.any().limit(USER_DATA_LIMIT))?,
            ..Metadata::default()
        }))
    }
}

/// `meta-data/ipv6` is young; the addresses of an interface are not.
fn ipv6(session: &Session<'_>) -> Result<Option<Sourced<Ipv6Addr>>, SourceError> {
    let mut field = "meta-data/ipv6".to_owned();
    let mut said = session.text(&field)?;
    if said.is_none()
        && let Some(mac) = session.text("meta-data/mac")?
    {
        let mac = mac.trim();
        if !mac.bytes().all(|c| c.is_ascii_hexdigit() || c == b':') {
            return Err(SourceError::field(NAME, "meta-data/mac", "is not a MAC address"));
        }
        field = format!("meta-data/network/interfaces/macs/{mac}/ipv6s");
        said = session.text(&field)?;
    }
    let first = said.as_deref().and_then(|said| said.lines().next());
    Ok(global(first.map(|address| Checked(NAME).ipv6(field, address)).transpose()?))
}

/// `public-keys/` lists `0=NAME` in lines; each number is a directory.
fn ssh_keys(session: &Session<'_>) -> Result<Vec<String>, SourceError> {
    let directory = "meta-data/public-keys/";
    let list = session.text(directory)?.unwrap_or_default();
    let mut keys = Vec::new();
    for number in list.lines().filter_map(|line| line.split('=').next()?.trim().parse::<u32>().ok()).take(KEYS_LIMIT) {
        let field = format!("{directory}{number}/openssh-key");
        let key = session.text(&field)?.unwrap_or_default();
        keys.extend(Checked(NAME).ssh_keys(&field, key.lines())?);
    }
    Ok(keys)
}
