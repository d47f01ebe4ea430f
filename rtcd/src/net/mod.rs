//! Addresses: where we listen ([`listen`], [`addresses`]) and what participants are told ([`candidates`]).
pub mod addresses;
pub mod candidates;
pub mod listen;
pub mod stun_client;
