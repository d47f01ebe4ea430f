//! The commands that change nothing: `status`, `check`, `render`.
use crate::apply::Paths;
use crate::apply::disk::RealDisk;
use crate::cli::Machine;
use crate::detect::{self, Datasource, DsParameters};
use crate::draft::{self, Draft, Request};
use crate::exit_code::ExitCode;
use crate::facts::Facts;
use crate::failure::Failure;
use crate::http::Client;
use crate::mistake::Mistakes;
use crate::network::{self, Form};
use crate::render::Secrets;
use crate::source::{self, Context};
use crate::status::Status;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// `provision status`: 0 when rtcd is configured, else 1.
pub fn status(root: &Path, json: bool) -> ExitCode {
    let path = Paths::below(root).status();
    let Some(status) = Status::load(&RealDisk, &path) else {
        eprintln!(
            "provision: this boot has not been provisioned, or {} cannot be read (are you root?)",
            path.display()
        );
        return ExitCode::System;
    };
    let text = if json { serde_json::to_string_pretty(&status).unwrap_or_default() + "\n" } else { status.to_string() };
    print(&text);
    if status.ready { ExitCode::Success } else { ExitCode::Mistakes }
}

/// `provision check FILE`: what the machine would say, said on the laptop.
pub fn check(file: &Path) -> ExitCode {
    let name = file.display().to_string();
    let user_data = match read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("provision: {name} cannot be read: {error}");
            return ExitCode::Usage;
        }
    };
    let metadata = draft::example(user_data);
    // A debug image takes SSH keys, a release image says that it does not: the stricter one checks.
    let request = Request { source: "an example", metadata: &metadata, root: None, debug_image: false };
    match Draft::new(&request) {
        Ok(draft) => {
            notices(&draft);
            print(&format!("{name}: no mistakes\n"));
            ExitCode::Success
        }
        Err(Failure::Mistakes(mistakes)) => fail(&Failure::Mistakes(Mistakes { name, ..mistakes })),
        Err(failure) => fail(&failure),
    }
}

/// `provision check --network FILE`: the same for the network, with what comes of it.
pub fn check_network(file: &Path) -> ExitCode {
    let name = file.display().to_string();
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("provision: {name} cannot be read: {error}");
            return ExitCode::Usage;
        }
    };
    let form = if file.extension().is_some_and(|end| end == "json") { Form::OpenStack } else { Form::CloudInit };
    let network::Read { network, mistakes, notices } = network::read(&text, form);
    notices.iter().for_each(|notice| eprintln!("provision: notice: {notice}"));
    if !mistakes.is_empty() {
        return fail(&Failure::Mistakes(Mistakes { name, all: mistakes }));
    }
    let files = network.map(|network| network::render::render(&network)).unwrap_or_default();
    let text: String = files.iter().map(|(name, text)| format!("==> {name}\n{text}\n")).collect();
    print(&format!("{text}{name}: no mistakes\n"));
    ExitCode::Success
}

/// `provision render`: the text of `rtcd.toml`, and nothing is written.
pub fn render(seed: Option<&Path>, machine: &Machine, http: &Client, secrets: Secrets) -> ExitCode {
    let drafted = match seed {
        Some(directory) => of_seed(directory, http),
        None => of_machine(machine, http),
    };
    match drafted {
        Ok(draft) => {
            notices(&draft);
            print(&draft.render(secrets));
            ExitCode::Success
        }
        Err(failure) => fail(&failure),
    }
}

/// The directory stands for a machine that has nothing else, and whose seed is its root.
fn of_seed(directory: &Path, http: &Client) -> Result<Draft, Failure> {
    let facts = Facts::gather(directory, None);
    let seed = Datasource::NoCloud(DsParameters { seed_from: Some("file:///".to_owned()), ..DsParameters::EMPTY });
    drafted(&facts, &seed, http, None)
}

fn of_machine(machine: &Machine, http: &Client) -> Result<Draft, Failure> {
    let facts = Facts::gather(&machine.root, None);
    drafted(&facts, &detect::detect(&facts)?.which, http, Some(&machine.root))
}

fn drafted(facts: &Facts, which: &Datasource, http: &Client, root: Option<&Path>) -> Result<Draft, Failure> {
    let source = source::of(which);
    let metadata = source.fetch(&Context { facts, http })?.ok_or(Failure::Empty(source.name()))?;
    if let Some(said) = &metadata.network {
        let network::Read { mistakes, .. } = network::read(&said.text, said.form);
        if !mistakes.is_empty() {
            return Err(Failure::Mistakes(Mistakes { name: network::NETWORK_CONFIG.to_owned(), all: mistakes }));
        }
    }
    Draft::new(&Request { source: source.name(), metadata: &metadata, root, debug_image: facts.debug_image })
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that too much is seen as that.
    let limit = source::USER_DATA_LIMIT as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn notices(draft: &Draft) {
    draft.settled.notices.iter().for_each(|notice| eprintln!("provision: notice: {notice}"));
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("provision: {}", failure.in_full());
    failure.exit_code()
}

fn print(text: &str) {
    // Nobody is left to be told when the reader has gone.
    let _ = io::stdout().write_all(text.as_bytes());
}
