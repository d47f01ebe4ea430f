//! The integration tests: one binary, one module for each subject.
mod api;
mod browser;
mod call;
mod check;
mod config;
mod fuzz;
mod hostile;
mod media;
mod ops;
mod peers;
mod plugin;
mod slow;
