//! The agent from the outside.
mod golden;
