//! Which build this is, for `--version` and `GET /version`: version, commit and date, from git, or from the packager, or
//! `unknown`. The build script of provision, too.
use std::path::Path;
use std::process::Command;

fn main() {
    for (name, command) in [
        ("RTCD_BUILD_HASH", &["rev-parse", "HEAD"][..]),
        ("RTCD_BUILD_DATE", &["show", "-s", "--format=%cI", "HEAD"][..]),
    ] {
        // A packager that builds without git sets the variable; the commit's date keeps builds reproducible.
        let value = told(name).or_else(|| git(command));
        println!("cargo:rustc-env={name}={}", value.unwrap_or_else(|| "unknown".into()));
    }
    let version = told("RTCD_BUILD_VERSION")
        .or_else(|| git(&["describe", "--exact-match", "--tags", "--match", "v[0-9]*", "HEAD"]))
        .unwrap_or_else(|| format!("dev-{}", env!("CARGO_PKG_VERSION")));
    println!("cargo:rustc-env=RTCD_BUILD_VERSION={}", spelled(&version));
    // The first moves with every commit and switch of branch; the places differ in a worktree, so git is asked.
    for name in ["logs/HEAD", "refs/tags", "packed-refs"] {
        let place = git(&["rev-parse", "--path-format=absolute", "--git-path", name]);
        if let Some(place) = place.filter(|place| Path::new(place).exists()) {
            println!("cargo:rerun-if-changed={place}");
        }
    }
    // cargo-zigbuild leaves it out, and without it a static program is always at the same address.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "musl") {
        println!("cargo:rustc-link-arg-bins=-pie");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = output(Command::new(rustc).arg("--version"));
    println!("cargo:rustc-env=RTCD_RUSTC_VERSION={}", version.unwrap_or_else(|| "rustc".into()));
}

/// `vX.Y.Z` for the release X.Y.Z, else `dev-...`: the Calls plugin takes no version below `v1.0.0` that is not `dev`.
pub fn spelled(version: &str) -> String {
    let bare = version.strip_prefix('v').unwrap_or(version);
    let (numbers, _) = bare.split_once(['-', '+']).unwrap_or((bare, ""));
    let parts: Option<Vec<u64>> = numbers.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([major, _, _]) if *major >= 1 => format!("v{bare}"),
        _ if bare.starts_with("dev") => bare.to_owned(),
        _ => format!("dev-{bare}"),
    }
}

/// What the packager says.
fn told(name: &str) -> Option<String> {
    println!("cargo:rerun-if-env-changed={name}");
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty() && !text.contains('\n')).then_some(text)
}
