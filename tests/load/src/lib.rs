//! How many people does this machine carry? Participants of calls by the hundred, played by a few threads: each has a socket
//! of its own, ICE, DTLS, SRTP and a data channel, speaks to the server as web clients do, and reads what it hears.
//!
//! A packet's way: [`traffic`] makes it and puts a [`trailer`] on its end, [`player`] sends it off over a [`link`], the server
//! forwards it, the player of the receiver hands it to str0m in [`participant`], and [`tally`] reads the trailer.
pub mod api;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod floor;
pub mod limit;
pub mod link;
pub mod node;
pub mod participant;
pub mod player;
pub mod process;
pub mod report;
pub mod run;
pub mod server;
pub mod signal;
pub mod table;
pub mod tally;
pub mod traffic;
pub mod trailer;
