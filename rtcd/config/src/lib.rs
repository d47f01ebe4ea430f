//! The configuration. A value's way: `file` and `env` (what they may say) -> [`source`] (merged, each with its origin)
//! -> [`validate()`] -> [`Config`]. [`keys`] is the one list of all keys; [`manual`] makes sample and handbook from it.
//! Nothing here opens a socket, writes, or resolves a name.
pub mod env;
pub mod error;
pub mod file;
pub mod keys;
pub mod manual;
mod parse;
pub mod print;
pub mod servers;
pub mod source;
mod tls;
mod types;
mod validate;

pub use env::Environment;
pub use error::{Problem, Problems, Warning};
pub use tls::ReadFile;
pub use types::*;

use keys::Key;
use source::{Merged, Origin};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use validate::Validator;

/// Where the configuration is looked for when nobody says: where the reference looks, then where its setup guide mounts it
/// into the container.
pub const PLACES: [&str; 2] = ["config/config.toml", "/rtcd/config/config.toml"];

/// The first of [`PLACES`] where there is anything, or the first of them.
pub fn find() -> PathBuf {
    let there = |place: &&str| !matches!(Path::new(place).symlink_metadata(), Err(error) if is_absent(&error));
    PLACES.into_iter().find(there).unwrap_or(PLACES[0]).into()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A valid configuration, with what an operator may want to know about it.
#[derive(Clone)]
pub struct Loaded {
    /// Validated: nobody checks them again.
    pub config: Config,
    /// What is odd, to be logged as soon as there is a log.
    pub warnings: Vec<Warning>,
    /// Where the file was looked for.
    pub path: PathBuf,
    /// There was a file; without one there are defaults and the environment.
    pub file_found: bool,
    merged: Merged,
}

impl Loaded {
    /// The effective values as TOML, each with where it came from, secrets hidden: `--print-config`.
    pub fn print(&self) -> String {
        print::print(&self.merged)
    }

    /// The warnings that somebody should do something about: a configuration may well be in the environment alone.
    pub fn oddities(&self) -> Vec<String> {
        self.warnings.iter().skip(usize::from(!self.file_found)).map(ToString::to_string).collect()
    }

    /// The keys that have another value here than there.
    pub fn other_than(&self, other: &Self) -> impl Iterator<Item = &'static Key> {
        keys::ALL.iter().filter(|key| self.merged.value(key) != other.merged.value(key))
    }
}

impl Default for Config {
    fn default() -> Self {
        Validator::new(&Merged::new([]), &read_from_disk).config()
    }
}

/// Reads the file at `path`, lays the environment over it and validates. A missing file is a warning.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    let origin = Origin::File(Arc::new(path.to_owned()), 0);
    match std::fs::read_to_string(path) {
        Ok(text) => from_text(path, &text, environment),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut loaded = from_text(path, "", environment)?;
            loaded.file_found = false;
            let other = if path == Path::new(PLACES[0]) { format!(", and no {}", PLACES[1]) } else { String::new() };
            let what = format!("there is no such file{other}: defaults and the environment are used");
            loaded.warnings.insert(0, Warning { origin, key: String::new(), what });
            Ok(loaded)
        }
        Err(error) => {
            // The environment's mistakes are worth knowing all the same.
            let mut problems = from_text(path, "", environment).err().map_or_else(Vec::new, |problems| problems.0);
            let what = format!("the file cannot be read: {error}");
            problems.insert(0, Problem { origin, key: String::new(), what, allowed: String::new() });
            Err(Problems(problems))
        }
    }
}

/// The same when somebody has named the file: then it must be there.
pub fn load_named(path: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    let loaded = load(path, environment)?;
    if loaded.file_found {
        return Ok(loaded);
    }
    let origin = Origin::File(Arc::new(path.to_owned()), 0);
    let what = "there is no such file".to_owned();
    Err(Problems(vec![Problem {
        origin,
        key: String::new(),
        what,
        allowed: "a file that is there, or no --config".into(),
    }]))
}

/// Takes warnings for mistakes.
pub fn strict(loaded: Loaded) -> Result<Loaded, Problems> {
    if loaded.warnings.is_empty() {
        return Ok(loaded);
    }
    let problem = |Warning { origin, key, what }| Problem { origin, key, what, allowed: String::new() };
    Err(Problems(loaded.warnings.into_iter().map(problem).collect()))
}

/// The same with the text of the file as a value.
pub fn from_text(path: &Path, text: &str, environment: &Environment) -> Result<Loaded, Problems> {
    let file = file::read(path, text);
    let variables = env::read(environment);
    let merged = Merged::new([file.layer, variables.layer]);
    let mut problems: Vec<_> = file.problems.into_iter().chain(variables.problems).collect();
    match validate(merged, &read_from_disk) {
        Ok(mut loaded) if problems.is_empty() => {
            loaded.path = path.to_owned();
            loaded.warnings = file.warnings.into_iter().chain(variables.warnings).chain(loaded.warnings).collect();
            Ok(loaded)
        }
        Ok(_) => Err(Problems(problems)),
        Err(found) => {
            problems.extend(found.0);
            Err(Problems(problems))
        }
    }
}

/// The last stage alone, for values that come from elsewhere. The files that they name are read by `read`.
pub fn validate(merged: Merged, read: ReadFile<'_>) -> Result<Loaded, Problems> {
    let mut validator = Validator::new(&merged, read);
    let config = validator.config();
    let Validator { problems, warnings, .. } = validator;
    if problems.is_empty() {
        Ok(Loaded { config, warnings, path: PathBuf::new(), file_found: true, merged })
    } else {
        Err(Problems(problems))
    }
}

fn read_from_disk(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[cfg(test)]
mod tests;
