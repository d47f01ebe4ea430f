//! The facts about the machine, all below one root.
/// The facts.
pub struct Facts;
