//! What the documentation tells people to do is what the programs take.
use clap::Parser as _;
use clap::error::ErrorKind;
use rtcd_tests::daemon::{binary, temp_dir};
use rtcd_tests::in_repository;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every page below the repository, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git").arg("-C").arg(in_repository(".")).args(["ls-files", "*.md"]).output();
    let listed = String::from_utf8(listed.expect("git runs").stdout).expect("text");
    let page = |name: &str| {
        let path = in_repository(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        (path, text)
    };
    let pages: Vec<_> = listed.lines().filter(|name| in_repository(name).exists()).map(page).collect();
    assert!(pages.len() > 8, "{listed}");
    pages
}

/// The text of fenced blocks of this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == format!("```{language}") {
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().take_while(|line| line.trim() != "```");
            all.push(inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect());
        }
    }
    all
}

/// What stands in backticks, and the lines of indented code.
fn code(text: &str) -> Vec<&str> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let lines =
        text.lines().filter(|line| line.starts_with("    ")).map(|line| line.split(" #").next().unwrap_or(line));
    spans.chain(lines).map(str::trim).collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    for (path, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().expect("a directory").join(file) };
            assert!(file.exists(), "{} -> {target}", path.display());
            if !section.is_empty() {
                let there = fs::read_to_string(&file).expect("text");
                let anchor = |title: &str| {
                    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                    kept.collect::<String>().to_lowercase().replace(' ', "-")
                };
                let titles = there.lines().filter(|line| line.starts_with('#'));
                let found = titles.map(|line| anchor(line.trim_start_matches('#').trim())).any(|one| one == section);
                assert!(found, "{} -> {target}", path.display());
            }
        }
    }
}

#[test]
fn every_command_of_the_documentation_is_one_that_rtcd_knows() {
    let mut seen = 0;
    for (path, text) in pages() {
        for code in code(&text) {
            let inside = |program: &str| code.split_once(program).map(|(_, arguments)| arguments);
            let at_its_places = || inside(" ./rtcd ").or(inside("/opt/rtcd/rtcd "));
            let Some(arguments) = code.strip_prefix("rtcd ").or_else(at_its_places) else { continue };
            seen += 1;
            let words = arguments.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            let parsed = rtcd::cli::Args::try_parse_from(["rtcd"].into_iter().chain(words));
            if let Err(error) = parsed {
                let shown = matches!(
                    error.kind(),
                    // The last two: a command is mentioned without all that it needs.
                    ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | ErrorKind::MissingRequiredArgument
                );
                assert!(shown, "{}: {code}: {error}", path.display());
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_piece_of_configuration_in_the_documentation_is_valid() {
    let dir = temp_dir("docs");
    let mut seen = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "toml") {
            seen += 1;
            // Files that a configuration names need not be here.
            let block: String =
                block.lines().filter(|line| !line.starts_with("tls.")).map(|line| format!("{line}\n")).collect();
            let file = dir.join("rtcd.toml");
            fs::write(&file, &block).expect("written");
            let checked = Command::new(binary()).arg("--config").arg(&file).arg("--check-config").env_clear().output();
            let checked = checked.expect("it runs");
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success() && !said.contains("unknown"), "{}: {said}\n{block}", path.display());
        }
        for block in blocks(&text, "yaml").iter().filter(|block| block.starts_with("#cloud-config")) {
            // An ellipsis stands for what the reader has.
            if block.contains("...") {
                continue;
            }
            seen += 1;
            let file = dir.join("user-data");
            fs::write(&file, block).expect("written");
            let checked =
                Command::new(beside(&binary(), "provision")).arg("check").arg(&file).output().expect("it runs");
            let said =
                String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{}: {said}\n{block}", path.display());
        }
    }
    assert!(seen > 2, "{seen}");
    fs::remove_dir_all(dir).expect("removed");
}

fn beside(program: &Path, name: &str) -> PathBuf {
    program.with_file_name(name)
}
