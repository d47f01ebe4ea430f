//! The recorded machines below `tests/fixtures/SOURCE/CASE`: `root/` is the machine, `http/` its cloud.
use provision::detect::{Choice, detect};
use provision::facts::Facts;
use provision::http::{Client, Pace};
use provision::metadata::Metadata;
use provision::source::{self, Context, Source, SourceError};
use std::path::{Path, PathBuf};

/// `ec2/ipv6`
pub fn path(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
}

/// Every `SOURCE/CASE` with a machine in it.
pub fn cases() -> Vec<PathBuf> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect()
    };
    let mut cases: Vec<PathBuf> = list(&path("")).iter().flat_map(|source| list(source)).collect();
    cases.retain(|case| case.join("root").is_dir());
    cases.sort();
    cases
}

/// A recorded machine, with the source that it has.
pub struct Machine {
    pub facts: Facts,
    pub choice: Choice,
    pub source: Box<dyn Source>,
}

/// The machine below `root`.
pub fn machine(root: &Path) -> Machine {
    let facts = Facts::gather(root, None);
    let choice = detect(&facts).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    Machine { source: source::of(&choice.which), facts, choice }
}

impl Machine {
    /// What the source says when it is asked at `endpoint`.
    pub fn fetch(&self, endpoint: Option<&str>, pace: Pace) -> Result<Option<Metadata>, SourceError> {
        let http = Client::new(endpoint, pace).expect("an endpoint");
        self.source.fetch(&Context { facts: &self.facts, http: &http })
    }
}

/// An error with all its causes, as the log has it.
pub fn chain(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text
}
