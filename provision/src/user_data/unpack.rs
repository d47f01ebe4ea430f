//! Gzip and base64, bounded.
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// Why something cannot be unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnpackError {
    /// More comes out than is allowed.
    #[error("this is too big when it is unpacked")]
    TooBig,
    /// Not gzip, or cut off.
    #[error("this is damaged: its gzip data cannot be unpacked")]
    Damaged,
}

impl UnpackError {
    /// What the admin can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::TooBig => "at most 1 MiB is unpacked in all",
            Self::Damaged => "make it again, and see that it is not cut off on its way",
        }
    }
}

/// Whether these are gzip data (RFC 1952, 2.3.1).
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Unpacks gzip data; stops as soon as there is more than `limit`.
pub fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    let mut reader = MultiGzDecoder::new(bytes).take(limit as u64 + 1);
    reader.read_to_end(&mut out).map_err(|_| UnpackError::Damaged)?;
    if out.len() > limit { Err(UnpackError::TooBig) } else { Ok(out) }
}

/// Decodes base64 of either alphabet, in lines or not, padded or not; `None` when it is something else.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, ANY_PADDING);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, ANY_PADDING);
    let text: String = text.split_ascii_whitespace().collect();
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(text).ok()
}
