//! What the tests of rtcd share: the daemon as a child process, a plain HTTP client.
#![allow(clippy::large_futures, reason = "participants of other crates are large, and there are few")]
pub mod browser;
pub mod daemon;
pub mod fuzz;
pub mod hostile;
pub mod http;
pub mod lossy;
pub mod mattermost;
pub mod peer;
pub mod plugin;
pub mod webrtc_peer;
pub mod world;
