//! Programs of other people that a test needs beside the daemon.
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server of somebody else's; killed when dropped.
pub struct Server(Child);

impl Server {
    /// Starts it; what it says goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).expect("the log can be made");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
