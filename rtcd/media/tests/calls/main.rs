//! Calls in virtual time: participants made of str0m around one or two switches, on a network of values.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
#![allow(missing_docs, reason = "a test's names are its documentation")]
mod encoder;
mod network;
mod participant;
mod screen;
mod seeds;
mod video;
mod world;
