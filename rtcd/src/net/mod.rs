//! Addresses: where we listen and what participants are told.
pub mod listen;
