//! The agent from the outside: the real binary on directories that stand for machines, the sources against fakes that speak
//! the clouds' protocols over a socket.
mod boot;
mod fake;
mod faults;
mod fixtures;
mod machine;
mod rendered;
mod sources;
