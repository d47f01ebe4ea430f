//! The provisioning agent.
fn main() {}
