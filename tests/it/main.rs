//! The integration tests: one binary, one module for each subject.
#![allow(clippy::large_futures, reason = "participants of other crates are large, and there are few")]
mod api;
mod bad_input;
mod browser;
mod call;
mod check;
mod config;
mod fuzz;
mod hostile;
mod media;
mod metrics;
mod ops;
mod peers;
mod plugin;
mod slow;
mod transport;
