//! Why a source that is here cannot be read, sorted by who must act. Never quotes user data, keys or tokens.
use crate::http::HttpError;
use crate::volume::VolumeError;
use std::io;

/// A source that is here, but broken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum SourceError {
    /// The admin: a file is missing on what they prepared.
    #[error("{name}: {place} has no {file}; {hint}")]
    Missing {
        name: &'static str,
        /// The volume, the directory or the URL.
        place: String,
        file: &'static str,
        /// What would be right.
        hint: &'static str,
    },
    /// The admin: it cannot be known which of two volumes is meant.
    #[error("{name}: {first} and {second} both have the label {label}, and their files differ; remove one of them")]
    TwoVolumes { name: &'static str, label: &'static str, first: String, second: String },
    /// The admin: what `ds=` or a field of the metadata says makes no sense. Or the cloud, where it writes the field.
    #[error("{name}: {field} {what}")]
    Field {
        name: &'static str,
        /// The field in the source's own words: `meta-data/public-ipv4`.
        field: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// Mostly the cloud or the network: it does not answer as it should. [`HttpError`] says who.
    #[error("{name}: asking over HTTP failed")]
    Http {
        name: &'static str,
        #[source]
        error: HttpError,
    },
    /// The machine or its host: a volume is broken.
    #[error("{name}: the volume on {device} cannot be used")]
    Volume {
        name: &'static str,
        device: String,
        #[source]
        error: VolumeError,
    },
    /// The machine: a file is there and cannot be read.
    #[error("{name}: {path} cannot be read")]
    File {
        name: &'static str,
        path: String,
        #[source]
        error: io::Error,
    },
}

impl SourceError {
    /// A field of `name` that is not what it should be.
    pub(super) fn field(name: &'static str, field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Field { name, field: field.into(), what: what.into() }
    }

    /// For `map_err`: the HTTP error of the source `name`.
    pub(super) fn http(name: &'static str) -> impl Fn(HttpError) -> Self {
        move |error| Self::Http { name, error }
    }
}
