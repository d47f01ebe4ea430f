//! VMware: what the admin of the host set as `guestinfo.metadata` and `guestinfo.userdata`, in some encoding.
use super::fields::{Checked, Document};
use super::nocloud;
use super::{Context, METADATA_LIMIT, Source, SourceError, VENDOR_DATA};
use crate::facts::Guestinfo;
use crate::metadata::Metadata;
use flate2::read::GzDecoder;
use std::io::Read;

const NAME: &str = "VMware";

pub(super) struct VMware;

impl Source for VMware {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        let guestinfo = &context.facts.guestinfo;
        if !guestinfo.is_set() {
            return Err(SourceError::Missing {
                name: NAME,
                place: "the host".to_owned(),
                file: "guestinfo.userdata for this machine",
                hint: "set it, or guestinfo.metadata, in the machine's advanced configuration",
            });
        }
        let metadata = self::metadata(guestinfo)?.unwrap_or_default();
        let mut metadata = nocloud::metadata(&Document::yaml(NAME, "guestinfo.metadata", metadata)?)?;
        if guestinfo.get("vendordata").is_some() {
            metadata.ignored.push(VENDOR_DATA.replace("vendor-data", "guestinfo.vendordata"));
        }
        // User data that are packed stay packed: those who read user data unpack them, from wherever they come.
        metadata.user_data = decoded(guestinfo, "userdata", "userdata.encoding")?;
        Ok(Some(metadata))
    }
}

/// The metadata, when the network is among them.
pub(super) fn network_text(guestinfo: &Guestinfo) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(text) = metadata(guestinfo)? else { return Ok(None) };
    let document = Document::yaml(NAME, "guestinfo.metadata", text.clone())?;
    Ok(document.get("network").is_some().then_some(text))
}

fn metadata(guestinfo: &Guestinfo) -> Result<Option<Vec<u8>>, SourceError> {
    decoded(guestinfo, "metadata", "metadata.encoding")?.map(inflated).transpose()
}

/// Without its base64.
fn decoded(guestinfo: &Guestinfo, name: &str, encoding: &str) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(value) = guestinfo.get(name) else { return Ok(None) };
    let said = String::from_utf8_lossy(guestinfo.get(encoding).unwrap_or_default()).trim().to_ascii_lowercase();
    match said.as_str() {
        "" => Ok(Some(value.to_vec())),
        "base64" | "b64" | "gzip+base64" | "gz+base64" | "gzip+b64" | "gz+b64" => {
            Checked(NAME).base64(&format!("guestinfo.{name}"), value).map(Some)
        }
        _ => {
            let what = "is no known encoding: base64 and gzip+base64 are";
            Err(SourceError::field(NAME, format!("guestinfo.{encoding}"), what))
        }
    }
}

fn inflated(text: Vec<u8>) -> Result<Vec<u8>, SourceError> {
    if !text.starts_with(&[0x1f, 0x8b]) {
        return Ok(text);
    }
    let mut inflated = Vec::new();
    let read = GzDecoder::new(&text[..]).take(METADATA_LIMIT as u64 + 1).read_to_end(&mut inflated);
    if read.is_err() || inflated.len() > METADATA_LIMIT {
        let what = format!("is not gzip of at most {METADATA_LIMIT} bytes");
        return Err(SourceError::field(NAME, "guestinfo.metadata", what));
    }
    Ok(inflated)
}
