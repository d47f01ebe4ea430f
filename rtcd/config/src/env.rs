//! First stage, the other half: what the environment may say. It is handed in as a value.
use super::error::{Problem, Warning};
use super::keys::{self, Default, Key};
use super::servers;
use super::source::{Layer, Origin, Setting, Value};
use std::collections::BTreeMap;

/// Variables of the environment by name; what is not UTF-8 is replaced.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process.
pub fn of_process() -> Environment {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// What came out of the environment.
#[derive(std::default::Default)]
pub struct Read {
    /// What the variables set.
    pub layer: Layer,
    /// Names that are almost right.
    pub warnings: Vec<Warning>,
    /// Values that cannot be read.
    pub problems: Vec<Problem>,
}

/// Reads every variable that belongs to a key.
pub fn read(environment: &Environment) -> Read {
    let mut out = Read::default();
    for key in keys::ALL {
        let Some(text) = environment.get(key.env) else { continue };
        let origin = Origin::Variable(key.env.to_owned());
        match value(key, text, &origin, &mut out) {
            Ok(value) => {
                out.layer.insert(key.path, Setting { value, origin });
            }
            Err((what, allowed)) => {
                out.problems.push(Problem { origin, key: key.path.into(), what, allowed: allowed.into() });
            }
        }
    }
    for name in environment.keys().filter(|name| name.starts_with("RTCD_")) {
        out.warnings.extend(misspelt(name));
    }
    out
}

fn value(key: &Key, text: &str, origin: &Origin, out: &mut Read) -> Result<Value, (String, &'static str)> {
    let quoted = || if key.secret { "is".to_owned() } else { format!("{text:?} is") };
    match key.default {
        Default::Bool(_) => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => {
                Err((format!("{} not a boolean", quoted()), "1, t, T, true, TRUE, True, 0, f, F, false, FALSE, False"))
            }
        },
        Default::Integer(_) | Default::ByCpus => {
            text.parse().map(Value::Integer).map_err(|_| (format!("{} not a whole number", quoted()), key.expected()))
        }
        Default::Text(_) | Default::TextOrInteger(_) => Ok(Value::Text(text.to_owned())),
        Default::NoServers if text.trim().is_empty() => Ok(Value::Servers(Vec::new())),
        Default::NoServers => {
            // The text may hold a credential: only the place of the mistake is told.
            let json = serde_json::from_str(text).map_err(|error| {
                (format!("is not valid JSON (line {}, column {})", error.line(), error.column()), key.expected())
            })?;
            let found = servers::read(&json, origin);
            out.warnings.extend(found.warnings);
            out.problems.extend(found.problems);
            Ok(Value::Servers(found.servers))
        }
    }
}

/// Only near misses are worth a warning: Kubernetes puts variables of its own beside ours (`RTCD_SERVICE_HOST`).
fn misspelt(name: &str) -> Option<Warning> {
    if keys::ALL.iter().any(|key| key.env == name) {
        return None;
    }
    let likeness =
        |key: &Key| strsim::normalized_damerau_levenshtein(&key.env.replace('_', ""), &name.replace('_', ""));
    let (likeness, nearest) =
        keys::ALL.iter().map(|key| (likeness(key), key.env)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness >= 0.85).then(|| Warning {
        origin: Origin::Variable(name.to_owned()),
        key: String::new(),
        what: format!("unknown variable, ignored; did you mean {nearest}?"),
    })
}
