//! What any source says, in one shape.
use crate::network::Said;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A value with the field of the source that it came from, in the source's own words: `meta-data/public-ipv4`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sourced<T> {
    /// As the source gave it, trimmed.
    pub value: T,
    /// The field's path in the source.
    pub field: String,
}

impl<T> Sourced<T> {
    /// A value that `field` says.
    pub fn new(value: T, field: impl Into<String>) -> Self {
        Self { value, field: field.into() }
    }
}

/// What a source said about this machine. What it did not say is absent.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Metadata {
    /// Changes when the machine is a new one.
    pub instance_id: Option<String>,
    /// A host name as the source says it, which need not be one; see [`crate::cloud_config::usable_name`].
    pub hostname: Option<Sourced<String>>,
    /// The address that the world sees.
    pub public_ipv4: Option<Sourced<Ipv4Addr>>,
    /// The address on the machine's own interface.
    pub private_ipv4: Option<Sourced<Ipv4Addr>>,
    /// A global IPv6 address of the machine.
    pub public_ipv6: Option<Sourced<Ipv6Addr>>,
    /// Public keys, as `authorized_keys` has them.
    pub ssh_keys: Vec<String>,
    /// The user data as the source gave it: the outermost encoding that the source itself adds (Azure's base64) is
    /// undone, what the admin did (gzip, MIME) is not.
    pub user_data: Option<Vec<u8>>,
    /// What a service says about the network. What is attached to the machine says so before anybody is asked.
    #[serde(skip)]
    pub network: Option<Said>,
    /// What the source has and nobody reads, each with what to do.
    #[serde(skip)]
    pub ignored: Vec<String>,
}
