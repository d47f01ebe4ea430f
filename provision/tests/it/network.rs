//! Network configurations as panels, clouds and admins write them, with the files of networkd that they come to:
//! `fixtures/network/accepted`; and every message that they can cause: `fixtures/network/mistakes`. `UPDATE_GOLDEN=1`
//! writes the expected files anew; read what changed before you keep it.
use provision::mistake::Mistakes;
use provision::network::{self, Form, render};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[test]
fn what_clouds_and_panels_write_becomes_files_of_networkd() {
    compare("accepted", true);
}

#[test]
fn every_mistake_about_the_network_is_explained() {
    compare("mistakes", false);
}

fn compare(directory: &str, accepted: bool) {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut stale = Vec::new();
    for path in texts(directory) {
        let (good, found) = outcome(&path);
        assert_eq!(good, accepted, "{}\n{found}", path.display());
        let expected = path.with_extension("expected");
        if update {
            std::fs::write(&expected, &found).expect("a writable fixture");
        }
        if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            stale.push(format!("{}\n{found}", path.display()));
        }
    }
    assert!(stale.is_empty(), "UPDATE_GOLDEN=1 writes these anew:\n{}", stale.join("\n"));
}

/// The texts of a directory, without what is expected of them.
fn texts(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/network").join(directory);
    let entries = std::fs::read_dir(&directory).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "expected"));
    paths.sort();
    assert!(paths.len() >= 10, "{paths:?}");
    paths
}

/// All texts without mistakes.
pub fn accepted() -> Vec<(PathBuf, Vec<u8>)> {
    texts("accepted").into_iter().map(|path| (path.clone(), std::fs::read(path).expect("readable"))).collect()
}

/// The files of a text without mistakes.
pub fn render(path: &Path, text: &[u8]) -> render::Files {
    let read = network::read(text, form(path));
    assert_eq!(read.mistakes, [], "{}", path.display());
    read.network.map(|network| render::render(&network)).unwrap_or_default()
}

fn form(path: &Path) -> Form {
    match path.extension().and_then(|end| end.to_str()) {
        Some("json") => Form::OpenStack,
        Some("guestinfo") => Form::Guestinfo,
        _ => Form::CloudInit,
    }
}

fn outcome(path: &Path) -> (bool, String) {
    let text = std::fs::read(path).expect("readable");
    let network::Read { network, mistakes, notices } = network::read(&text, form(path));
    let mut out = String::new();
    let good = mistakes.is_empty();
    if !good {
        let _ = writeln!(out, "{}", Mistakes { name: "network-config".into(), all: mistakes });
    }
    for (name, text) in network.iter().flat_map(render::render) {
        let _ = writeln!(out, "==> {name}\n{text}");
    }
    for notice in notices {
        let _ = writeln!(out, "notice: {notice}");
    }
    (good, out)
}
