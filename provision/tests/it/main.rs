//! The agent from the outside: the real binary on directories that stand for machines, the sources against fakes that speak
//! the clouds' protocols over a socket, user data good and bad.
mod boot;
mod fake;
mod faults;
mod fixtures;
mod golden;
mod healing;
mod laptop;
mod machine;
mod mutated;
mod network;
mod networkd;
mod networked;
mod rendered;
mod round_trip;
mod sections;
mod sources;
mod syslog;
mod volumes;
