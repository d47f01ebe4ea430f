//! What the tests of rtcd share: the daemon as a child process, a plain HTTP client.
#![allow(clippy::large_futures, reason = "participants of other crates are large, and there are few")]
#![allow(missing_docs, reason = "for tests alone, where names say it")]
pub mod browser;
pub mod calls;
pub mod daemon;
pub mod fuzz;
pub mod hostile;
pub mod http;
pub mod lossy;
pub mod mattermost;
pub mod namespace;
pub mod peer;
pub mod plugin;
pub mod server;
pub mod webrtc_peer;
pub mod world;

use std::path::{Path, PathBuf};

/// A path in the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Where pictures for people go.
pub fn artifact(name: &str) -> PathBuf {
    let artifacts = in_repository("tests/artifacts");
    std::fs::create_dir_all(&artifacts).expect("the directory can be made");
    artifacts.join(name)
}
