//! Calls in virtual time, on a network of values: participants made of str0m around one or two switches, and a model call
//! that shows what the parts of the core do together.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
#![allow(missing_docs, reason = "a test's names are its documentation")]
mod bandwidth;
mod crash;
mod encoder;
mod handover;
mod heard;
mod home;
mod layers;
mod model;
mod network;
mod overload;
mod participant;
mod screen;
mod seeds;
mod track;
mod trouble;
mod video;
mod voice;
mod world;

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
