//! Identifiers: one type each, so that they cannot be swapped.
use rtcd_media::footprint::Footprint;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(from = "String")]
        pub struct $name(Arc<str>);
        impl $name {
            /// The identifier as it travels on the wire.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        /// One that has it from somebody else holds nothing.
        impl Footprint for $name { fn heap_bytes(&self) -> usize { 2 * size_of::<usize>() + self.0.len() } }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> { serializer.serialize_str(&self.0) }
        }
        impl From<&str> for $name { fn from(s: &str) -> Self { Self(s.into()) } }
        impl From<String> for $name { fn from(s: String) -> Self { Self(s.into()) } }
        impl fmt::Display for $name { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) } }
        impl fmt::Debug for $name { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) } }
    )+};
}

text_id! {
    /// A registered client of the HTTP and WebSocket API, which is also its group: one Mattermost installation.
    ClientId,
    /// One call in a group; `callID` on the wire.
    CallId,
    /// A Mattermost user; `userID` on the wire. One user may hold several sessions.
    UserId,
    /// One participant in one call; `sessionID` on the wire.
    SessionId,
    /// One WebSocket connection of a client; `connID` on the wire, 26 characters of z-base-32.
    ConnId,
}
