//! Google Compute Engine: the metadata server, one value a path.
use super::fields::{Checked, global};
use super::{Context, Source, SourceError, USER_DATA_LIMIT};
use crate::http::Request;
use crate::metadata::Metadata;

const NAME: &str = "GCE";
/// The address, and not `metadata.google.internal`: a foreign resolver may say anything about that name.
const BASE: &str = "http://169.254.169.254/computeMetadata/v1";
/// Asked with and answered with, so that neither side can be mistaken for a web server.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

pub(super) struct Gce;

impl Source for Gce {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let checked = Checked(NAME);
        let text = |field: &str| text(field, context);
        let ipv4 = |field: &str| text(field)?.map(|said| checked.ipv4(field, &said)).transpose();

        let field = "instance/id";
        let instance_id = checked.instance_id(field, &text(field)?.unwrap_or_default())?;
        let field = "instance/hostname";
        let hostname = text(field)?.map(|name| Checked::hostname(field, &name));
        let field = "instance/network-interfaces/0/ipv6s";
        let ipv6 = text(field)?.as_deref().and_then(|said| said.lines().next()).map(|said| checked.ipv6(field, said));
        let mut ssh_keys = Vec::new();
        for field in ["instance/attributes/ssh-keys", "project/attributes/ssh-keys"] {
            let keys = text(field)?.unwrap_or_default();
            // `USER:KEY` in lines; a key's own type has no colon before its first space.
            let keys = keys.lines().filter_map(|line| line.split_once(':').map(|(_, key)| key));
            ssh_keys.extend(checked.ssh_keys(field, keys)?);
        }
        Ok(Some(Metadata {
            instance_id: Some(instance_id),
            hostname,
            public_ipv4: ipv4("instance/network-interfaces/0/access-configs/0/external-ip")?,
            private_ipv4: ipv4("instance/network-interfaces/0/ip")?,
            public_ipv6: global(ipv6.transpose()?),
            ssh_keys,
            user_data: user_data(context)?,
            ..Metadata::default()
        }))
    }
}

fn user_data(context: &Context<'_>) -> Result<Option<Vec<u8>>, SourceError> {
    let field = "instance/attributes/user-data";
    let Some(user_data) = get(field, context, |request| request.any().limit(USER_DATA_LIMIT))? else { return Ok(None) };
    match text("instance/attributes/user-data-encoding", context)?.as_deref().map(str::trim) {
        None => Ok(Some(user_data)),
        Some("base64") => Checked(NAME).base64(field, &user_data).map(Some),
        Some(_) => {
            let what = "is not base64, the one encoding that there is";
            Err(SourceError::field(NAME, "instance/attributes/user-data-encoding", what))
        }
    }
}

/// A value; empty (an address that is not assigned) is the same as absent.
fn text(field: &str, context: &Context<'_>) -> Result<Option<String>, SourceError> {
    let Some(body) = get(field, context, |request| request)? else { return Ok(None) };
    let text = Checked(NAME).utf8(field, body)?;
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

fn get(field: &str, context: &Context<'_>, shape: impl Fn(Request) -> Request) -> Result<Option<Vec<u8>>, SourceError> {
    let request = Request::get(format!("{BASE}/{field}")).header(FLAVOR.0, FLAVOR.1);
    let answer = context.http.send(&shape(request)).map_err(SourceError::http(NAME))?;
    if answer.header(FLAVOR.0) != Some(FLAVOR.1) {
        return Err(SourceError::field(NAME, field, "was answered without Metadata-Flavor: Google: by somebody else"));
    }
    answer.optional().map_err(SourceError::http(NAME))
}
