//! What `GET /version` tells of the build: commit and date, from git or from the packager, or `unknown`.
use std::process::Command;

fn main() {
    for (name, command) in [
        ("RTCD_BUILD_HASH", &["rev-parse", "HEAD"][..]),
        ("RTCD_BUILD_DATE", &["show", "-s", "--format=%cI", "HEAD"][..]),
    ] {
        println!("cargo:rerun-if-env-changed={name}");
        // A packager that builds without git sets the variable; the commit's date keeps builds reproducible.
        let value = std::env::var(name).ok().filter(|value| !value.is_empty()).or_else(|| git(command));
        println!("cargo:rustc-env={name}={}", value.unwrap_or_else(|| "unknown".into()));
    }
    println!("cargo:rerun-if-env-changed=RTCD_BUILD_VERSION");
    println!("cargo:rerun-if-changed=build.rs");
    // Moves with every commit and switch of branch; the place differs in a worktree, so git is asked.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = output(Command::new(rustc).arg("--version"));
    println!("cargo:rustc-env=RTCD_RUSTC_VERSION={}", version.unwrap_or_else(|| "rustc".into()));
}

fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty() && !text.contains('\n')).then_some(text)
}
