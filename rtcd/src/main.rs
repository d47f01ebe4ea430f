//! The rtcd daemon.
fn main() {}
