//! The agent from the outside: the real binary on directories that stand for machines.
mod boot;
mod machine;
