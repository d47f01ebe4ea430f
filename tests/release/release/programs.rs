//! The programs as they were downloaded.
use crate::files::{architecture, file, said, version};
use rtcd_tests::daemon::DaemonConfig;
use rtcd_tests::in_repository;
use rtcd_tests::world::{VOICE, World};
use std::path::{Path, PathBuf};
use std::process::Command;

fn programs() -> [PathBuf; 3] {
    ["rtcd", "provision", "rtcd-load"].map(|name| file(&format!("{name}-linux-{}", architecture())))
}

#[test]
#[ignore = "needs the release files: tests/run"]
fn a_program_needs_nothing_of_the_machine_and_says_what_it_is() {
    for path in programs() {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let name = name.split_once("-linux-").expect("a name").0;
        let headers = said(Command::new("readelf").args(["--program-headers", "--dynamic"]).arg(&path));
        assert!(!headers.contains("INTERP") && !headers.contains("NEEDED"), "{headers}");
        let text = said(Command::new(&path).arg("--version").env_clear());
        let hash =
            said(Command::new("git").args(["-C", &in_repository("").display().to_string(), "rev-parse", "HEAD"]));
        assert!(text.starts_with(&format!("{name} {} (commit {} of ", version(), hash.trim())), "{text}");
    }
}

#[test]
#[ignore = "needs the release files: tests/run"]
fn no_path_of_the_machine_that_built_it_is_inside() {
    let repository = in_repository("").canonicalize().expect("it is there");
    let home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    for path in programs() {
        let bytes = std::fs::read(&path).expect("readable");
        for place in [repository.as_path(), Path::new(&home), Path::new(&home).with_file_name(".rustup").as_path()] {
            let place = place.display().to_string();
            assert!(place.len() > 4, "{place}");
            let found = bytes.windows(place.len()).position(|window| window == place.as_bytes());
            let around = found.map(|at| String::from_utf8_lossy(&bytes[at..(at + 200).min(bytes.len())]).into_owned());
            assert_eq!(around, None, "{}", path.display());
        }
    }
}

#[test]
#[ignore = "needs the release files: tests/run"]
fn every_file_is_in_the_sums() {
    let sums = file("SHA256SUMS");
    let directory = sums.parent().expect("a directory");
    said(Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(directory));
    let listed = std::fs::read_to_string(&sums).expect("readable");
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with("SHA256SUMS") || listed.contains(&format!("  {name}\n")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the release files: tests/run"]
async fn the_program_carries_a_call() -> anyhow::Result<()> {
    carries_a_call(programs()[..1].to_vec()).await
}

/// Two independent participants hear each other, over UDP and over TCP.
pub async fn carries_a_call(program: Vec<PathBuf>) -> anyhow::Result<()> {
    let world = World::start_with(DaemonConfig { program, ..DaemonConfig::new() }).await?;
    let ann = world.join("ann").await?;
    let bob = world
        .join_with(rtcd_tests::peer::PeerConfig {
            udp: false,
            tcp: true,
            ..rtcd_tests::peer::PeerConfig::new("call", "bob")
        })
        .await?;
    ann.add_voice();
    bob.add_voice();
    let _speaking = (ann.stream("voice", VOICE), bob.stream("voice", VOICE));
    bob.wait_track("voice", "ann").await?;
    ann.wait_track("voice", "bob").await?;
    ann.leave().await?;
    bob.leave().await
}
