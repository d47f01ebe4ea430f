//! The sans-IO media core.
