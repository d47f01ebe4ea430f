//! Oracle Cloud: the instance metadata service, version 2. It does not know a public address.
use super::fields::{Checked, Document, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::Metadata;

const NAME: &str = "Oracle";
const BASES: [&str; 2] = ["http://169.254.169.254/opc/v2", "http://[fd00:c1::a9fe:a9fe]/opc/v2"];

pub(super) struct Oracle;

impl Source for Oracle {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let document = |name: &'static str, path: &str| {
            let request = Request::get(format!("{}/{path}", BASES[0])).or(format!("{}/{path}", BASES[1]));
            let request = request.header("Authorization", "Bearer Oracle").json().limit(2 * USER_DATA_LIMIT);
            Document::json(NAME, name, &context.required(NAME, &request)?)
        };
        let instance = document("instance", "instance/")?;
        let vnics = document("vnics", "vnics/")?;
        let user_data = instance.text("metadata/user_data")?;
        Ok(Some(Metadata {
            instance_id: instance.instance_id("id")?,
            hostname: instance.hostname("hostname")?,
            public_ipv4: None,
            private_ipv4: vnics.ipv4("0/privateIp")?,
            public_ipv6: global(vnics.ipv6("0/ipv6Addresses/0")?),
            ssh_keys: instance.ssh_keys("metadata/ssh_authorized_keys")?,
            user_data: user_data
                .map(|text| Checked(NAME).base64("instance/metadata/user_data", text.as_bytes()))
                .transpose()?,
            ..Metadata::default()
        }))
    }
}
