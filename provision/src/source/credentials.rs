//! systemd credentials: `rtcd.user-data`, and `rtcd.meta-data` if somebody wants to name the machine. A hypervisor hands
//! them over as SMBIOS type 11 strings or fw_cfg files; systemd puts them in a directory.
use super::fields::Document;
use super::nocloud;
use super::{Context, METADATA_LIMIT, Source, SourceError, USER_DATA_LIMIT, read_file};
use crate::facts::USER_DATA_CREDENTIAL;
use crate::metadata::Metadata;

const NAME: &str = "Credentials";
/// The metadata, in the form of NoCloud.
const META_DATA: &str = "rtcd.meta-data";

/// The credentials of the service, else of the system.
pub(super) struct Credentials;

impl Source for Credentials {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let Some(directory) = &context.facts.credentials else { return Ok(None) };
        let read = |file: &str, limit| read_file(NAME, &directory.join(file), limit);
        let mut metadata = match read(META_DATA, METADATA_LIMIT)? {
            Some(text) => nocloud::metadata(&Document::yaml(NAME, META_DATA, text)?)?,
            None => Metadata::default(),
        };
        metadata.user_data = read(USER_DATA_CREDENTIAL, USER_DATA_LIMIT)?;
        Ok(Some(metadata))
    }
}
