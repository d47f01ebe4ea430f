//! The HTTP client: bounded in time and size.
/// A client.
pub struct Client;
