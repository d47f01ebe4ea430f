//! Addresses: where we listen ([`listen`], [`addresses`], [`binder`], by the news of [`watch`]) and what participants are
//! told: [`discovery`] keeps it true by [`outside`] looks, [`external`] remembers what they found, [`candidates`] has the
//! rules, [`complaints`] what comes to nothing; [`relays`] are addresses on TURN servers.
pub mod addresses;
pub mod binder;
pub mod candidates;
pub mod complaints;
pub mod discovery;
mod external;
pub mod listen;
mod lookup;
mod outside;
pub mod relays;
pub mod stun_client;
pub mod tls_client;
mod watch;
