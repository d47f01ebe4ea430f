//! The integration tests: one binary, one module for each subject.
mod check;
mod config;
mod ops;
mod plugin;
