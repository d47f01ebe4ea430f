//! The sources of metadata: one file each, one trait.
mod akamai;
pub(crate) mod attached;
pub(crate) mod azure;
mod config_drive;
pub mod credentials;
mod digitalocean;
mod ec2;
mod error;
pub(crate) mod fields;
mod gce;
mod hetzner;
mod labelled;
pub(crate) mod nocloud;
pub(crate) mod openstack;
mod oracle;
mod scaleway;
mod session;
mod vmware;
mod vultr;
pub(crate) mod yaml;

pub use error::SourceError;

use crate::detect::Datasource;
use crate::http::{Answer, Request};
use crate::metadata::Metadata;
use std::path::Path;

/// User data at most, as the source gives it: VMware's and cloud-init's own limit; the clouds allow 16 to 64 KiB.
pub const USER_DATA_LIMIT: usize = 512 << 10;
/// A document of metadata at most, from whatever place.
pub const METADATA_LIMIT: usize = crate::http::DOCUMENT_LIMIT;

/// What is said of data that are not the admin's.
const VENDOR_DATA: &str = "vendor-data is not read: what it says for this machine belongs into the user data";

/// What a source needs to work: the machine's facts and a way to ask over HTTP.
pub struct Context<'a> {
    /// What is known of the machine without asking anybody.
    pub facts: &'a crate::facts::Facts,
    /// For metadata services; one deadline for all requests of a fetch.
    pub http: &'a crate::http::Client,
}

impl Context<'_> {
    /// What the service has there; `None` when there is no such thing.
    fn optional(&self, name: &'static str, request: &Request) -> Result<Option<Vec<u8>>, SourceError> {
        self.http.send(request).and_then(Answer::optional).map_err(SourceError::http(name))
    }

    /// What the service has to have there.
    fn required(&self, name: &'static str, request: &Request) -> Result<Vec<u8>, SourceError> {
        self.http.send(request).and_then(Answer::required).map_err(SourceError::http(name))
    }
}

/// A file of the machine; `None` when there is no such file.
fn read_file(name: &'static str, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
    let failed = |error| SourceError::File { name, path: path.display().to_string(), error };
    crate::facts::read_file(path, limit).map_err(failed)
}

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
    /// Tells the cloud how it went, and returns whether it wanted to know: most do not.
    fn report(&self, _context: &Context<'_>, _outcome: &Outcome<'_>) -> Result<bool, SourceError> {
        Ok(false)
    }
}

/// The source of a choice.
pub fn of(which: &Datasource) -> Box<dyn Source> {
    match which {
        Datasource::Nothing => Box::new(Nothing),
        Datasource::Credentials => Box::new(credentials::Credentials),
        Datasource::NoCloud(line) => Box::new(nocloud::NoCloud { line: line.clone() }),
        Datasource::ConfigDrive => Box::new(config_drive::ConfigDrive),
        Datasource::Ec2 => Box::new(ec2::Ec2),
        Datasource::Gce => Box::new(gce::Gce),
        Datasource::Azure => Box::new(azure::Azure),
        Datasource::OpenStack => Box::new(openstack::OpenStack),
        Datasource::DigitalOcean => Box::new(digitalocean::DigitalOcean),
        Datasource::Hetzner => Box::new(hetzner::Hetzner),
        Datasource::Vultr => Box::new(vultr::Vultr),
        Datasource::Oracle => Box::new(oracle::Oracle),
        Datasource::Scaleway => Box::new(scaleway::Scaleway),
        Datasource::Akamai => Box::new(akamai::Akamai),
        Datasource::VMware => Box::new(vmware::VMware),
    }
}

/// `ds=none`: nobody is asked, and the image's own configuration stands.
struct Nothing;

impl Source for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn fetch(&self, _context: &Context<'_>) -> Result<Option<Metadata>, SourceError> {
        Ok(Some(Metadata::default()))
    }
}
