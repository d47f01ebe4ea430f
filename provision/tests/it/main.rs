//! The agent from the outside.
mod golden;
mod mutated;
mod round_trip;
mod sections;
