//! The sources of metadata: one file each, one trait.
use crate::metadata::Metadata;

/// What a source needs to work: the machine's facts and a way to ask over HTTP.
pub struct Context<'a> {
    /// The machine.
    pub facts: &'a crate::facts::Facts,
    /// The client.
    pub http: &'a crate::http::Client,
}

/// Why a source that is here cannot be read. Never quotes user data.
#[derive(Debug, thiserror::Error)]
#[error("TO BE SPLIT BY WHO MUST ACT")]
pub struct SourceError;

/// How provisioning ended, for clouds that want to know.
pub enum Outcome<'a> {
    /// The machine is configured.
    Ready,
    /// It is not, and this is why; no secrets in it.
    Failed(&'a str),
}

/// A place where metadata come from.
pub trait Source {
    /// Its name as people know it: `EC2`.
    fn name(&self) -> &'static str;
    /// `Ok(None)`: not here. `Err`: here, but broken.
    fn fetch(&self, context: &Context<'_>) -> Result<Option<Metadata>, SourceError>;
    /// Tells the cloud how it went; most do not ask.
    fn report(&self, _context: &Context<'_>, _outcome: &Outcome<'_>) -> Result<(), SourceError> {
        Ok(())
    }
}
