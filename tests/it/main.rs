//! The integration tests: one binary, one module for each subject.
#![allow(clippy::large_futures, reason = "participants of other crates are large, and there are few")]
mod api;
mod bad_input;
mod browser;
mod call;
mod check;
mod clients;
mod config;
mod drain;
mod fair;
mod fuzz;
mod honest;
mod hostile;
mod logs;
mod media;
mod metrics;
mod migration;
mod networks;
mod ops;
mod outside;
mod paths;
mod peers;
mod plugin;
mod slow;
mod strangers;
mod transport;
