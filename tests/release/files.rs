//! What `image/release` made.
use rtcd_tests::in_repository;
use std::path::PathBuf;
use std::process::Command;

/// A file of the release.
pub fn file(name: &str) -> PathBuf {
    let path = in_repository("target/release-files").join(name);
    assert!(path.exists(), "{} is missing: run image/release first", path.display());
    path
}

/// The architecture of this machine, as containers have it.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// What a command says on standard output; it must succeed.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What this release calls itself.
pub fn version() -> String {
    let program = file(&format!("rtcd-linux-{}", architecture()));
    let text = said(Command::new(program).arg("--version"));
    text.split_whitespace().nth(1).expect("a version").to_owned()
}
