//! Akamai, formerly Linode: the Metadata service.
use super::fields::{Checked, Document, global};
use super::session::{Service, Session};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::Metadata;

const NAME: &str = "Akamai";
static SERVICE: Service = Service {
    name: NAME,
    bases: ["http://169.254.169.254/v1", "http://[fd00:a9fe:a9fe::1]/v1"],
    token_path: "token",
    lifetime: ("Metadata-Token-Expiry-Seconds", "3600"),
    header: "Metadata-Token",
};

pub(super) struct Akamai;

impl Source for Akamai {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let session = Session::start(&SERVICE, context.http)?;
        let json = |request: Request| request.json().header("Accept", "application/json");
        let document = |name: &'static str| {
            let body = session.get(name, json)?.unwrap_or_else(|| b"{}".to_vec());
            Document::json(NAME, name, &body)
        };
        let instance = document("instance")?;
        let network = document("network")?;
        let keys = document("ssh-keys")?;
        // A label is a name for people: it may have underscores, which a host name may not.
        let label = instance.text("label")?.map(|label| label.replace('_', "-"));
        let user_data = session.get("user-data", |request| request.any().limit(USER_DATA_LIMIT))?;
        Ok(Some(Metadata {
            instance_id: Some(Checked(NAME).instance_id("instance/id", &instance.text("id")?.unwrap_or_default())?),
            hostname: label.map(|label| Checked::hostname("instance/label", &label)),
            public_ipv4: network.ipv4("ipv4/public/0")?,
            private_ipv4: network.ipv4("ipv4/private/0")?,
            public_ipv6: global(network.ipv6("ipv6/slaac")?),
            ssh_keys: keys.ssh_keys("users/root")?,
            user_data: user_data.map(|text| Checked(NAME).base64("user-data", &text)).transpose()?,
            ..Metadata::default()
        }))
    }
}
