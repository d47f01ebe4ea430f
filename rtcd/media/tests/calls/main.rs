//! Calls over a network of values: what the parts of the core do together, in virtual time.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
#![allow(missing_docs, reason = "a test's names are its documentation")]
mod bandwidth;
mod model;
mod network;
mod seeds;
mod track;
