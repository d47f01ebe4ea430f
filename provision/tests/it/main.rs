//! The agent from the outside.
mod fake;
mod faults;
mod fixtures;
mod sources;
mod volumes;
