//! The agent from the outside.
